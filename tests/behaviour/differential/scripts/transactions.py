"""Transactions, savepoints, locks and two-phase commit."""

from __future__ import annotations

from ..dsl import Elsewhere, Script, ask, conversation


@conversation()
def commit_and_rollback() -> Script:
    """Transaction status in ReadyForQuery follows BEGIN, COMMIT and ROLLBACK."""
    yield ask("BEGIN")
    yield ask("INSERT INTO categories VALUES (80, 'x')")
    yield ask("ROLLBACK")
    yield ask("START TRANSACTION ISOLATION LEVEL SERIALIZABLE READ ONLY")
    yield ask("SELECT count(*) FROM categories")
    yield ask("INSERT INTO categories VALUES (80, 'x')")
    yield ask("END")


@conversation()
def transaction_in_error() -> Script:
    """After an error in a transaction everything is refused until it ends, and COMMIT says ROLLBACK."""
    yield ask("BEGIN")
    yield ask("SELECT 1/0")
    yield ask("SELECT 1")
    yield ask("SELEC")
    yield ask("")
    yield ask("COMMIT")
    yield ask("SELECT 1")


@conversation()
def needless_transaction_commands() -> Script:
    """BEGIN within and COMMIT or ROLLBACK outside a transaction give PostgreSQL's warnings."""
    yield ask("COMMIT")
    yield ask("ROLLBACK")
    yield ask("BEGIN")
    yield ask("BEGIN")
    yield ask("COMMIT")


@conversation()
def savepoints() -> Script:
    """Savepoints can be rolled back to after an error, released and shadowed."""
    yield ask("BEGIN")
    yield ask("SAVEPOINT a")
    yield ask("SELECT 1/0")
    yield ask("ROLLBACK TO a")
    yield ask("SAVEPOINT a; SAVEPOINT b")
    yield ask("RELEASE b")
    yield ask("ROLLBACK TO SAVEPOINT b")
    yield ask("ROLLBACK TO a")
    yield ask("COMMIT")
    yield ask("ROLLBACK TO a")


@conversation()
def commit_and_chain() -> Script:
    """AND CHAIN opens the next transaction with the same characteristics."""
    yield ask("BEGIN ISOLATION LEVEL REPEATABLE READ")
    yield ask("COMMIT AND CHAIN")
    yield ask("SHOW transaction_isolation")
    yield ask("ROLLBACK AND CHAIN")
    yield ask("SHOW transaction_isolation")
    yield ask("ROLLBACK")
    yield ask("COMMIT AND CHAIN")


@conversation()
def deferred_constraint_at_commit(me: str) -> Script:
    """An error that only COMMIT finds is COMMIT's error, and the session is out of the transaction."""
    yield ask(f"CREATE TABLE d_{me} (id int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
    yield ask("BEGIN")
    yield ask(f"INSERT INTO d_{me} VALUES (1), (1)")
    yield ask("COMMIT")
    yield ask(f"SELECT count(*) FROM d_{me}")


@conversation()
def rolled_back_ddl(me: str) -> Script:
    """DDL in a transaction that rolls back never was."""
    yield ask("BEGIN")
    yield ask(f"CREATE TABLE r_{me} (id int)")
    yield ask(f"SELECT * FROM r_{me}")
    yield ask("ROLLBACK")
    yield ask(f"SELECT * FROM r_{me}")


@conversation()
def two_phase_commit(me: str) -> Script:
    """PREPARE TRANSACTION detaches the transaction from the session; any session can finish it."""
    yield ask("BEGIN")
    yield ask("INSERT INTO categories VALUES (" + {"a": "81", "b": "82"}[me] + ", 'two-phase')")
    yield ask(f"PREPARE TRANSACTION 'tx {me}'")
    yield ask("SELECT count(*) FROM categories WHERE name = 'two-phase'")
    yield ask(f"COMMIT PREPARED 'tx {me}'")
    yield ask("SELECT count(*) FROM categories WHERE name = 'two-phase'")
    yield ask(f"ROLLBACK PREPARED 'tx {me}'")


@conversation(interleaves=False)
def lock_timeout_error() -> Script:
    """A lock that is not to be had is an error with PostgreSQL's code, not a hang."""
    yield ask("BEGIN")
    yield ask("LOCK TABLE accounts IN ACCESS EXCLUSIVE MODE")
    yield ask("SAVEPOINT s")
    yield ask("SELECT * FROM accounts WHERE id = 1 FOR UPDATE NOWAIT")
    yield ask("COMMIT")
    yield ask("LOCK TABLE accounts")


@conversation()
def transaction_locks_go_with_it() -> Script:
    """Transaction-level advisory locks are gone after the transaction, with no word to the server."""
    yield ask("BEGIN")
    yield ask("SELECT pg_advisory_xact_lock(7001)")
    yield ask("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 7001")
    yield ask("COMMIT")
    yield ask("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 7001")


@conversation()
def read_only_and_deferrable() -> Script:
    """SET TRANSACTION and its characteristics apply to their own transaction only."""
    yield ask("BEGIN; SET TRANSACTION READ ONLY")
    yield ask("SHOW transaction_read_only")
    yield ask("DELETE FROM categories")
    yield ask("ROLLBACK")
    yield ask("SHOW transaction_read_only")
    yield ask("SET TRANSACTION READ ONLY")
    yield ask("SHOW transaction_read_only")


@conversation()
def changes_from_elsewhere_show() -> Script:
    """What another session committed is seen by the next query."""
    yield ask("SELECT name FROM categories WHERE id = 5")
    yield Elsewhere("UPDATE categories SET name = 'changed elsewhere' WHERE id = 5")
    yield ask("SELECT name FROM categories WHERE id = 5")
    yield Elsewhere("UPDATE categories SET name = 'category 5' WHERE id = 5")
    yield ask("SELECT name FROM categories WHERE id = 5")


@conversation()
def snapshot_holds_in_a_transaction() -> Script:
    """A repeatable read transaction keeps its snapshot while others commit."""
    yield ask("BEGIN ISOLATION LEVEL REPEATABLE READ")
    yield ask("SELECT name FROM categories WHERE id = 4")
    yield Elsewhere("UPDATE categories SET name = name || '!' WHERE id = 4")
    yield ask("SELECT name FROM categories WHERE id = 4")
    yield ask("UPDATE categories SET name = 'lost' WHERE id = 4")
    yield ask("ROLLBACK")
    yield ask("SELECT name FROM categories WHERE id = 4")
