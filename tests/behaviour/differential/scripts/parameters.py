"""Run-time parameters (GUCs) that must follow the client."""

from __future__ import annotations

from ...frames import extended, query, sync
from ..dsl import Script, ask, conversation, say


@conversation()
def set_and_show() -> Script:
    """SET is in force for the session and is reported where PostgreSQL reports it."""
    yield ask("SET work_mem = '7MB'")
    yield ask("SHOW work_mem")
    yield ask("SET TIME ZONE 'Europe/Lisbon'")
    yield ask("SHOW TimeZone")
    yield ask("SELECT timestamptz '2024-07-01 12:00+00'")
    yield ask("RESET work_mem; RESET TimeZone")
    yield ask("SHOW work_mem; SHOW TimeZone")


@conversation()
def set_extended() -> Script:
    """SET, SHOW and RESET by the extended protocol."""
    yield say(extended("SET application_name = 'by parse'"), sync())
    yield say(extended("SHOW application_name"), sync())
    yield say(extended("RESET application_name"), sync())
    yield say(extended("SHOW application_name"), sync())


@conversation()
def set_spellings() -> Script:
    """TO, =, DEFAULT, lists, quotes and numbers with units are all understood."""
    yield ask('SET search_path TO pg_catalog, "Odd Name", public')
    yield ask("SHOW search_path")
    yield ask("SET SESSION search_path = DEFAULT")
    yield ask("SHOW search_path")
    yield ask("SET datestyle TO sql, dmy")
    yield ask("SELECT date '2024-02-01'")
    yield ask("SET NAMES 'latin1'")
    yield ask("SHOW client_encoding")
    yield ask("RESET ALL")
    yield ask("SHOW datestyle; SHOW client_encoding")


@conversation()
def set_errors() -> Script:
    """Unknown settings, bad values and read-only settings are refused with the server's words."""
    yield ask("SET no_such_setting = 1")
    yield ask("SET work_mem = 'much'")
    yield ask("SET server_version = '9'")
    yield ask("SET max_connections = 3")
    yield ask("SHOW work_mem")


@conversation()
def set_local() -> Script:
    """SET LOCAL ends with its transaction, and outside one warns and does nothing."""
    yield ask("BEGIN")
    yield ask("SET LOCAL TimeZone = 'Asia/Tokyo'")
    yield ask("SHOW TimeZone")
    yield ask("COMMIT")
    yield ask("SHOW TimeZone")
    yield ask("SET LOCAL TimeZone = 'Asia/Tokyo'")
    yield ask("SHOW TimeZone")


@conversation()
def set_in_a_transaction_that_commits() -> Script:
    """SET in a transaction stays after COMMIT."""
    yield ask("BEGIN; SET application_name = 'kept'")
    yield ask("COMMIT")
    yield ask("SHOW application_name")
    yield ask("RESET application_name")


@conversation()
def set_in_a_transaction_that_rolls_back() -> Script:
    """SET in a transaction that rolls back is undone, and the client is told."""
    yield ask("SET application_name = 'before'")
    yield ask("BEGIN; SET application_name = 'undone'; SET work_mem = '9MB'")
    yield ask("SHOW application_name")
    yield ask("ROLLBACK")
    yield ask("SHOW application_name; SHOW work_mem")


@conversation()
def set_and_savepoints() -> Script:
    """ROLLBACK TO undoes a SET made after the savepoint and no other."""
    yield ask("BEGIN; SET application_name = 'one'; SAVEPOINT s; SET application_name = 'two'")
    yield ask("ROLLBACK TO s")
    yield ask("SHOW application_name")
    yield ask("COMMIT")
    yield ask("SHOW application_name")


@conversation()
def set_local_over_set() -> Script:
    """SET then SET LOCAL in one transaction: the local value goes, the other stays."""
    yield ask("BEGIN; SET work_mem = '5MB'; SET LOCAL work_mem = '6MB'")
    yield ask("SHOW work_mem")
    yield ask("COMMIT")
    yield ask("SHOW work_mem")
    yield ask("RESET work_mem")


@conversation()
def set_in_a_failed_text() -> Script:
    """A SET in a text whose later statement fails is undone."""
    yield ask("SET application_name = 'lost'; SELECT 1/0")
    yield ask("SHOW application_name")


@conversation()
def set_in_a_failed_pipeline() -> Script:
    """A SET in a pipeline whose later step fails before Sync is undone."""
    yield say(extended("SET application_name = 'lost too'"), extended("SELECT 1/0"), sync())
    yield ask("SHOW application_name")


@conversation(pins=True)
def set_config_function() -> Script:
    """set_config() sets for the session or the transaction, by either protocol."""
    yield ask("SELECT set_config('application_name', 'by function', false)")
    yield ask("SHOW application_name")
    yield say(extended("SELECT set_config($1, $2, false)", b"myapp.user", b"7"), sync())
    yield ask("SELECT current_setting('myapp.user')")
    yield ask("BEGIN; SELECT set_config('myapp.user', '8', true)")
    yield ask("SELECT current_setting('myapp.user')")
    yield ask("COMMIT")
    yield ask("SELECT current_setting('myapp.user')")


@conversation(pins=True)
def set_inside_a_function(me: str) -> Script:
    """A SET that a function makes, or an UPDATE of pg_settings, counts as well."""
    yield ask(
        f"CREATE OR REPLACE FUNCTION quiet_{me}() RETURNS void LANGUAGE plpgsql AS "
        "$$ BEGIN PERFORM set_config('application_name', 'from within', false); END $$"
    )
    yield ask(f"SELECT quiet_{me}()")
    yield ask("SHOW application_name")
    yield ask("UPDATE pg_settings SET setting = 'by update' WHERE name = 'application_name'")
    yield ask("SHOW application_name")


@conversation(pins=True)
def set_inside_do() -> Script:
    """A SET inside DO counts as well, also for a setting that is not reported."""
    yield ask("DO $$ BEGIN SET work_mem = '11MB'; SET myapp.inside = 'do'; END $$")
    yield ask("SHOW work_mem; SELECT current_setting('myapp.inside')")


@conversation()
def reset_all() -> Script:
    """RESET ALL returns everything to where the session began."""
    yield ask("SET work_mem = '5MB'; SET search_path = pg_catalog; SET DateStyle = German")
    yield ask("RESET ALL")
    yield ask("SHOW work_mem; SHOW search_path; SHOW DateStyle")


@conversation(parameters={"application_name": "start", "options": "-c work_mem=5MB"})
def reset_returns_to_startup() -> Script:
    """RESET ALL and DISCARD ALL return to the values given at startup."""
    yield ask("SET application_name = 'later'; SET work_mem = '6MB'")
    yield ask("RESET ALL")
    yield ask("SHOW application_name; SHOW work_mem")
    yield ask("SET work_mem = '6MB'")
    yield ask("DISCARD ALL")
    yield ask("SHOW application_name; SHOW work_mem")


@conversation()
def discard_all() -> Script:
    """DISCARD ALL is refused in a transaction and forgets settings outside."""
    yield ask("BEGIN")
    yield ask("DISCARD ALL")
    yield ask("ROLLBACK")
    yield ask("SET work_mem = '5MB'")
    yield ask("DISCARD ALL")
    yield ask("SHOW work_mem")
    yield ask("DISCARD PLANS; DISCARD SEQUENCES; DISCARD TEMP")


@conversation(user="boss")
def set_role() -> Script:
    """SET ROLE and RESET ROLE follow the client."""
    yield ask("SET ROLE app")
    yield ask("SELECT current_user, session_user")
    yield ask("CREATE ROLE not_allowed")
    yield ask("RESET ROLE")
    yield ask("SELECT current_user, session_user")
    yield ask("SET ROLE nobody_at_all")
    yield ask("SET ROLE app; SET ROLE NONE")
    yield ask("SELECT current_user")


@conversation(user="boss")
def set_session_authorization() -> Script:
    """SET SESSION AUTHORIZATION follows the client and is reported."""
    yield ask("SET SESSION AUTHORIZATION app")
    yield ask("SELECT current_user, session_user")
    yield ask("SHOW is_superuser")
    yield ask("RESET SESSION AUTHORIZATION")
    yield ask("SELECT current_user, session_user")


@conversation(user="boss")
def set_local_role() -> Script:
    """SET LOCAL ROLE ends with its transaction."""
    yield ask("BEGIN; SET LOCAL ROLE app")
    yield ask("SELECT current_user")
    yield ask("COMMIT")
    yield ask("SELECT current_user")


@conversation()
def session_characteristics() -> Script:
    """SET SESSION CHARACTERISTICS holds for the transactions that follow."""
    yield ask("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")
    yield ask("DELETE FROM categories WHERE id < 0")
    yield ask("SHOW default_transaction_read_only")
    yield ask("SET default_transaction_isolation = 'repeatable read'")
    yield ask("SHOW transaction_isolation")
    yield ask("RESET ALL")
    yield ask("SHOW transaction_isolation; SHOW transaction_read_only")


@conversation()
def status_in_a_pipeline() -> Script:
    """ParameterStatus stands in its place within a pipeline and before ready."""
    yield say(
        query("SELECT 1"),
        extended("SET application_name = 'p1'"),
        extended("SELECT 2"),
        sync(),
        query("SET application_name = 'p2'; SELECT 3; SET application_name = 'p3'"),
        times=3,
    )
    yield ask("SHOW application_name")


@conversation()
def status_mid_transaction() -> Script:
    """ParameterStatus is reported in the middle of a transaction, too."""
    yield ask("BEGIN")
    yield ask("SET LOCAL DateStyle = 'SQL'")
    yield ask("SELECT date '2024-02-01'")
    yield ask("SELECT 1/0")
    yield ask("ROLLBACK")
    yield ask("SELECT date '2024-02-01'")


@conversation()
def search_path_changes_meaning(me: str) -> Script:
    """The same text means another table under another search_path, in both protocols."""
    yield ask(f"CREATE SCHEMA other_{me}; CREATE TABLE other_{me}.categories AS SELECT 'other {me}'::text AS what")
    yield say(extended("SELECT * FROM categories ORDER BY 1 LIMIT 1"), sync())
    yield ask(f"SET search_path = other_{me}")
    yield say(extended("SELECT * FROM categories ORDER BY 1 LIMIT 1"), sync())
    yield ask("SELECT * FROM categories ORDER BY 1 LIMIT 1")
    yield ask("RESET search_path")
    yield ask("SELECT * FROM categories ORDER BY 1 LIMIT 1")
    yield ask(f"DROP SCHEMA other_{me} CASCADE")


@conversation(pins=True)
def random_seed_in_a_transaction() -> Script:
    """setseed() and random() in one transaction give what they give direct."""
    yield ask("BEGIN; SELECT setseed(0.5)")
    yield ask("SELECT random() = random(), random()")
    yield ask("COMMIT")


@conversation()
def constants_with_quotes() -> Script:
    """Values with quotes, backslashes and line ends come back as they were set."""
    yield ask("SET myapp.odd = 'it''s \\ odd \"quoted\"'")
    yield ask("SELECT current_setting('myapp.odd')")
    yield ask("SET myapp.odd = E'two\\nlines'")
    yield ask("SELECT current_setting('myapp.odd')")
    yield ask("SET myapp.odd = ''")
    yield ask("SELECT current_setting('myapp.odd')")
