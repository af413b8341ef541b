"""Requests that are longer than what goes to a server at once."""

from __future__ import annotations

from ...frames import bind, close, describe, execute, flush, parse, query, sync
from ..dsl import Script, ask, conversation, say

MANY = 700
"""Executions: several parts of one request."""
_INSERT = "INSERT INTO accounts SELECT 1000 + $1::int, $2::int"


def _rows(first: int, count: int, amount: int = 1) -> bytes:
    values = [(b"%d" % number, b"%d" % amount) for number in range(first, first + count)]
    return b"".join(bind(*each, statement="row") + execute() for each in values)


@conversation(interleaves=False)
def batch_of_many() -> Script:
    """Hundreds of executions with one Sync are one transaction, each with its own reply."""
    yield say(parse(_INSERT, "row"), _rows(0, MANY), sync())
    yield ask("SELECT count(*), min(id), max(id), sum(balance) FROM accounts WHERE id >= 1000")


@conversation(interleaves=False)
def batch_that_fails() -> Script:
    """An error in the middle takes all of it back, and what stands behind it is passed over up to the Sync."""
    yield say(parse(_INSERT, "row"), sync())
    yield say(_rows(0, MANY), _rows(5000, 1, amount=-1), _rows(6000, MANY), sync())
    yield ask("SELECT count(*) FROM accounts WHERE id >= 1000")
    yield say(_rows(0, 2), sync())


@conversation(interleaves=False)
def batch_with_flushes() -> Script:
    """Flush in between brings what there is; the request goes on."""
    yield say(parse(_INSERT, "row"), flush(), until=1)
    yield say(_rows(0, 300), flush(), until=600)
    yield say(_rows(300, 300), flush(), until=600)
    yield say(_rows(600, 1, amount=-1), flush(), until=2)
    yield say(_rows(700, 300), sync())
    yield ask("SELECT count(*) FROM accounts WHERE id >= 1000")


@conversation(interleaves=False)
def batch_in_a_transaction() -> Script:
    """In a transaction block it fails the block, which only its end ends."""
    yield ask("BEGIN")
    yield say(parse(_INSERT, "row"), _rows(0, MANY), sync())
    yield say(_rows(1000, MANY), _rows(0, 1, amount=-1), _rows(3000, MANY), sync())
    yield ask("SELECT 1")
    yield ask("ROLLBACK")
    yield ask("SELECT count(*) FROM accounts WHERE id >= 1000")


@conversation()
def batch_of_portals() -> Script:
    """Portals of their own, fetched in pieces across the borders of parts, described and closed."""
    some = parse("SELECT i, $1::text FROM generate_series(1, 5) i", "s")
    each = [
        bind(b"x", portal=f"p{number}", statement="s") + describe(f"p{number}") + execute(f"p{number}", 2)
        for number in range(100)
    ]
    rest = [execute(f"p{number}", 2) + close(f"p{number}", b"P") for number in range(100)]
    yield say(some, *each, *rest, execute("p7"), sync())


@conversation()
def batch_of_statements() -> Script:
    """Hundreds of statements made, used and closed in one request; then a Query right behind, without a Sync."""
    made = [
        parse(f"SELECT {number}", f"s{number}") + bind(statement=f"s{number}") + execute() + close(f"s{number}")
        for number in range(150)
    ]
    yield say(*made, sync())
    yield say(*made, query("SELECT 'behind'"))
    yield say(bind(statement="s3"), sync())


@conversation(interleaves=False)
def batch_with_transactions_in_it() -> Script:
    """BEGIN, COMMIT and ROLLBACK in the middle of a long request end what they end."""
    words = {word: parse(word) + bind() + execute() for word in ("BEGIN", "COMMIT", "ROLLBACK")}
    yield say(parse(_INSERT, "row"), sync())
    yield say(
        *(words["BEGIN"], _rows(0, 200), words["COMMIT"]),
        *(words["BEGIN"], _rows(1000, 200), words["ROLLBACK"]),
        *(_rows(2000, 200), sync()),
    )
    yield ask("SELECT count(*), max(id) FROM accounts WHERE id >= 1000")
    yield say(sync(), sync(), times=2)
