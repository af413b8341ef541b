"""The same plain statement again and again, which PgBeam sends by a shorter way than others."""

from __future__ import annotations

import struct

from ...frames import bind, describe, execute, extended, parse, sync
from ..dsl import Elsewhere, Script, ask, conversation, say

INT4 = 23
TIMES = 6
"""Often enough for a statement that is parsed each time to be kept by the server under a name."""


@conversation()
def again_reads() -> Script:
    """One row, none, NULL, another format: each execution has its own."""
    for value in (b"1", b"2", None, b"-1", b"3", b"1"):
        yield say(extended("SELECT id, name, NULL::int FROM products WHERE id = $1", value), sync())
        yield say(extended("SELECT $1::int4, $2::text", value, value, results=(1, 0)), sync())
        yield say(extended("SELECT $1", struct.pack("!i", 7), types=(INT4,), formats=(1,)), sync())


@conversation()
def again_without_describe() -> Script:
    """Without Describe there is no description, with one there is, by turns."""
    for number in range(TIMES):
        yield say(parse("SELECT name FROM products WHERE id = $1"), bind(b"1"), execute(), sync())
        yield say(extended("SELECT name FROM products WHERE id = $1", str(number).encode()), sync())


@conversation()
def again_named() -> Script:
    """A statement prepared once and bound again and again, in a transaction too."""
    yield say(parse("SELECT name FROM products WHERE id = $1", "byid", (INT4,)), sync())
    for number in range(TIMES):
        yield say(bind(str(number).encode(), statement="byid"), describe(), execute(), sync())
        yield say(bind(str(number).encode(), statement="byid"), execute(), sync())
    yield ask("BEGIN")
    for _ in range(TIMES):
        yield say(bind(b"1", statement="byid"), describe(), execute(), sync())
    yield say(bind(b"no number", statement="byid"), describe(), execute(), sync())
    yield say(bind(b"1", statement="byid"), describe(), execute(), sync())
    yield ask("ROLLBACK")
    yield say(bind(b"1", statement="byid"), describe(), execute(), sync())


@conversation()
def again_unnamed_bound() -> Script:
    """The unnamed statement, bound again and again, until a simple query ends it."""
    for _ in range(TIMES):
        yield say(extended("SELECT $1::int AS n", b"0"), sync())
        yield say(bind(b"1"), describe(), execute(), sync())
    yield ask("SELECT 2 AS n")
    yield say(bind(b"3"), describe(), execute(), sync())


@conversation()
def again_errors() -> Script:
    """Errors of Bind, before the first row and behind some; what comes next is not touched by them."""
    # Of a table: what is constant PostgreSQL works out in Bind or in Execute, by how often it has planned a statement.
    for value in (b"1", b"2", b"0", b"1", b"x", b"1", b"0", b"1", None):
        yield say(extended("SELECT i / $1::int AS part FROM generate_series(10, 10) i", value), sync())
        yield say(extended("SELECT 12 / (3 - i * $1::int) AS twelfth FROM generate_series(0, 5) i", value), sync())
        yield ask(f"SELECT 10 / {(value or b'5').decode()} AS tenth")


@conversation()
def again_missing() -> Script:
    """A statement that cannot be parsed fails each time anew, in the same place."""
    for _ in range(TIMES):
        yield say(extended("SELECT * FROM missing WHERE id = $1", b"1"), sync())
        yield ask("SELECT * FROM missing")


@conversation()
def again_writes(me: str) -> Script:
    """Changes of rows, with RETURNING or without, that change something or nothing, and that fail."""
    first = 500 if me == "a" else 600
    for number in range(TIMES):
        value = str(first + number // 2).encode()
        yield say(extended("INSERT INTO categories VALUES ($1, 'again')", value), sync())
        yield say(extended("UPDATE categories SET name = $1 WHERE id = $2 RETURNING id, name", b"more", value), sync())
        yield say(extended("UPDATE categories SET name = NULL WHERE id = $1", b"-1"), sync())
        yield say(extended("DELETE FROM categories WHERE id = $1", str(first - number).encode()), sync())
        yield ask(f"INSERT INTO categories VALUES ({first + 50 + number}, 'simple') RETURNING *")
    yield ask(f"DELETE FROM categories WHERE id BETWEEN {first} AND {first + 99}")


@conversation()
def again_in_transactions(me: str) -> Script:
    """Inside transactions, committed, rolled back, failed and back at a savepoint."""
    key = str(700 if me == "a" else 800).encode()
    for end in ("COMMIT", "ROLLBACK", "COMMIT"):
        yield say(extended("BEGIN"), sync())
        for _ in range(3):
            yield say(extended("SELECT count(*) FROM categories WHERE id = $1", key), sync())
        yield say(extended("DELETE FROM categories WHERE id = $1", key), sync())
        yield say(extended("INSERT INTO categories VALUES ($1, 'kept')", key), sync())
        yield ask("SAVEPOINT before")
        yield say(extended("INSERT INTO categories VALUES ($1, 'kept')", key), sync())
        yield say(extended("SELECT count(*) FROM categories WHERE id = $1", key), sync())
        yield ask("ROLLBACK TO before")
        yield say(extended("SELECT count(*) FROM categories WHERE id = $1", key), sync())
        yield ask(end)
    yield ask(f"DELETE FROM categories WHERE id = {key.decode()}")


@conversation()
def again_beside_open_portals() -> Script:
    """In a transaction the unnamed portal is replaced by each statement, named ones live on."""
    count = "SELECT i FROM generate_series(1, 9) i"
    for _ in range(TIMES):
        yield say(extended("SELECT $1::int AS n", b"1"), sync())
    yield ask("BEGIN")
    yield say(parse(count, "count"), bind(statement="count", portal="p"), execute("p", 2), sync())
    yield say(bind(statement="count"), execute("", 3), sync())
    yield say(execute("", 2), sync())
    yield say(extended("SELECT $1::int AS n", b"2"), sync())
    yield say(execute("", 2), sync())
    yield say(describe("", b"P"), execute("p", 2), sync())
    yield say(extended("SELECT $1::int AS n", b"x"), sync())
    yield ask("ROLLBACK")
    yield say(execute(), sync())


@conversation(interleaves=False)
def again_after_alter() -> Script:
    """A table that another session alters between two executions: what is parsed anew has the new columns."""
    yield Elsewhere("DROP TABLE IF EXISTS public.again; CREATE TABLE public.again AS SELECT 1 AS a")
    yield Elsewhere("ALTER TABLE public.again OWNER TO app")
    for change in ("ADD COLUMN b text DEFAULT 'new'", "DROP COLUMN a", "ADD COLUMN c int", "RENAME c TO d"):
        for _ in range(4):
            yield say(extended("SELECT * FROM again"), sync())
            yield say(parse("SELECT * FROM again"), bind(), execute(), sync())
            yield ask("SELECT * FROM again")
        yield Elsewhere(f"ALTER TABLE public.again {change}")
    yield say(extended("SELECT * FROM again"), sync())
    yield Elsewhere("DROP TABLE public.again")


@conversation()
def again_large_and_in_pieces() -> Script:
    """Replies of any size, requests in any pieces."""
    for size in (1, 8_000, 9_000, 70_000, 300_000, 10):
        yield say(extended("SELECT repeat('x', $1::int), $2", str(size).encode(), b"y"), sync())
        yield say(extended("SELECT repeat('x', $1::int), $2", b"3", b"y"), sync(), chunk=7)
        yield ask(f"SELECT repeat('x', {size}) FROM generate_series(1, 3)")


@conversation()
def again_literals() -> Script:
    """Simple queries that differ in literals only, as psycopg2 sends them."""
    for number in range(TIMES):
        yield ask(f"SELECT {number}, '{number}''s', name FROM products WHERE id = {number} ORDER BY 1")
        yield ask(
            f"SELECT current_setting('{('work_mem', 'pgbeam.debug')[number % 2]}', true) IS NULL AND {number} > 9"
        )
