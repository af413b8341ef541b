"""Session state that cannot follow a client, so that its server must stay."""

from __future__ import annotations

from ...frames import copy_data, copy_done, extended, query, sync
from ..dsl import Elsewhere, Script, ask, conversation, say


@conversation(pins=True)
def temp_table() -> Script:
    """A temporary table is there for the whole session and is nobody else's."""
    yield ask("CREATE TEMP TABLE mine (id int)")
    yield ask("INSERT INTO mine VALUES (1), (2)")
    yield say(extended("SELECT count(*) FROM mine"), sync())
    yield ask("BEGIN; DELETE FROM mine WHERE id = 1; COMMIT")
    yield ask("SELECT * FROM mine")
    yield ask("DROP TABLE mine")
    yield ask("SELECT * FROM mine")


@conversation(pins=True)
def temp_table_on_commit() -> Script:
    """ON COMMIT DROP and ON COMMIT DELETE ROWS do what they say."""
    yield ask("BEGIN; CREATE TEMP TABLE short ON COMMIT DROP AS SELECT 1 AS n")
    yield ask("SELECT * FROM short")
    yield ask("COMMIT")
    yield ask("SELECT * FROM short")
    yield ask("CREATE TEMP TABLE rows_go (n int) ON COMMIT DELETE ROWS")
    yield ask("BEGIN; INSERT INTO rows_go VALUES (1); SELECT count(*) FROM rows_go")
    yield ask("COMMIT")
    yield ask("SELECT count(*) FROM rows_go")
    yield ask("DISCARD TEMP")
    yield ask("SELECT count(*) FROM rows_go")


@conversation(pins=True)
def temp_table_spellings() -> Script:
    """Temporary tables, views and sequences by every spelling."""
    yield ask("CREATE LOCAL TEMPORARY TABLE t1 (n int)")
    yield ask("SELECT 7 AS n INTO TEMP t2")
    yield ask("CREATE TABLE pg_temp.t3 (n int)")
    yield ask("CREATE TEMP VIEW t4 AS SELECT * FROM t2")
    yield ask("CREATE TEMP SEQUENCE t5")
    yield ask("SELECT nextval('t5'), (SELECT n FROM t4), (SELECT count(*) FROM t1), (SELECT count(*) FROM t3)")
    yield ask("DISCARD ALL")
    yield ask("SELECT * FROM t2")


@conversation(pins=True)
def temp_table_shadows() -> Script:
    """A temporary table with the name of a real one is meant until it is dropped."""
    yield ask("CREATE TEMP TABLE categories AS SELECT 'shadow'::text AS name")
    yield ask("SELECT name FROM categories")
    yield ask("DROP TABLE pg_temp.categories")
    yield ask("SELECT name FROM categories ORDER BY id LIMIT 1")


@conversation(pins=True)
def temp_table_made_by_a_function(me: str) -> Script:
    """A temporary table made inside DO or a function is the session's own as well."""
    yield ask("DO $$ BEGIN CREATE TEMP TABLE hidden AS SELECT 5 AS n; END $$")
    yield ask("SELECT n FROM hidden")
    yield ask(
        f"CREATE FUNCTION make_{me}() RETURNS int LANGUAGE plpgsql AS "
        "$$ BEGIN CREATE TEMP TABLE deeper AS SELECT 6 AS n; RETURN 1; END $$"
    )
    yield ask(f"SELECT make_{me}()")
    yield ask("SELECT n FROM deeper")
    yield ask("DISCARD TEMP")


@conversation(pins=True)
def temp_table_rolled_back() -> Script:
    """A temporary table of a transaction that rolls back never was."""
    yield ask("BEGIN; CREATE TEMP TABLE never (n int)")
    yield ask("ROLLBACK")
    yield ask("SELECT * FROM never")


@conversation(pins=True)
def temp_table_and_copy() -> Script:
    """COPY into a temporary table, then read it in another transaction."""
    yield ask("CREATE TEMP TABLE loaded (n int, t text)")
    yield say(query("COPY loaded FROM STDIN"), copy_data(b"1\tone\n2\ttwo\n"), copy_done())
    yield ask("SELECT * FROM loaded ORDER BY n")
    yield ask("DROP TABLE loaded")


@conversation(pins=True, interleaves=False)
def session_advisory_lock() -> Script:
    """A session-level advisory lock is held over transactions until unlocked."""
    held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711"
    yield ask("SELECT pg_advisory_lock(4711)")
    yield ask(held)
    yield ask("SELECT pg_advisory_unlock(4711)")
    yield ask("SELECT pg_advisory_unlock(4711)")
    yield ask(held)


@conversation(pins=True, interleaves=False)
def session_advisory_lock_variants() -> Script:
    """try, shared and two-key advisory locks, all released at once."""
    yield say(extended("SELECT pg_try_advisory_lock($1::int8)", b"4712"), sync())
    yield ask("SELECT pg_advisory_lock_shared(4713), pg_try_advisory_lock(1, 2)")
    yield ask("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()")
    yield ask("SELECT pg_advisory_unlock_all()")
    yield ask("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()")


@conversation(pins=True)
def advisory_locks_of_two_clients(me: str) -> Script:
    """Clients hold different locks at the same time, and unlocking another's does nothing."""
    mine, other = {"a": ("4801", "4802"), "b": ("4802", "4801")}[me]
    yield ask(f"SELECT pg_try_advisory_lock({mine})")
    yield ask(f"SELECT pg_try_advisory_lock({other})")
    yield ask(f"SELECT pg_advisory_unlock({other})")
    yield ask(f"SELECT pg_advisory_unlock({mine})")


@conversation(pins=True)
def currval_and_lastval(me: str) -> Script:
    """In a transaction currval() and lastval() speak of the session's own nextval()."""
    yield ask(f"CREATE SEQUENCE IF NOT EXISTS counter_{me}")
    yield ask("BEGIN")
    yield ask(f"SELECT nextval('counter_{me}')")
    yield ask(f"SELECT currval('counter_{me}'), lastval()")
    yield ask("INSERT INTO orders (id, user_id) VALUES (DEFAULT, 1)")
    yield ask(f"SELECT currval('counter_{me}'), lastval() = currval('orders_id_seq')")
    yield ask("COMMIT")


@conversation(pins=True)
def insert_then_currval() -> Script:
    """The id of a row just inserted, asked for by currval() as old ORMs do."""
    yield ask("BEGIN")
    yield ask("INSERT INTO orders (user_id) VALUES (1)")
    yield ask("SELECT currval(pg_get_serial_sequence('orders', 'id')) = (SELECT max(id) FROM orders)")
    yield ask("COMMIT")


@conversation(pins=True, user="boss")
def loaded_library() -> Script:
    """LOAD stays with its session."""
    yield ask("LOAD 'plpgsql'")
    yield ask("LOAD 'no_such_library_anywhere'")
    yield ask("SELECT 1")


@conversation(pins=True, masks=(r"^\d+$",))
def backend_pid_is_steady_when_pinned() -> Script:
    """While a temporary table is there, pg_backend_pid() does not change."""
    yield ask("CREATE TEMP TABLE anchor AS SELECT pg_backend_pid() AS pid")
    yield ask("SELECT pid = pg_backend_pid() AS same FROM anchor")
    yield Elsewhere("SELECT 1")
    yield ask("SELECT pid = pg_backend_pid() AS same FROM anchor")
    yield ask("DROP TABLE anchor")


@conversation(pins=True)
def state_of_several_kinds() -> Script:
    """A pin is over only when all of its reasons are gone."""
    yield ask("CREATE TEMP TABLE k1 (n int); PREPARE k2 AS SELECT 2")
    yield ask("DROP TABLE k1")
    yield ask("EXECUTE k2")
    yield ask("DEALLOCATE k2")
    yield ask("SELECT 1")
    yield ask("EXECUTE k2")
