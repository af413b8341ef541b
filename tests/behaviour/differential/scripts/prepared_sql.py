"""SQL-level PREPARE, EXECUTE and DEALLOCATE."""

from __future__ import annotations

from ...frames import bind, close, describe, execute, extended, parse, sync
from ..dsl import Script, ask, conversation, say


@conversation(pins=True)
def sql_prepare() -> Script:
    """PREPARE, EXECUTE and DEALLOCATE in later transactions."""
    yield ask("PREPARE p (int) AS SELECT name FROM products WHERE id = $1")
    yield ask("EXECUTE p (1)")
    yield ask("BEGIN")
    yield ask("EXECUTE p (2)")
    yield ask("ROLLBACK")
    yield ask("EXECUTE p (3)")
    yield ask("PREPARE p AS SELECT 1")
    yield ask("DEALLOCATE p")
    yield ask("EXECUTE p (4)")
    yield ask("DEALLOCATE p")


@conversation(pins=True)
def sql_prepare_in_a_transaction_that_rolls_back() -> Script:
    """PREPARE is not undone by ROLLBACK."""
    yield ask("BEGIN; PREPARE kept AS SELECT 'kept'")
    yield ask("ROLLBACK")
    yield ask("EXECUTE kept")
    yield ask("DEALLOCATE ALL")
    yield ask("EXECUTE kept")


@conversation(pins=True)
def sql_execute_by_extended_protocol() -> Script:
    """EXECUTE by the extended protocol, with an error in its arguments."""
    yield ask("PREPARE e (int) AS SELECT 10 / $1")
    yield say(extended("EXECUTE e (2)"), sync())
    yield say(extended("EXECUTE e (0)"), sync())
    yield ask("EXECUTE e ('x')")
    yield ask("EXECUTE e")
    yield ask("DEALLOCATE PREPARE e")


@conversation(pins=True)
def sql_prepare_used_by_protocol() -> Script:
    """A statement made by PREPARE can be bound by the protocol."""
    yield ask("PREPARE mixed (int) AS SELECT $1 + 1")
    yield say(describe("mixed", b"S"), bind(b"41", statement="mixed"), execute(), sync())
    yield say(close("mixed"), sync())
    yield ask("EXECUTE mixed (1)")


@conversation(pins=True)
def protocol_statement_used_by_sql() -> Script:
    """A statement made by Parse can be executed and deallocated by SQL, as PDO and Doctrine do."""
    yield say(parse("SELECT $1::int * 2", "pdo_1"), sync())
    yield ask("EXECUTE pdo_1 (21)")
    yield ask("DEALLOCATE pdo_1")
    yield say(bind(b"1", statement="pdo_1"), execute(), sync())


@conversation()
def deallocate_of_protocol_statement() -> Script:
    """DEALLOCATE name of a statement made by Parse works and frees the name."""
    yield say(parse("SELECT 1", "pdo_stmt_1"), bind(statement="pdo_stmt_1"), execute(), sync())
    yield ask("DEALLOCATE pdo_stmt_1")
    yield ask("DEALLOCATE pdo_stmt_1")
    yield say(parse("SELECT 2", "pdo_stmt_1"), bind(statement="pdo_stmt_1"), execute(), sync())
    yield say(extended('DEALLOCATE "pdo_stmt_1"'), sync())
    yield say(bind(statement="pdo_stmt_1"), execute(), sync())


@conversation()
def deallocate_all_forgets_protocol_statements() -> Script:
    """DEALLOCATE ALL forgets what Parse made, for both protocols."""
    yield say(parse("SELECT 1", "one"), parse("SELECT 2", "two"), sync())
    yield ask("DEALLOCATE ALL")
    yield say(bind(statement="one"), execute(), sync())
    yield say(parse("SELECT 3", "one"), bind(statement="one"), execute(), sync())
    yield ask("DEALLOCATE PREPARE ALL")
    yield say(bind(statement="one"), execute(), sync())


@conversation()
def deallocate_in_a_failed_transaction() -> Script:
    """DEALLOCATE in a failed transaction is refused and drops nothing."""
    yield say(parse("SELECT 'still'", "still"), sync())
    yield ask("BEGIN; SELECT 1/0")
    yield ask("DEALLOCATE still")
    yield ask("ROLLBACK")
    yield say(bind(statement="still"), execute(), sync())
    yield ask("BEGIN; DEALLOCATE still; ROLLBACK")
    yield say(bind(statement="still"), execute(), sync())


@conversation(pins=True)
def prepared_statements_view() -> Script:
    """pg_prepared_statements shows the statements that the client made by SQL."""
    yield ask("PREPARE seen AS SELECT 1")
    yield say(parse("SELECT 2", "seen too"), sync())
    yield ask("SELECT name, statement FROM pg_prepared_statements WHERE from_sql ORDER BY name")
    yield ask("DEALLOCATE ALL")
    yield ask("SELECT name FROM pg_prepared_statements ORDER BY name")


@conversation(pins=True)
def prepare_within_explain_and_ctas(me: str) -> Script:
    """EXPLAIN EXECUTE and CREATE TABLE AS EXECUTE find the statement."""
    yield ask("PREPARE x AS SELECT 1 AS one")
    yield ask("EXPLAIN (COSTS off) EXECUTE x")
    yield ask(f"CREATE TABLE made_{me} AS EXECUTE x")
    yield ask(f"SELECT * FROM made_{me}")
    yield ask(f"DROP TABLE made_{me}")
    yield ask("DISCARD ALL")
    yield ask("EXECUTE x")
