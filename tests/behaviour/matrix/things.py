"""What a statement may leave behind: settings, roles, locks, temporary objects and their like."""

from __future__ import annotations

from dataclasses import dataclass

APP = "app"
BOSS = "boss"
"""A superuser: some things are for these only."""
OTHER = "matrix_other"
"""The role that clients change to."""


@dataclass(frozen=True)
class Thing:
    """Something that plpgsql `code` leaves behind; `sql` does the same as an SQL expression, if there is one."""

    name: str
    code: str
    sql: str = ""
    user: str = APP
    anew: bool = False
    """DISCARD ALL does not take it away: whoever has it has to leave."""
    becomes: str = ""
    """The user that its client is afterwards."""
    text: str = ""
    """The statement that does it, for a client itself."""
    ask: str = ""
    """What shows it, beside the catalogs."""
    limit: str = ""
    """The differences (a regular expression) that docs/limits-of.md tells of."""


def _set(name: str, setting: str, value: str, local: str = "false") -> Thing:
    call = f"pg_catalog.set_config('{setting}', '{value}', {local})"
    return Thing(name, f"PERFORM {call};", call, text=f"SELECT {call}")


def _run(name: str, statement: str, user: str = APP, ask: str = "", becomes: str = "") -> Thing:
    return Thing(name, f"EXECUTE $e${statement}$e$;", user=user, becomes=becomes, text=statement, ask=ask)


def _call(name: str, call: str, user: str = APP, *, anew: bool = False) -> Thing:
    return Thing(name, f"PERFORM {call};", call, user, anew, text=f"SELECT {call}")


_OWN = "'matrix_' || pg_catalog.current_database()"

THINGS = (
    _set("set", "work_mem", "77kB"),
    _set("set_local", "work_mem", "78kB", "true"),
    _set("datestyle", "DateStyle", "German, YMD"),
    _set("search_path", "search_path", "m, public"),
    _set("custom", "app.tenant", "acme"),
    _set("custom_local", "app.tenant", "acme", "true"),
    _set("timeout", "statement_timeout", "19s"),
    _set("encoding", "client_encoding", "LATIN1"),
    _set("strings", "standard_conforming_strings", "off"),
    _set("row_security", "row_security", "off"),
    _set("isolation", "default_transaction_isolation", "serializable"),
    _run("characteristics", "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"),
    _set("parts", "DateStyle", "YMD"),
    _run("reset", "RESET ALL"),
    _set("role", "role", OTHER),
    _run("set_role", f"SET ROLE {OTHER}"),
    _run("authorization", "SET SESSION AUTHORIZATION app", BOSS, becomes=APP),
    _run("replica_role", "SET session_replication_role = replica", BOSS),
    _run("temp_table", "CREATE TEMP TABLE mine AS SELECT 1 AS n", ask="TABLE mine"),
    _run("temp_hides", "CREATE TEMP TABLE written AS SELECT 1 AS n", ask="SELECT 1 FROM written WHERE n = 2"),
    _run("temp_view", "CREATE TEMP VIEW mine AS SELECT 2 AS n", ask="SELECT * FROM mine"),
    _run("temp_sequence", "CREATE TEMP SEQUENCE mine"),
    _run("temp_type", "CREATE TYPE pg_temp.mine AS ENUM ('a')"),
    _run("temp_domain", "CREATE DOMAIN pg_temp.mine AS int"),
    _run("temp_function", "CREATE FUNCTION pg_temp.mine() RETURNS int LANGUAGE sql AS 'SELECT 3'"),
    _run("temp_operator", "CREATE OPERATOR pg_temp.@@@ (FUNCTION = m.same, LEFTARG = int, RIGHTARG = int)"),
    _run("temp_collation", "CREATE COLLATION pg_temp.mine (locale = 'C')"),
    _run("temp_dictionary", "CREATE TEXT SEARCH DICTIONARY pg_temp.mine (template = simple)"),
    _run("temp_drop", "CREATE TEMP TABLE gone (n int) ON COMMIT DROP"),
    _call("lock", "pg_catalog.pg_advisory_lock(5)"),
    _call("lock_two", "pg_catalog.pg_advisory_lock(5, 6)"),
    _call("lock_shared", "pg_catalog.pg_advisory_lock_shared(7)"),
    _call("lock_try", "pg_catalog.pg_try_advisory_lock(8)"),
    _call("lock_xact", "pg_catalog.pg_advisory_xact_lock(9)"),
    _run("listen", "LISTEN news"),
    _run("prepare", "PREPARE mine AS SELECT 4", ask="EXECUTE mine"),
    _run("hold", "DECLARE mine CURSOR WITH HOLD FOR SELECT 5", ask="FETCH ALL FROM mine"),
    _call("origin", f"pg_catalog.pg_replication_origin_session_setup({_OWN})", BOSS, anew=True),
    _call("slot", f"pg_catalog.pg_create_physical_replication_slot({_OWN}, true, true)", BOSS, anew=True),
    Thing(
        "sequence",
        "PERFORM nextval('m.counter');",
        "nextval('m.counter')",
        text="SELECT nextval('m.counter')",
        ask="SELECT lastval() > 0",
        limit=r"(the other sees|own view \d:) SELECT lastval",
    ),
    _run("rows", "INSERT INTO m.written VALUES (1)"),
    _run("nothing", "SELECT 1"),
)
BY_NAME = {thing.name: thing for thing in THINGS}
