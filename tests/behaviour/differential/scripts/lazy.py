"""Transactions that begin in every way and go on in every way: kept back or not, the client sees what it sees direct.

Each way to begin is joined with each way to go on, a conversation for each pair.
"""

from __future__ import annotations

from collections.abc import Callable

from ... import frames
from ..dsl import Elsewhere, Script, Step, ask, conversation, read, say

BEGINS: dict[str, bytes] = {
    "plain": frames.query("BEGIN"),
    "start": frames.query("/* why */ START TRANSACTION READ WRITE;"),
    "committed": frames.query("begin isolation level read committed, not deferrable"),
    "repeatable": frames.query("BEGIN ISOLATION LEVEL REPEATABLE READ"),
    "serializable": frames.query("BEGIN TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE"),
    "read_only": frames.query("BEGIN READ ONLY"),
    "extended": frames.extended("BEGIN") + frames.sync(),
    "portal": frames.parse("BEGIN") + frames.bind(portal="p") + frames.execute("p") + frames.sync(),
}

PRODUCT = "SELECT name FROM products WHERE id = 7"
WRITE = "UPDATE products SET name = name WHERE id = 7"


def _reads(_me: str) -> list[Step]:
    return [
        ask(PRODUCT),
        ask(f"{PRODUCT};"),
        say(frames.extended(PRODUCT), frames.sync()),
        ask("COMMIT"),
        ask("COMMIT"),
    ]


def _writes_last(_me: str) -> list[Step]:
    return [ask(PRODUCT), ask(WRITE), ask(PRODUCT), ask("END"), ask(PRODUCT)]


def _writes_first(_me: str) -> list[Step]:
    return [say(frames.extended(WRITE), frames.sync()), say(frames.extended(PRODUCT), frames.sync()), ask("ROLLBACK")]


def _fails_first(_me: str) -> list[Step]:
    return [ask("SELECT 1/0"), ask(PRODUCT), ask("SAVEPOINT a"), ask("COMMIT"), ask(PRODUCT)]


def _fails_later(_me: str) -> list[Step]:
    gone = "SELECT no_such_column FROM products"
    return [
        ask(PRODUCT),
        say(frames.extended(gone), frames.sync()),
        say(frames.extended(PRODUCT), frames.sync()),
        ask("ABORT"),
        ask(PRODUCT),
    ]


def _fails_after_rows(_me: str) -> list[Step]:
    late = "SELECT repeat('x', 100), 1 / (2000 - id) FROM generate_series(1, 3000) AS id"
    return [ask(PRODUCT), ask(late), ask(PRODUCT), ask("ROLLBACK TO nowhere"), ask("COMMIT")]


def _savepoints(_me: str) -> list[Step]:
    texts = ["SAVEPOINT a", PRODUCT, "SELECT 1/0", PRODUCT, "ROLLBACK TO a", PRODUCT, "SAVEPOINT b", "RELEASE a"]
    return [ask(text) for text in (*texts, "ROLLBACK TO b", "ROLLBACK")]


def _equal_savepoints(_me: str) -> list[Step]:
    texts = ["SAVEPOINT a", "SAVEPOINT a", "SAVEPOINT b", "RELEASE a", "SAVEPOINT c", "ROLLBACK TO a", WRITE]
    return [ask(text) for text in (*texts, "ROLLBACK TO c", "ROLLBACK TO a", PRODUCT, "COMMIT")]


def _level_after_read(_me: str) -> list[Step]:
    texts = [PRODUCT, "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", PRODUCT, "ROLLBACK"]
    return [ask(text) for text in texts]


def _level_first(_me: str) -> list[Step]:
    texts = ["SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", PRODUCT, "SHOW transaction_isolation", "COMMIT"]
    return [ask(text) for text in texts]


def _set_local(_me: str) -> list[Step]:
    texts = ["SET LOCAL work_mem = '77kB'", "SHOW work_mem", PRODUCT, "COMMIT", "SHOW work_mem"]
    return [ask(text) for text in texts]


def _begins_twice(_me: str) -> list[Step]:
    return [ask("BEGIN"), ask(PRODUCT), ask("BEGIN READ WRITE"), ask("COMMIT"), ask("COMMIT")]


def _chains(_me: str) -> list[Step]:
    texts = [PRODUCT, "COMMIT AND CHAIN", PRODUCT, "SHOW transaction_read_only", "ROLLBACK AND CHAIN", "COMMIT"]
    return [ask(text) for text in texts]


def _cursor(_me: str) -> list[Step]:
    declare = "DECLARE c CURSOR FOR SELECT id FROM products ORDER BY id"
    return [ask(text) for text in (declare, "FETCH 2 FROM c", PRODUCT, "CLOSE c", "COMMIT", "FETCH 1 FROM c")]


def _portals(_me: str) -> list[Step]:
    some = "SELECT id FROM products ORDER BY id LIMIT 3"
    opened = frames.parse(some) + frames.bind(portal="p") + frames.execute("p", 1) + frames.sync()
    return [
        say(opened),
        say(frames.execute("p", 1), frames.sync()),
        ask("COMMIT"),
        say(frames.execute("p"), frames.sync()),
    ]


def _some_rows(_me: str) -> list[Step]:
    """As asyncpg's fetchrow does: one row is asked for, and nobody comes back for more."""
    prepared = say(frames.parse(PRODUCT, "some") + frames.describe("some", b"S") + frames.flush(), until=3)
    none = frames.parse("SELECT id FROM products WHERE id < 0") + frames.bind() + frames.execute("", 1)
    fails = frames.parse("SELECT 1 / (id - 7) FROM products WHERE id = 7") + frames.bind() + frames.execute("", 2)
    one = say(frames.bind(statement="some") + frames.execute("", 1), frames.sync())
    closed = say(frames.bind(statement="some") + frames.execute("", 1) + frames.close("", b"P"), frames.sync())
    parts = frames.parse("SELECT id FROM products ORDER BY id") + frames.bind() + frames.execute("", 2)
    first = [prepared, one, say(none, frames.sync()), closed, ask("SAVEPOINT a"), say(fails, frames.sync())]
    then = [ask("ROLLBACK TO a"), one, ask(WRITE), one, say(parts, frames.execute("", 2), frames.sync())]
    return [*first, *then, say(frames.execute("", 1), frames.sync()), ask("COMMIT"), one]


def _described_first(_me: str) -> list[Step]:
    asked = frames.parse(PRODUCT, "s") + frames.describe("s", b"S") + frames.flush()
    run = frames.bind(statement="s") + frames.execute() + frames.sync()
    return [say(asked, until=3), say(run), say(run), ask("COMMIT"), say(frames.close("s"), frames.sync())]


def _pipeline(_me: str) -> list[Step]:
    one = frames.parse(PRODUCT) + frames.bind() + frames.execute()
    both = one + frames.parse(WRITE) + frames.bind() + frames.execute() + frames.sync()
    return [say(one, one, frames.sync()), say(both), say(frames.extended("COMMIT"), frames.sync())]


def _all_at_once(_me: str) -> list[Step]:
    texts = [PRODUCT, "SAVEPOINT a", "SELECT 1/0", "ROLLBACK TO a", WRITE, "COMMIT", PRODUCT]
    return [say(*map(frames.query, texts), times=len(texts))]


def _copies(_me: str) -> list[Step]:
    return [ask(PRODUCT), ask("COPY (SELECT id FROM categories ORDER BY id) TO STDOUT"), ask("COMMIT")]


def _defined_between(me: str) -> list[Step]:
    table = f"lazy_{me}"
    make = f"DROP TABLE IF EXISTS {table}; CREATE TABLE {table} AS SELECT 1 AS x; GRANT ALL ON {table} TO PUBLIC"
    grown = f"ALTER TABLE {table} ADD COLUMN y int"
    return [ask(PRODUCT), Elsewhere(make), ask(f"SELECT * FROM {table}"), ask("COMMIT"), Elsewhere(grown), read(0)]


BODIES: dict[str, Callable[[str], list[Step]]] = {
    body.__name__.removeprefix("_"): body
    for body in (
        *(_reads, _writes_last, _writes_first, _fails_first, _fails_later, _fails_after_rows, _savepoints),
        *(_equal_savepoints, _level_after_read, _level_first, _set_local, _begins_twice, _chains, _cursor, _portals),
        *(_described_first, _some_rows, _pipeline, _all_at_once, _copies, _defined_between),
    )
}


def _register(begin: str, body: str) -> None:
    def script(me: str) -> Script:
        yield say(BEGINS[begin])
        for step in BODIES[body](me):  # noqa: UP028 -- what `yield from` is given has to take what is sent
            yield step
        yield ask("ROLLBACK")

    script.__name__ = f"lazy_{begin}_{body}"
    script.__doc__ = f"It begins like this: {begin}, and goes on like that: {body}."
    # Two clients at a time see nothing more with other words.
    conversation(interleaves=begin == "plain" and body not in DISTURB)(script)


DISTURB = ("writes_first", "writes_last", "equal_savepoints", "pipeline", "all_at_once")
"""In these each of two clients waits for the row that the other one has written."""
FEW = ("reads", "writes_last", "fails_first", "savepoints")
"""With these all is said about words of BEGIN that change nothing else."""

for _begin in BEGINS:
    for _body in FEW if _begin in ("start", "committed", "serializable") else BODIES:
        _register(_begin, _body)
