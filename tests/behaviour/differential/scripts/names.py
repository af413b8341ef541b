"""One name, two protocols: what Parse makes and what PREPARE makes, portals and cursors, often in one request."""

from __future__ import annotations

from ...frames import bind, close, describe, execute, extended, flush, parse, query, sync
from ..dsl import Script, ask, conversation, say


def used(name: str, *values: bytes) -> bytes:
    """Bind and Execute of a named statement."""
    return bind(*values, statement=name) + execute()


@conversation()
def name_deallocated_in_its_pipeline() -> Script:
    """Parse a name, DEALLOCATE it by SQL, use it: all in one request."""
    yield say(parse("SELECT 1", "n"), extended("DEALLOCATE n"), used("n"), sync())
    yield say(parse("SELECT 2", "n"), used("n"), sync())
    yield say(close("n"), sync())


@conversation()
def name_deallocated_and_made_anew_in_its_pipeline() -> Script:
    """Parse, DEALLOCATE, Parse of another text under the same name."""
    yield say(parse("SELECT 1", "n"), extended("DEALLOCATE n"), parse("SELECT 'two'", "n"), used("n"), sync())
    yield say(describe("n", b"S"), used("n"), sync())
    yield say(close("n"), sync())


@conversation()
def name_known_before_and_deallocated_in_a_pipeline() -> Script:
    """The name is from an earlier request; a Bind to it stands behind the DEALLOCATE."""
    yield say(parse("SELECT 1", "n"), used("n"), sync())
    yield say(used("n"), extended("DEALLOCATE n"), used("n"), sync())
    yield say(used("n"), sync())
    yield say(parse("SELECT 2", "n"), used("n"), sync())
    yield say(close("n"), sync())


@conversation()
def all_deallocated_in_a_pipeline() -> Script:
    """DEALLOCATE ALL between two uses."""
    yield say(parse("SELECT 1", "a"), parse("SELECT 2", "b"), sync())
    yield say(used("a"), extended("DEALLOCATE ALL"), used("b"), sync())
    yield say(used("a"), sync())
    yield say(parse("SELECT 3", "a"), used("a"), extended("DEALLOCATE ALL"), parse("SELECT 4", "a"), used("a"), sync())
    yield say(close("a"), sync())


@conversation()
def all_deallocated_then_old_names() -> Script:
    """After DEALLOCATE ALL by the simple protocol old names are gone, one by one, and free."""
    yield say(parse("SELECT 1", "a"), parse("SELECT 2", "b"), sync())
    yield ask("DEALLOCATE ALL")
    yield say(describe("a", b"S"), sync())
    yield say(used("b"), sync())
    yield say(parse("SELECT 5", "b"), used("b"), sync())
    yield say(close("b"), close("a"), sync())


@conversation()
def all_discarded_then_old_names() -> Script:
    """After DISCARD ALL too."""
    yield say(parse("SELECT 1", "a"), sync())
    yield ask("DISCARD ALL")
    yield say(used("a"), sync())
    yield say(parse("SELECT 2", "a"), used("a"), close("a"), sync())


@conversation()
def all_discarded_by_protocol() -> Script:
    """DISCARD ALL by the extended protocol, alone in its request."""
    yield say(parse("SELECT 1", "a"), sync())
    yield say(extended("DISCARD ALL"), sync())
    yield say(used("a"), sync())


@conversation()
def plans_discarded_in_a_pipeline() -> Script:
    """DISCARD PLANS leaves the names."""
    yield say(parse("SELECT 1", "a"), used("a"), extended("DISCARD PLANS"), used("a"), sync())
    yield say(close("a"), sync())


@conversation(pins=True)
def execute_described() -> Script:
    """Describe of a statement whose text is EXECUTE, and of its portal."""
    yield ask("PREPARE x (int) AS SELECT $1 AS n, 'a'::text AS t")
    yield say(parse("EXECUTE x (1)", "run"), describe("run", b"S"), sync())
    yield say(bind(statement="run"), describe(), execute(), sync())
    yield say(close("run"), sync())
    yield ask("DEALLOCATE x")


@conversation(pins=True)
def execute_described_of_a_protocol_statement() -> Script:
    """The same where Parse has made the statement that EXECUTE names."""
    yield say(parse("SELECT $1::int AS n", "x"), sync())
    yield say(parse("EXECUTE x (1)", "run"), describe("run", b"S"), sync())
    yield say(bind(statement="run"), describe(), execute(), sync())
    yield say(close("run"), close("x"), sync())


@conversation(pins=True)
def execute_of_a_name_in_its_pipeline() -> Script:
    """Parse a name and EXECUTE it by SQL in the same request."""
    yield say(parse("SELECT $1::int * 3", "x"), extended("EXECUTE x (4)"), sync())
    yield ask("EXECUTE x (5)")
    yield say(close("x"), sync())
    yield ask("EXECUTE x (6)")


@conversation(pins=True)
def execute_of_a_name_made_anew() -> Script:
    """The name is closed and made anew: EXECUTE runs the new one."""
    yield say(parse("SELECT 'old'", "x"), sync())
    yield ask("EXECUTE x")
    yield say(close("x"), parse("SELECT 'new'", "x"), sync())
    yield ask("EXECUTE x")
    yield say(close("x"), extended("EXECUTE x"), sync())


@conversation(pins=True)
def execute_of_a_name_made_anew_in_one_request() -> Script:
    """All of that in one request."""
    yield say(
        parse("SELECT 'old'", "x"),
        extended("EXECUTE x"),
        close("x"),
        parse("SELECT 'new'", "x"),
        extended("EXECUTE x"),
        sync(),
    )
    yield say(close("x"), sync())


@conversation(pins=True)
def execute_of_nothing() -> Script:
    """EXECUTE of a name that nobody has, by both protocols, and described."""
    yield ask("EXECUTE nobody")
    yield say(extended("EXECUTE nobody"), sync())
    yield say(parse("EXECUTE nobody", "run"), describe("run", b"S"), sync())
    yield say(close("run"), sync())


@conversation(pins=True)
def prepare_of_a_name_of_the_protocol() -> Script:
    """PREPARE of a name that Parse has taken is refused."""
    yield say(parse("SELECT 'protocol'", "taken"), sync())
    yield ask("PREPARE taken AS SELECT 'sql'")
    yield say(used("taken"), sync())
    yield say(extended("PREPARE taken AS SELECT 'sql'"), sync())
    yield say(close("taken"), sync())
    yield ask("PREPARE taken AS SELECT 'sql'")
    yield say(used("taken"), sync())
    yield ask("DEALLOCATE taken")


@conversation(pins=True)
def prepare_of_a_name_in_its_pipeline() -> Script:
    """Parse and PREPARE of one name in one request."""
    yield say(parse("SELECT 'protocol'", "taken"), extended("PREPARE taken AS SELECT 'sql'"), used("taken"), sync())
    yield say(used("taken"), sync())
    yield say(close("taken"), sync())


@conversation(pins=True)
def parse_of_a_name_of_sql() -> Script:
    """Parse of a name that PREPARE has taken is refused."""
    yield ask("PREPARE taken AS SELECT 'sql'")
    yield say(parse("SELECT 'protocol'", "taken"), sync())
    yield say(used("taken"), sync())
    yield ask("DEALLOCATE taken")
    yield say(parse("SELECT 'protocol'", "taken"), used("taken"), close("taken"), sync())


@conversation(pins=True)
def parse_of_a_name_of_sql_in_its_pipeline() -> Script:
    """PREPARE and Parse of one name in one request."""
    yield say(extended("PREPARE taken AS SELECT 'sql'"), parse("SELECT 'protocol'", "taken"), used("taken"), sync())
    yield say(used("taken"), sync())
    yield ask("DEALLOCATE ALL")


@conversation(pins=True)
def prepare_and_bind_in_one_request() -> Script:
    """PREPARE by the extended protocol, then Bind of that name in the same request."""
    yield say(extended("PREPARE p (int) AS SELECT $1 + 1"), used("p", b"1"), describe("p", b"S"), sync())
    yield say(used("p", b"2"), close("p"), sync())
    yield say(used("p", b"3"), sync())


@conversation(pins=True)
def prepared_by_sql_described_and_bound() -> Script:
    """What PREPARE has made is described, bound with values and in binary, in later requests."""
    yield ask("PREPARE p (int, text) AS SELECT $1 AS a, $2 AS b")
    yield say(describe("p", b"S"), sync())
    yield say(bind(b"1", b"x", statement="p"), describe(), execute(), sync())
    yield say(bind(b"\0\0\0\2", b"x", statement="p", formats=[1, 0], results=[1]), execute(), sync())
    yield say(bind(b"z", b"x", statement="p"), execute(), sync())
    yield ask("DEALLOCATE p")
    yield say(bind(b"1", b"x", statement="p"), execute(), sync())


@conversation(pins=True)
def prepared_by_sql_writes_by_bind() -> Script:
    """An INSERT that PREPARE has made, run by Bind, is seen by the next read."""
    yield ask("SELECT count(*) FROM categories WHERE id = 220")
    yield ask("PREPARE w (int) AS INSERT INTO categories VALUES ($1, 'w')")
    yield say(used("w", b"220"), sync())
    yield ask("SELECT count(*) FROM categories WHERE id = 220")
    yield ask("DEALLOCATE w")
    yield ask("DELETE FROM categories WHERE id = 220")


@conversation(pins=True)
def prepared_by_sql_closed_by_protocol() -> Script:
    """Close of what PREPARE has made, and again; the name is free."""
    yield ask("PREPARE p AS SELECT 1")
    yield say(close("p"), close("p"), sync())
    yield ask("EXECUTE p")
    yield ask("PREPARE p AS SELECT 2")
    yield ask("EXECUTE p")
    yield say(close("p"), extended("EXECUTE p"), sync())


@conversation(pins=True)
def prepared_by_sql_closed_in_a_failed_request() -> Script:
    """A Close that the server skips closes nothing."""
    yield ask("PREPARE p AS SELECT 'there'")
    yield say(parse("SELECT nothing"), close("p"), sync())
    yield ask("EXECUTE p")
    yield ask("DEALLOCATE p")


@conversation(pins=True)
def prepared_by_sql_in_a_transaction_that_fails() -> Script:
    """PREPARE in a block that fails stays; DEALLOCATE there too."""
    yield ask("BEGIN")
    yield say(extended("PREPARE p AS SELECT 'stays'"), sync())
    yield ask("SELECT 1/0")
    yield say(used("p"), sync())
    yield ask("ROLLBACK")
    yield say(used("p"), sync())
    yield ask("BEGIN; DEALLOCATE p; ROLLBACK")
    yield say(used("p"), sync())


@conversation(pins=True)
def explain_execute_of_a_protocol_statement() -> Script:
    """EXPLAIN EXECUTE finds what Parse has made, in both protocols."""
    yield say(parse("SELECT $1::int", "x"), sync())
    yield ask("EXPLAIN (COSTS off) EXECUTE x (1)")
    yield say(extended("EXPLAIN (COSTS off) EXECUTE x (1)"), sync())
    yield say(close("x"), sync())


@conversation(pins=True)
def table_made_by_execute_of_a_protocol_statement(me: str) -> Script:
    """CREATE TABLE AS EXECUTE likewise."""
    yield say(parse("SELECT $1::int AS n", "x"), sync())
    yield ask(f"CREATE TABLE from_x_{me} AS EXECUTE x (7)")
    yield ask(f"SELECT * FROM from_x_{me}")
    yield say(extended(f"CREATE TABLE from_y_{me} AS EXECUTE x (8)"), sync())
    yield ask(f"SELECT * FROM from_y_{me}")
    yield ask(f"DROP TABLE from_x_{me}, from_y_{me}")
    yield say(close("x"), sync())


@conversation(pins=True)
def execute_of_a_protocol_statement_that_writes() -> Script:
    """EXECUTE of an INSERT that Parse has made, then the read again."""
    yield ask("SELECT count(*) FROM categories WHERE id = 221")
    yield say(parse("INSERT INTO categories VALUES ($1::int, 'x')", "w"), sync())
    yield ask("EXECUTE w (221)")
    yield ask("SELECT count(*) FROM categories WHERE id = 221")
    yield say(close("w"), sync())
    yield ask("DELETE FROM categories WHERE id = 221")


@conversation(pins=True)
def execute_of_set() -> Script:
    """A statement that is SET cannot be prepared by SQL, but by Parse."""
    yield ask("PREPARE s AS SET work_mem = '7MB'")
    yield say(parse("SET work_mem = '7MB'", "s"), used("s"), sync())
    yield ask("SHOW work_mem")
    yield ask("EXECUTE s")
    yield ask("RESET work_mem")
    yield say(close("s"), sync())


@conversation()
def name_in_quotes() -> Script:
    """DEALLOCATE folds what is not quoted."""
    yield say(parse("SELECT 'upper'", "Name"), parse("SELECT 'lower'", "name"), sync())
    yield ask("DEALLOCATE NAME")
    yield say(used("name"), sync())
    yield say(used("Name"), sync())
    yield ask('DEALLOCATE "Name"')
    yield say(used("Name"), sync())


@conversation()
def deallocate_of_nothing_in_a_pipeline() -> Script:
    """DEALLOCATE of a name that is not there fails its request."""
    yield say(parse("SELECT 1", "a"), extended("DEALLOCATE nobody"), used("a"), sync())
    yield say(used("a"), sync())
    yield say(close("a"), sync())


@conversation()
def deallocate_by_a_named_statement() -> Script:
    """A named statement that is DEALLOCATE of another, run twice."""
    yield say(parse("SELECT 1", "a"), parse("DEALLOCATE a", "d"), used("d"), sync())
    yield say(used("a"), sync())
    yield say(used("d"), sync())
    yield say(close("d"), sync())


@conversation()
def deallocate_all_by_a_named_statement() -> Script:
    """A named statement that deallocates itself with all others."""
    yield say(parse("DEALLOCATE ALL", "d"), parse("SELECT 1", "a"), sync())
    yield say(used("d"), used("a"), sync())
    yield say(used("d"), sync())


@conversation()
def two_statements_and_a_deallocate() -> Script:
    """A text of several statements that deallocates in the middle."""
    yield say(parse("SELECT 1", "a"), sync())
    yield ask("SELECT 1; DEALLOCATE a; SELECT 2")
    yield say(used("a"), sync())
    yield say(parse("SELECT 2", "a"), sync())
    yield ask("DEALLOCATE a; SELECT 1/0")
    yield say(used("a"), sync())


@conversation()
def portal_and_cursor_of_one_name() -> Script:
    """A portal of the protocol is a cursor of SQL's: FETCH reads it, DECLARE finds its name taken."""
    yield ask("BEGIN")
    yield say(parse("SELECT generate_series(1, 9)"), bind(portal="c"), execute("c", 2), sync())
    yield ask("FETCH 2 FROM c")
    yield ask("MOVE 1 FROM c")
    yield say(execute("c", 2), sync())
    yield ask("SAVEPOINT s")
    yield ask("DECLARE c CURSOR FOR SELECT 1")
    yield ask("ROLLBACK TO s")
    yield ask("CLOSE c")
    yield say(execute("c"), sync())
    yield ask("ROLLBACK")


@conversation()
def cursor_read_by_execute() -> Script:
    """A cursor of SQL's is a portal of the protocol: Describe and Execute read it."""
    yield ask("BEGIN")
    yield ask("DECLARE c CURSOR FOR SELECT generate_series(1, 9)")
    yield say(describe("c", b"P"), execute("c", 3), sync())
    yield ask("FETCH 1 FROM c")
    yield say(execute("c"), sync())
    yield say(close("c", b"P"), sync())
    yield ask("FETCH 1 FROM c")
    yield ask("ROLLBACK")


@conversation()
def cursor_bound_over() -> Script:
    """Bind to a name that is a cursor is refused."""
    yield ask("BEGIN")
    yield ask("DECLARE c CURSOR FOR SELECT 1")
    yield say(parse("SELECT 2"), bind(portal="c"), execute("c"), sync())
    yield ask("ROLLBACK")


@conversation()
def cursors_closed_all() -> Script:
    """CLOSE ALL closes portals of the protocol too."""
    yield ask("BEGIN")
    yield say(parse("SELECT generate_series(1, 5)"), bind(portal="p"), execute("p", 1), sync())
    yield ask("DECLARE c CURSOR FOR SELECT generate_series(1, 5)")
    yield ask("CLOSE ALL")
    yield say(execute("p"), sync())
    yield ask("ROLLBACK")


@conversation()
def cursors_closed_all_in_a_pipeline() -> Script:
    """The same within one request."""
    yield ask("BEGIN")
    yield say(
        parse("SELECT generate_series(1, 5)", "s"),
        bind(statement="s", portal="p"),
        execute("p", 1),
        extended("CLOSE ALL"),
        execute("p"),
        sync(),
    )
    yield ask("ROLLBACK")
    yield say(close("s"), sync())


@conversation(pins=True)
def cursor_with_hold_read_by_execute() -> Script:
    """A cursor WITH HOLD is a portal in later transactions."""
    yield ask("DECLARE h CURSOR WITH HOLD FOR SELECT generate_series(1, 6)")
    yield say(describe("h", b"P"), execute("h", 2), sync())
    yield say(execute("h", 1), flush(), execute("h", 1), sync())
    yield ask("FETCH 1 FROM h")
    yield say(close("h", b"P"), sync())
    yield ask("FETCH 1 FROM h")


@conversation()
def cursor_of_a_bound_declare() -> Script:
    """DECLARE with parameters, by the extended protocol, as psycopg's server-side cursors do."""
    yield ask("BEGIN")
    yield say(extended("DECLARE c CURSOR FOR SELECT generate_series(1, $1::int)", b"4"), sync())
    yield say(extended("FETCH 2 FROM c"), describe("c", b"P"), sync())
    yield say(extended("FETCH ALL FROM c"), extended("CLOSE c"), sync())
    yield ask("COMMIT")


@conversation()
def cursor_and_portal_after_the_transaction() -> Script:
    """Both are gone with the transaction."""
    yield say(query("BEGIN; DECLARE c CURSOR FOR SELECT 1"))
    yield say(parse("SELECT 2", "s"), bind(statement="s", portal="p"), sync())
    yield ask("COMMIT")
    yield say(execute("p"), sync())
    yield say(execute("c"), sync())
    yield ask("FETCH 1 FROM c")
    yield say(close("s"), sync())
