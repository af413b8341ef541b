"""The extended query protocol, one request at a time."""

from __future__ import annotations

import struct

from ...frames import bind, close, describe, execute, extended, flush, parse, query, sync
from ..dsl import Script, ask, conversation, read, say

INT4, TEXT, INT8 = 23, 25, 20


@conversation()
def extended_select() -> Script:
    """Parse, Bind, Describe, Execute and Sync in one go."""
    yield say(extended("SELECT 1 AS one, 'x'::text"), sync())


@conversation()
def extended_parameters() -> Script:
    """Parameters in text, NULL and without given types."""
    yield say(extended("SELECT $1::int + 1, $2::text, $3::text IS NULL", b"41", b"h\xc3\xa9", None), sync())


@conversation()
def extended_binary() -> Script:
    """Parameters and results in binary, mixed with text."""
    values = struct.pack("!i", 7), b"eight"
    yield say(
        extended("SELECT $1 * 2, $2, 3::int8", *values, types=(INT4, TEXT), formats=(1, 0), results=(1, 0, 1)), sync()
    )
    yield say(extended("SELECT $1 * 2, $2", *values, types=(INT4, TEXT), formats=(1, 1), results=(1,)), sync())


@conversation()
def extended_bad_binary() -> Script:
    """A binary value of the wrong length is an error of Bind."""
    yield say(extended("SELECT $1", b"abc", types=(INT4,), formats=(1,)), sync())
    yield say(extended("SELECT 1"), sync())


@conversation()
def extended_wrong_counts() -> Script:
    """Too few or too many parameters or formats are errors of Bind."""
    yield say(extended("SELECT $1::int, $2::int", b"1"), sync())
    yield say(extended("SELECT $1::int", b"1", b"2"), sync())
    yield say(extended("SELECT $1::int, $2::int", b"1", b"2", formats=(0, 0, 1)), sync())
    yield say(extended("SELECT 1, 2, 3", results=(0, 1)), sync())


@conversation()
def extended_describe_statement() -> Script:
    """Describe of a statement gives parameter types and columns without running it."""
    yield say(parse("SELECT id, name FROM products WHERE id = $1 AND name = $2", "s"), describe("s", b"S"), sync())
    yield say(parse("UPDATE products SET price = $1 WHERE id = $2", "u"), describe("u", b"S"), sync())
    yield say(describe("s", b"S"), describe("u", b"S"), sync())
    yield say(describe("nothing", b"S"), sync())
    yield say(close("s"), close("u"), sync())


@conversation()
def extended_describe_unnamed() -> Script:
    """The unnamed statement can be described, and stays until the next Parse."""
    yield say(parse("SELECT $1::int8 AS n"), describe("", b"S"), sync())
    yield say(bind(b"5"), execute(), sync())
    yield say(parse("SELECT 'other'"), sync())
    yield say(describe("", b"S"), bind(), describe(), execute(), sync())


@conversation()
def extended_describe_portal_twice() -> Script:
    """A portal may be described again and after it has run."""
    yield say(parse("SELECT 1 AS a"), bind(), describe(), describe(), execute(), describe(), sync())


@conversation()
def extended_no_describe() -> Script:
    """Without Describe there is no description."""
    yield say(parse("SELECT 1, 2"), bind(), execute(), sync())


@conversation()
def extended_empty_query() -> Script:
    """An empty text parses, describes as nothing and answers EmptyQueryResponse."""
    yield say(parse(""), describe("", b"S"), bind(), describe(), execute(), sync())
    yield say(extended(" ; "), sync())


@conversation()
def extended_multi_statement() -> Script:
    """Several statements in one Parse are refused."""
    yield say(extended("SELECT 1; SELECT 2"), sync())
    yield say(extended("SELECT 3;"), sync())


@conversation()
def extended_parse_error_skips_to_sync() -> Script:
    """After an error nothing is answered until Sync."""
    yield say(parse("SELEC"), bind(), describe(), execute(), parse("SELECT 1"), flush(), sync())
    yield say(extended("SELECT 2"), sync())


@conversation()
def extended_execute_error() -> Script:
    """An error in Execute comes after the answers to Parse, Bind and Describe."""
    text = "SELECT 1 / (i - $1::int) FROM generate_series(1, 1) i"
    yield say(extended(text, b"1"), sync())
    yield say(extended(text, b"0"), sync())


@conversation()
def extended_unknown_names() -> Script:
    """Unknown statements and portals are errors with PostgreSQL's words; closing them is none."""
    yield say(bind(statement="nope"), sync())
    yield say(execute("nope"), sync())
    yield say(describe("nope", b"P"), sync())
    yield say(close("nope", b"S"), close("nope", b"P"), sync())


@conversation()
def extended_named_twice() -> Script:
    """A named statement cannot be parsed again before it is closed."""
    yield say(parse("SELECT 1", "twice"), sync())
    yield say(parse("SELECT 2", "twice"), sync())
    yield say(bind(statement="twice"), execute(), sync())
    yield say(close("twice"), parse("SELECT 2", "twice"), bind(statement="twice"), execute(), sync())


@conversation()
def extended_flush() -> Script:
    """Flush brings the answers without ready, and the request goes on afterwards."""
    yield say(parse("SELECT $1::text"), describe("", b"S"), flush(), until=3)
    yield say(bind(b"now"), describe(), flush(), until=2)
    yield say(execute(), flush(), until=2)
    yield say(sync())


@conversation()
def extended_flush_error() -> Script:
    """An error before Flush comes at once; ready only after Sync."""
    yield say(parse("SELECT broken"), flush(), until=1)
    yield say(bind(), execute(), sync())
    yield ask("SELECT 1")


@conversation()
def extended_sync_alone() -> Script:
    """Sync alone answers ready, as often as asked."""
    yield say(sync())
    yield say(sync(), sync(), sync(), times=3)


@conversation()
def extended_portal_suspension() -> Script:
    """Execute with a row limit suspends the portal; the next one goes on where it stopped."""
    yield say(parse("SELECT i FROM generate_series(1, 7) i"), bind(), describe(), execute(max_rows=3), flush(), until=6)
    yield say(execute(max_rows=3), flush(), until=4)
    yield say(execute(max_rows=3), flush(), until=2)
    yield say(execute(max_rows=3), sync())


@conversation()
def extended_portal_ends_with_sync() -> Script:
    """Outside a transaction a portal does not outlive its Sync."""
    yield say(parse("SELECT i FROM generate_series(1, 5) i"), bind(portal="p"), execute("p", 2), sync())
    yield say(execute("p", 2), sync())


@conversation()
def extended_portal_in_transaction() -> Script:
    """Inside a transaction named portals live on over Syncs until closed."""
    yield ask("BEGIN")
    yield say(parse("SELECT i FROM generate_series(1, 9) i", "s"), bind(statement="s", portal="p"), sync())
    yield say(execute("p", 4), sync())
    yield say(bind(statement="s", portal="q"), execute("q", 1), execute("p", 1), sync())
    yield say(close("p", b"P"), execute("p"), sync())
    yield ask("ROLLBACK")
    yield say(close("s"), sync())


@conversation()
def extended_portal_and_fetch() -> Script:
    """A named portal is a cursor to SQL."""
    yield ask("BEGIN")
    yield say(parse("SELECT i FROM generate_series(1, 9) i"), bind(portal="p"), execute("p", 2), sync())
    yield ask("FETCH 2 FROM p")
    yield ask("CLOSE p")
    yield say(execute("p"), sync())
    yield ask("COMMIT")


@conversation()
def extended_dml() -> Script:
    """Tags and RETURNING of data changes in the extended protocol."""
    yield say(extended("UPDATE categories SET name = name WHERE id <= $1", b"3"), sync())
    yield say(extended("UPDATE categories SET name = name WHERE id <= $1 RETURNING id", b"2"), sync())
    yield say(extended("DELETE FROM categories WHERE id = $1::int", b"-1"), sync())


@conversation()
def extended_utility(me: str) -> Script:
    """Utility commands describe as NoData, those that answer rows do describe."""
    yield say(extended(f"CREATE TABLE IF NOT EXISTS u_{me} (id int)"), sync())
    yield say(extended("SHOW server_encoding"), sync())
    yield say(extended("EXPLAIN (COSTS off) SELECT 1"), sync())
    yield say(extended(f"DROP TABLE u_{me}"), sync())


@conversation()
def extended_transaction() -> Script:
    """BEGIN, work and COMMIT each by the extended protocol, as JDBC and asyncpg do."""
    for text in ("BEGIN", "INSERT INTO categories VALUES (83, 'x')", "SELECT count(*) FROM categories", "ROLLBACK"):
        yield say(extended(text), sync())


@conversation()
def extended_implicit_transaction() -> Script:
    """What stands between two Syncs is one transaction: an error undoes all of it."""
    insert = "INSERT INTO categories VALUES ($1::int, 'implicit')"
    yield say(extended(insert, b"84"), extended(insert, b"84"), extended(insert, b"85"), sync())
    yield ask("SELECT count(*) FROM categories WHERE name = 'implicit'")


@conversation()
def extended_then_simple() -> Script:
    """A simple query ends the unnamed statement and portal."""
    yield say(parse("SELECT 1"), bind(), sync())
    yield ask("SELECT 2")
    yield say(bind(), execute(), sync())


@conversation(pins=True)
def extended_unfinished_then_simple() -> Script:
    """A simple query straight after Execute without Sync is answered in turn."""
    yield say(extended("SELECT 1"), query("SELECT 2"))
    yield say(sync())


@conversation()
def extended_byte_by_byte() -> Script:
    """An extended request may arrive in pieces of one byte."""
    yield say(extended("SELECT $1::text", b"slowly"), sync(), chunk=1)


@conversation()
def extended_wait_between_messages() -> Script:
    """Each message may come with a Flush and a wait of its own."""
    yield say(parse("SELECT 1 AS n"), flush(), until=1)
    yield say(bind(), flush(), until=1)
    yield say(describe(), flush(), until=1)
    yield say(execute(), flush(), until=2)
    yield say(sync(), until=None)
    yield read()


@conversation()
def prepared_up_to_a_flush() -> Script:
    """asyncpg and postgres.js ask for the columns first, wait, and then run the statement."""
    for name in ("", "a"):
        yield say(parse("SELECT id FROM products WHERE id = $1", name), describe(name, b"S"), flush(), until=3)
        yield say(bind(b"4", statement=name), execute(), sync())
        yield say(bind(b"5", statement=name), describe(), execute(), flush(), until=b"C")
        yield say(sync())
    yield say(close("a"), flush(), until=1)
    yield say(bind(b"4", statement="a"), execute(), sync())


@conversation()
def an_error_up_to_a_flush() -> Script:
    """It is told at once, what follows is skipped, and ReadyForQuery comes once, behind the Sync."""
    for begin in ("SELECT 1", "BEGIN", "BEGIN ISOLATION LEVEL SERIALIZABLE"):
        yield ask(begin)
        yield say(parse("SELECT * FROM there_is_no_such_table"), flush(), until=1)
        yield say(extended("SELECT 1"), query("SELECT 2"), flush(), until=None)
        yield say(sync())
        yield say(describe("nothing", b"S"), flush(), until=1)
        yield say(sync())
        yield ask("ROLLBACK")


@conversation()
def other_requests_behind_a_flush() -> Script:
    """A Query, a Sync alone, another Parse, a write behind what was prepared up to a Flush; in transactions too."""
    for begin in ("SELECT 1", "BEGIN", "BEGIN ISOLATION LEVEL REPEATABLE READ", "SAVEPOINT a"):
        yield ask(begin)
        yield say(parse("SELECT 3", "p"), flush(), until=1)
        yield say(sync())
        yield say(close("p"), parse("SELECT 5"), flush(), until=2)
        yield ask("SELECT 6")
        yield say(parse("UPDATE products SET name = name WHERE id = 4"), describe("", b"S"), flush(), until=3)
        yield say(bind(), execute(), sync())
        yield say(parse("EXECUTE p", "q"), flush(), until=1)
        yield say(sync())
        yield ask("ROLLBACK")
