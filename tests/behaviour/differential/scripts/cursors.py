"""SQL cursors."""

from __future__ import annotations

from ...frames import extended, sync
from ..dsl import Script, ask, conversation, say


@conversation()
def cursor_in_a_transaction() -> Script:
    """DECLARE, FETCH, MOVE and CLOSE within a transaction."""
    yield ask("BEGIN")
    yield ask("DECLARE c SCROLL CURSOR FOR SELECT i FROM generate_series(1, 10) i")
    yield ask("FETCH 3 FROM c; MOVE 2 FROM c; FETCH c; FETCH BACKWARD 2 FROM c")
    yield ask("FETCH ALL FROM c; FETCH c")
    yield ask("CLOSE c")
    yield ask("FETCH c")
    yield ask("ROLLBACK")


@conversation()
def cursor_outside_a_transaction() -> Script:
    """A plain cursor outside a transaction is refused."""
    yield ask("DECLARE c CURSOR FOR SELECT 1")
    yield say(extended("DECLARE c CURSOR FOR SELECT 1"), sync())


@conversation()
def cursor_ends_with_its_transaction() -> Script:
    """After COMMIT a cursor without hold is gone."""
    yield ask("BEGIN; DECLARE gone CURSOR FOR SELECT 1")
    yield ask("COMMIT")
    yield ask("FETCH gone")


@conversation(pins=True)
def cursor_with_hold() -> Script:
    """A WITH HOLD cursor outlives its transaction and is the session's own."""
    yield ask("BEGIN; DECLARE held CURSOR WITH HOLD FOR SELECT i FROM generate_series(1, 6) i")
    yield ask("FETCH 2 FROM held")
    yield ask("COMMIT")
    yield ask("FETCH 2 FROM held")
    yield ask("SELECT name, is_holdable FROM pg_cursors WHERE name = 'held'")
    yield ask("CLOSE held")
    yield ask("FETCH held")


@conversation(pins=True)
def cursor_with_hold_outside_a_transaction() -> Script:
    """A WITH HOLD cursor may be declared without a transaction and closed with all others."""
    yield ask("DECLARE h CURSOR WITH HOLD FOR VALUES (1), (2), (3)")
    yield ask("FETCH h")
    yield say(extended("FETCH 1 FROM h"), sync())
    yield ask("CLOSE ALL")
    yield ask("SELECT count(*) FROM pg_cursors WHERE name = 'h'")


@conversation(pins=True)
def cursor_with_hold_rolled_back() -> Script:
    """A WITH HOLD cursor of a transaction that rolls back is gone."""
    yield ask("BEGIN; DECLARE r CURSOR WITH HOLD FOR SELECT 1")
    yield ask("ROLLBACK")
    yield ask("FETCH r")


@conversation()
def cursor_update(me: str) -> Script:
    """WHERE CURRENT OF works on the cursor of the same transaction."""
    number = {"a": 1, "b": 2}[me]
    yield ask(f"BEGIN; DECLARE u CURSOR FOR SELECT * FROM accounts WHERE id = {number} FOR UPDATE")
    yield ask("FETCH u")
    yield ask("UPDATE accounts SET balance = balance + 1 WHERE CURRENT OF u RETURNING *")
    yield ask("ROLLBACK")


@conversation()
def cursor_in_binary() -> Script:
    """A BINARY cursor answers in binary by the simple protocol."""
    yield ask("BEGIN; DECLARE b BINARY CURSOR FOR SELECT 258::int4, 'x'::text")
    yield ask("FETCH b")
    yield ask("COMMIT")
