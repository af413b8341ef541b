"""What one client's statements leave on the only server, whatever became of them, is not there for the next client."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from tests.behaviour import frames
from tests.behaviour.beams import Beam
from tests.behaviour.clusters import Cluster
from tests.behaviour.wireclient import WireClient

pytestmark = [pytest.mark.pg, pytest.mark.usefixtures("fresh_shop")]
ONE_SERVER = {"plugins": {"pool": {"max_active": 1}}}
ROLE = "left_behind"
_OWN = f"""
SET client_min_messages = error;
DROP ROLE IF EXISTS {ROLE};
CREATE ROLE {ROLE};
GRANT {ROLE} TO app;
CREATE FUNCTION quiet() RETURNS text SECURITY DEFINER LANGUAGE sql AS
$$SELECT set_config('log_min_duration_statement', '4321', false)$$;
SET ROLE app;
CREATE TABLE kept (id int PRIMARY KEY, n int);
INSERT INTO kept VALUES (1, 1);
GRANT SELECT ON kept TO {ROLE};
CREATE FUNCTION become(text) RETURNS text LANGUAGE plpgsql AS $$BEGIN EXECUTE 'SET ROLE ' || $1; RETURN $1; END$$;
CREATE FUNCTION zone() RETURNS text LANGUAGE sql AS $$SELECT set_config('TimeZone', 'Asia/Tokyo', false)$$;
CREATE FUNCTION locks() RETURNS text LANGUAGE sql AS $$SELECT pg_advisory_lock(77)::text$$;
CREATE FUNCTION on_write() RETURNS trigger LANGUAGE plpgsql AS
$$BEGIN PERFORM locks(), zone(); CREATE TYPE pg_temp.mood AS ENUM ('a'); LISTEN news; RETURN NEW; END$$;
CREATE TRIGGER on_write BEFORE UPDATE ON kept FOR EACH ROW EXECUTE FUNCTION on_write();
"""
STATE = (
    "SELECT concat_ws(' ', current_user, current_setting('TimeZone'), current_setting('DateStyle'),"
    " (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()),"
    " (SELECT count(*) FROM pg_listening_channels()),"
    " (SELECT count(*) FROM pg_type WHERE typnamespace = pg_my_temp_schema()))"
)
CLEAN = b"app UTC ISO, MDY 0 0 0"


def value(client: WireClient, sql: str) -> bytes:
    """The only value of a query."""
    (row,) = [frame.body for frame in client.ask(frames.query(sql)) if frame.tag == b"D"]
    return row[6:]


def say(client: WireClient, *texts: str) -> None:
    """Queries whose replies do not matter."""
    for text in texts:
        client.ask(frames.query(text))


@pytest.fixture
def running(cluster: Cluster, beam: Callable[..., Beam], fresh_shop: None) -> Beam:
    """PgBeam with one server."""
    with cluster.connect() as boss:
        boss.execute(_OWN.encode())
    return beam(cluster, "transaction", settings=ONE_SERVER)


@pytest.fixture
def two(running: Beam) -> Iterator[tuple[WireClient, WireClient]]:
    """Two clients that share it."""
    with running.wire() as one, running.wire() as other:
        yield one, other


FOLLOWS = {
    "a role that a function has set": (("SELECT become('left_behind')",), b"left_behind UTC ISO, MDY 0 0 0"),
    "a role of a DO": (("DO 'BEGIN SET ROLE left_behind; END'",), b"left_behind UTC ISO, MDY 0 0 0"),
    "a DO that commits and fails": (
        ("DO 'BEGIN SET ROLE left_behind; SET TimeZone = 1; COMMIT; PERFORM 1/0; END'",),
        b"left_behind <+01>-01 ISO, MDY 0 0 0",
    ),
    "dates in parts": (("SET datestyle = German", "SET DATESTYLE = YMD"), b"app UTC German, YMD 0 0 0"),
    "a name in another case, reset after a function": (
        ('SET "DateStyle" = German', "SELECT zone()", "RESET datestyle"),
        b"app Asia/Tokyo ISO, MDY 0 0 0",
    ),
    "a function that was rolled back": (("BEGIN", "SELECT zone()", "ROLLBACK"), CLEAN),
    "a role of a transaction that failed before it was prepared": (
        ("BEGIN", "SET ROLE left_behind", "SELECT 1/0", "PREPARE TRANSACTION 'left'"),
        CLEAN,
    ),
    "a lock that was not got": (("SELECT pg_try_advisory_lock(1), 1/0",), CLEAN),
    "a function under a timeout of a millisecond": (
        ("SET statement_timeout = '1ms'", "SELECT zone()", "SET statement_timeout = 0", "SELECT zone()"),
        b"app Asia/Tokyo ISO, MDY 0 0 0",
    ),
}


@pytest.mark.parametrize(("texts", "state"), FOLLOWS.values(), ids=list(FOLLOWS))
def test_settings_follow_and_are_nobody_elses(
    two: tuple[WireClient, WireClient], texts: tuple[str, ...], state: bytes
) -> None:
    """The next client on the server is as it was at its login, and the first one is as it left itself."""
    one, other = two
    say(one, *texts)
    assert value(other, STATE) == CLEAN
    assert value(one, STATE) == state
    assert value(other, STATE) == CLEAN


PINS = {
    "a lock of a statement that failed": ("SELECT locks(), 1/(SELECT 0)",),
    "a lock of a transaction that was rolled back": ("BEGIN", "SELECT pg_advisory_lock(5)", "ROLLBACK"),
    "what a trigger makes": ("UPDATE kept SET n = 2",),
    "a type": ("CREATE TYPE pg_temp.mood AS ENUM ('a')",),
    "a function": ("CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",),
    "a domain of a block": ("DO 'BEGIN CREATE DOMAIN pg_temp.small AS int CHECK (VALUE < 9); END'",),
}


@pytest.mark.parametrize("texts", PINS.values(), ids=list(PINS))
def test_what_cannot_follow_pins_and_goes_with_its_client(running: Beam, texts: tuple[str, ...]) -> None:
    """Nobody else gets the server while it is there, and nothing of it is there afterwards."""
    with running.wire() as one, running.wire() as other:
        say(one, *texts)
        other.send(frames.query(STATE))
        with pytest.raises(TimeoutError):
            other.frame(0.3)
        one.close()
        rows = [frame.body for frame in other.until(b"Z") if frame.tag == b"D"]
        assert [row[6:] for row in rows] == [CLEAN]


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_slots_and_origins_go_with_their_client(cluster: Cluster, beam: Callable[..., Beam], mode: str) -> None:
    """DISCARD ALL takes away neither: such a server is closed."""
    running = beam(cluster, mode, settings=ONE_SERVER)
    with running.wire("boss") as one:
        say(one, "SELECT pg_create_physical_replication_slot('left_behind', false, true)")
        say(one, "SELECT pg_replication_origin_create('left_behind')")
        say(one, "SELECT pg_replication_origin_session_setup('left_behind')")
    with running.wire("boss") as other:
        assert value(other, "SELECT pg_replication_origin_session_is_setup()") == b"f"
        assert value(other, "SELECT count(*) FROM pg_replication_slots") == b"0"
        say(other, "SELECT pg_replication_origin_drop('left_behind')")


def test_a_role_that_is_gone_is_an_error_of_its_client_alone(running: Beam) -> None:
    """It may reset it; the server is kept, and serves the others."""
    with running.wire() as one, running.wire() as other:
        say(one, f"SET ROLE {ROLE}")
        pid = value(other, "SELECT pg_backend_pid()")
        with running.cluster.connect() as boss:
            boss.execute(f"DROP OWNED BY {ROLE}; DROP ROLE {ROLE}".encode())
        for _ in range(2):
            (error,) = [frame.body for frame in one.ask(frames.query("SELECT 1")) if frame.tag == b"E"]
            assert b"SERROR\0" in error
            assert b"C22023\0" in error
            assert value(other, "SELECT pg_backend_pid()") == pid
        say(one, "RESET ROLE")
        assert value(one, "SELECT current_user") == b"app"
        assert value(one, "SELECT pg_backend_pid()") == pid
    assert "quarantined" not in running.log


def test_clients_with_timeouts_of_a_millisecond_leave_clean_servers(running: Beam) -> None:
    """What PgBeam asks and does of its own is not cut short by what a client has set."""
    for _ in range(5):
        with running.wire() as one:
            say(one, "LISTEN news", "SET lock_timeout = '1ms'", "SET statement_timeout = '1ms'")
    with running.wire() as other:
        assert value(other, STATE) == CLEAN
    assert "quarantined" not in running.log


def test_timeouts_in_the_options_of_a_login_cost_no_server(running: Beam) -> None:
    """Only those are lifted that there are: PostgreSQL 15 knows no transaction_timeout."""
    options = {"options": "-c statement_timeout=500"}
    with running.wire(parameters=options) as one:
        say(one, "SET work_mem = '1MB'")
        with running.wire(parameters=options) as other:
            say(other, "SELECT 1")
            assert value(one, "SELECT current_setting('work_mem')") == b"1MB"
            assert value(other, "SHOW statement_timeout") == b"500ms"
    assert "quarantined" not in running.log


def test_a_trigger_past_pgbeam_is_noticed_in_time(cluster: Cluster, beam: Callable[..., Beam]) -> None:
    """Somebody else defines it on the server itself: once that may be known, what it leaves is nobody else's."""
    with cluster.connect() as boss:
        boss.execute(_OWN.encode() + b"; DROP TRIGGER on_write ON kept")
        settings = {"plugins": {**ONE_SERVER["plugins"], "cache": {"rights_check_s": 1}}}
        running = beam(cluster, "transaction", plugins="cache,pool", settings=settings)
        write = "UPDATE kept SET n = n + 1"
        with running.wire() as one:
            say(one, write)
            boss.execute(
                "SET ROLE app; CREATE TRIGGER on_write BEFORE UPDATE ON kept FOR EACH ROW EXECUTE FUNCTION on_write()"
            )
            deadline = time.monotonic() + 3
            while time.monotonic() < deadline:  # the catalog is looked at while it is used
                say(one, "/* @pgbeam:cache */ SELECT n FROM kept")
                time.sleep(0.1)
            say(one, write)
        with running.wire() as other:
            assert value(other, STATE) == CLEAN


def test_statements_of_others_outlive_what_code_of_users_drops(running: Beam) -> None:
    """DEALLOCATE ALL in a DO or a trigger is about its client's statements; others have theirs, on the one server."""
    with running.wire() as one, running.wire() as other:
        other.ask(frames.parse("SELECT 6", "six") + frames.sync())
        for _ in range(2):
            say(one, "DO $$BEGIN EXECUTE 'DEALLOCATE ALL'; END$$")
            got = other.ask(frames.bind(statement="six") + frames.execute() + frames.sync())
            assert [frame.tag for frame in got] == [b"2", b"D", b"C", b"Z"]


def test_a_seed_is_no_obstacle_for_others(running: Beam) -> None:
    """PostgreSQL knows no RESET of it: whoever gets the server next is not told to have it reset."""
    with running.wire() as one, running.wire() as other:
        say(one, "SET seed = 0.5")
        assert value(other, "SELECT 1") == b"1"


def test_what_only_a_superuser_may_set_stays_with_who_had_it_set(running: Beam) -> None:
    """Code of a superuser may set it for others: they keep the server, for they could not set it on another."""
    with running.wire() as one:
        say(one, "SELECT quiet()")
        assert value(one, "SHOW log_min_duration_statement") == b"4321ms"
        assert value(one, "SHOW log_min_duration_statement") == b"4321ms"
    with running.wire() as other:
        assert value(other, "SHOW log_min_duration_statement") == b"-1"
