"""Protocol-level prepared statements that outlive transactions."""

from __future__ import annotations

from ...frames import bind, close, describe, execute, extended, parse, query, sync
from ..dsl import Elsewhere, Script, ask, conversation, say

INT4, TEXT, INT8 = 23, 25, 20


@conversation()
def prepared_across_transactions() -> Script:
    """A named statement works in later transactions, whichever server they get."""
    yield say(parse("SELECT name FROM products WHERE id = $1", "byid"), describe("byid", b"S"), sync())
    yield say(bind(b"1", statement="byid"), execute(), sync())
    yield ask("BEGIN")
    yield say(bind(b"2", statement="byid"), describe(), execute(), sync())
    yield ask("COMMIT")
    yield say(bind(b"3", statement="byid"), execute(), sync())
    yield say(close("byid"), sync())
    yield say(bind(b"4", statement="byid"), execute(), sync())


@conversation()
def prepared_same_name_other_text(me: str) -> Script:
    """Two clients may use one name for different statements."""
    yield say(parse(f"SELECT 'mine: {me}', $1::int", "s1"), sync())
    yield say(bind(b"1", statement="s1"), describe(), execute(), sync())
    yield say(bind(b"2", statement="s1"), execute(), sync())
    yield say(close("s1"), sync())


@conversation()
def prepared_same_text_other_types() -> Script:
    """One text parsed with different parameter types gives different statements."""
    yield say(parse("SELECT $1", "as_int", (INT4,)), describe("as_int", b"S"), sync())
    yield say(parse("SELECT $1", "as_text", (TEXT,)), describe("as_text", b"S"), sync())
    yield say(parse("SELECT $1", "as_unknown"), describe("as_unknown", b"S"), sync())
    yield say(*[bind(b"5", statement=name) + describe() + execute() for name in ("as_int", "as_text")], sync())
    yield say(bind(b"nan", statement="as_int"), execute(), sync())
    yield say(bind(b"nan", statement="as_text"), execute(), sync())
    yield say(close("as_int"), close("as_text"), close("as_unknown"), sync())


@conversation()
def prepared_in_a_failed_transaction() -> Script:
    """Parse in a transaction that rolls back stays; Parse in a failed one is refused."""
    yield ask("BEGIN")
    yield say(parse("SELECT 'stays'", "stays"), sync())
    yield ask("SELECT 1/0")
    yield say(parse("SELECT 'refused'", "refused"), sync())
    yield say(bind(statement="stays"), execute(), sync())
    yield ask("ROLLBACK")
    yield say(bind(statement="stays"), execute(), sync())
    yield say(bind(statement="refused"), execute(), sync())
    yield say(close("stays"), sync())


@conversation()
def prepared_rollback_allowed_when_failed() -> Script:
    """In a failed transaction a prepared ROLLBACK may be parsed, bound and run."""
    yield ask("BEGIN; SELECT 1/0")
    yield say(extended("SELECT 1"), sync())
    yield say(extended("ROLLBACK"), sync())
    yield say(extended("SELECT 1"), sync())


@conversation()
def prepared_parse_errors() -> Script:
    """Errors of Parse are reported at their place, every time anew."""
    for _ in range(2):
        yield say(parse("SELECT * FROM missing", "m"), sync())
        yield say(parse("SELECT $1 + $2", "untyped"), describe("untyped", b"S"), sync())
        yield say(parse("SELECT $2::int", "gap"), sync())
    yield say(extended("SELECT 'fine'"), extended("SELECT * FROM missing"), extended("SELECT 'not reached'"), sync())


@conversation()
def prepared_parse_error_that_heals(me: str) -> Script:
    """A text that failed to parse parses once its table exists."""
    yield say(parse(f"SELECT * FROM healed_{me}", "h"), sync())
    yield ask(f"CREATE TABLE healed_{me} (id int)")
    yield say(parse(f"SELECT * FROM healed_{me}", "h"), describe("h", b"S"), sync())
    yield ask(f"DROP TABLE healed_{me}")
    yield say(bind(statement="h"), execute(), sync())
    yield say(close("h"), sync())


@conversation()
def prepared_parse_after_drop(me: str) -> Script:
    """A text parsed before, whose table is gone now, fails in Parse."""
    yield ask(f"CREATE TABLE gone_{me} (id int)")
    yield say(extended(f"SELECT * FROM gone_{me}"), sync())
    yield ask(f"DROP TABLE gone_{me}")
    yield say(extended(f"SELECT * FROM gone_{me}"), sync())
    yield ask(f"CREATE TABLE gone_{me} (other text)")
    yield say(extended(f"SELECT * FROM gone_{me}"), sync())


@conversation()
def prepared_unnamed_again_and_again() -> Script:
    """The same unnamed text, parsed for each execution, always answers alike."""
    for number in range(6):
        yield say(extended("SELECT name FROM products WHERE id = $1", str(number).encode()), sync())


@conversation()
def prepared_unnamed_alternating() -> Script:
    """Two unnamed texts in alternation, one of them failing."""
    # It fails in the execution, not in planning: which of the two it is would depend on how often the text has run.
    for number in (0, 1, 2, 1):
        yield say(extended("SELECT 10 / (i - $1::int) FROM generate_series(1, 1) i", str(number).encode()), sync())
        yield say(extended("SELECT 'between'"), sync())


@conversation()
def prepared_unnamed_replaced_by_error() -> Script:
    """A failed Parse of the unnamed statement leaves none behind."""
    yield say(parse("SELECT 'first'"), sync())
    yield say(parse("SELEC"), sync())
    yield say(bind(), execute(), sync())


@conversation()
def prepared_unnamed_kept_over_sync() -> Script:
    """The unnamed statement lives on over Syncs and transactions until replaced."""
    yield say(parse("SELECT $1::int AS n"), sync())
    yield say(bind(b"1"), execute(), sync())
    yield say(extended("BEGIN"), sync())
    yield say(bind(), execute(), sync())
    yield say(parse("ROLLBACK"), bind(), execute(), sync())
    yield say(bind(), sync())


@conversation()
def prepared_close_unnamed() -> Script:
    """Close of the unnamed statement drops it."""
    yield say(parse("SELECT 1"), close(""), bind(), execute(), sync())
    yield say(parse("SELECT 2"), sync())
    yield say(close(""), sync())
    yield say(bind(), execute(), sync())


@conversation()
def prepared_cached_plan_changed() -> Script:
    """A named statement whose table changed its columns: an unnamed parse sees the new ones at once."""
    yield Elsewhere("DROP TABLE IF EXISTS public.growing; CREATE TABLE public.growing AS SELECT 1 AS a")
    yield Elsewhere("ALTER TABLE public.growing OWNER TO app")
    yield say(extended("SELECT * FROM growing"), sync())
    yield Elsewhere("ALTER TABLE public.growing ADD COLUMN IF NOT EXISTS b text DEFAULT 'new'")
    yield say(extended("SELECT * FROM growing"), sync())
    yield Elsewhere("ALTER TABLE public.growing DROP COLUMN IF EXISTS a")
    yield say(extended("SELECT * FROM growing"), sync())


@conversation()
def prepared_plan_changed_in_transaction(me: str) -> Script:
    """Within a transaction a changed result type is the client's to hear: 0A000."""
    yield ask(f"CREATE TABLE plan_{me} (a int)")
    yield say(parse(f"SELECT * FROM plan_{me}", "plan"), bind(statement="plan"), execute(), sync())
    yield ask("BEGIN")
    yield say(bind(statement="plan"), execute(), sync())
    yield ask(f"ALTER TABLE plan_{me} ADD COLUMN b int")
    yield say(bind(statement="plan"), execute(), sync())
    yield ask("ROLLBACK")
    yield say(bind(statement="plan"), execute(), sync())
    yield say(close("plan"), sync())
    yield ask(f"DROP TABLE plan_{me}")


@conversation()
def prepared_many() -> Script:
    """More statements than a server is to keep (200) all go on working."""
    yield say(*[parse(f"SELECT {number} + $1::int", f"n{number}") for number in range(300)], sync())
    for number in (0, 299, 1, 150, 0):
        yield say(bind(b"1000", statement=f"n{number}"), execute(), sync())
    yield say(*[close(f"n{number}") for number in range(300)], sync())


@conversation()
def prepared_reused_name() -> Script:
    """A name closed and given to another text means the new one, on every server."""
    for number in range(4):
        yield say(parse(f"SELECT {number} AS c{number}", "again"), describe("again", b"S"), sync())
        yield say(bind(statement="again"), execute(), sync())
        yield say(close("again"), sync())


@conversation()
def prepared_parse_and_close_in_one() -> Script:
    """Parse, use, Close and Parse again within one Sync."""
    yield say(
        parse("SELECT 1", "x"),
        bind(statement="x"),
        execute(),
        close("x"),
        parse("SELECT 2", "x"),
        bind(statement="x"),
        execute(),
        close("x"),
        bind(statement="x"),
        sync(),
    )


@conversation()
def prepared_long_and_odd_names() -> Script:
    """Statement names may be long, have spaces or look like PgBeam's own."""
    for name in ("n" * 200, "with space", "pgbeam_1", "__pgbeam_1", "S_1", '"quoted"', "naïve"):
        yield say(parse("SELECT $1::text", name), bind(name.encode(), statement=name), execute(), sync())
        yield say(close(name), sync())


@conversation()
def prepared_with_binary_results() -> Script:
    """The result formats of each Bind count, not those of the one before."""
    yield say(parse("SELECT 258::int4 AS n, 'x'::text", "f"), sync())
    for results in ((), (1,), (1, 0), (0,), (0, 1)):
        yield say(bind(statement="f", results=results), describe(), execute(), sync())
    yield say(close("f"), sync())


@conversation()
def prepared_discard_all_forgets() -> Script:
    """DISCARD ALL forgets protocol-level statements as well."""
    yield say(parse("SELECT 1", "d"), sync())
    yield ask("DISCARD ALL")
    yield say(bind(statement="d"), execute(), sync())
    yield say(parse("SELECT 2", "d"), bind(statement="d"), execute(), sync())
    yield say(close("d"), sync())


@conversation()
def prepared_limits_of_describe() -> Script:
    """Describe of a statement is the same again and again, before and after it ran."""
    yield say(parse("SELECT id, price FROM products WHERE price > $1 LIMIT 1", "d"), sync())
    for _ in range(2):
        yield say(describe("d", b"S"), sync())
        yield say(bind(b"5", statement="d"), describe(), execute(), sync())
    yield say(describe("d", b"S"), close("d"), describe("d", b"S"), sync())


@conversation()
def prepared_insert_in_pipeline() -> Script:
    """executemany of a driver: one statement, many Binds, one Sync."""
    yield say(parse("INSERT INTO categories VALUES ($1, $2)", "i", (INT4, TEXT)), sync())
    rows = [bind(str(400 + n).encode(), b"many", statement="i") + execute() for n in range(10)]
    yield say(query("BEGIN"), *rows, sync(), times=2)
    yield ask("SELECT count(*) FROM categories WHERE name = 'many'")
    yield ask("ROLLBACK")
    yield say(close("i"), sync())


@conversation()
def prepared_transaction_commands() -> Script:
    """BEGIN and COMMIT themselves as named statements, as asyncpg and JDBC have them."""
    yield say(parse("BEGIN", "b"), parse("COMMIT", "c"), parse("ROLLBACK", "r"), sync())
    for end in ("c", "r"):
        yield say(bind(statement="b"), execute(), sync())
        yield ask("SELECT 1")
        yield say(bind(statement=end), execute(), sync())
    yield say(close("b"), close("c"), close("r"), sync())
