"""Settings that no text names, made by functions, triggers and prepared statements: they stay with their session."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.behaviour import frames
from tests.behaviour.beams import Beam
from tests.behaviour.clusters import Cluster
from tests.behaviour.wireclient import WireClient

pytestmark = [pytest.mark.pg, pytest.mark.usefixtures("fresh_shop")]
ONE_SERVER = {"plugins": {"pool": {"max_active": 1}}}
_OWN = """
SET ROLE app;
CREATE FUNCTION zone() RETURNS text LANGUAGE sql AS $$SELECT set_config('TimeZone', 'Asia/Tokyo', false)$$;
CREATE FUNCTION length(int) RETURNS text LANGUAGE sql AS $$SELECT zone()$$;
CREATE FUNCTION tenant(text) RETURNS text LANGUAGE sql AS $$SELECT set_config('app.tenant', $1, false)$$;
CREATE FUNCTION put(text, text) RETURNS text LANGUAGE sql AS $$SELECT set_config($1, $2, false)$$;
CREATE VIEW moves AS SELECT zone();
CREATE FUNCTION on_write() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM zone(); RETURN NEW; END$$;
CREATE TRIGGER on_write BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION on_write();
"""
_IN_CODE = """
CREATE FUNCTION enter() RETURNS text LANGUAGE sql BEGIN ATOMIC SELECT set_config('app.room', 'a', false); END;
CREATE PROCEDURE enter_by_call() LANGUAGE sql BEGIN ATOMIC SELECT set_config('app.room', 'a', false); END;
CREATE FUNCTION enter_quoted() RETURNS void LANGUAGE plpgsql AS $$BEGIN SET "app"."room" = 'a'; END$$;
CREATE DOMAIN entry AS text DEFAULT set_config('app.room', 'a', false);
CREATE DOMAIN pass AS text CHECK (set_config('app.room', VALUE, false) IS NOT NULL);
CREATE TABLE defaulted (id int, tenant text DEFAULT set_config('app.room', 'a', false));
CREATE TABLE by_type (id int, tenant entry);
CREATE TABLE checked (id int CHECK (set_config('app.room', 'a', false) IS NOT NULL));
CREATE TABLE doors (id int);
INSERT INTO doors VALUES (1);
CREATE POLICY seen ON doors USING (set_config('app.room', 'a', false) IS NOT NULL);
CREATE POLICY put_in ON doors FOR INSERT WITH CHECK (set_config('app.room', 'a', false) IS NOT NULL);
ALTER TABLE doors ENABLE ROW LEVEL SECURITY;
ALTER TABLE doors FORCE ROW LEVEL SECURITY;
CREATE VIEW entries AS SELECT set_config('app.room', 'a', false);
CREATE TABLE ruled (id int);
CREATE RULE also AS ON INSERT TO ruled DO ALSO SELECT set_config('app.room', 'a', false);
CREATE TABLE watched (id int);
CREATE FUNCTION pass_on() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NEW; END$$;
CREATE TRIGGER watch BEFORE INSERT ON watched FOR EACH ROW
 WHEN (set_config('app.room', 'a', false) IS NOT NULL) EXECUTE FUNCTION pass_on();
"""


@pytest.fixture
def two(cluster: Cluster, beam: Callable[..., Beam], fresh_shop: None) -> Iterator[tuple[WireClient, WireClient]]:
    """Two clients that share the only server."""
    with cluster.connect() as boss:
        boss.execute(_OWN + _IN_CODE)
    running = beam(cluster, "transaction", settings=ONE_SERVER)
    with running.wire() as one, running.wire() as other:
        yield one, other


def value(client: WireClient, sql: str) -> bytes:
    """The only value of a query, NULL as nothing."""
    (row,) = [frame.body for frame in client.ask(frames.query(sql)) if frame.tag == b"D"]
    return row[6:]


@pytest.mark.parametrize(
    "sql",
    [
        pytest.param(("SELECT zone()",), id="function"),
        pytest.param(("DO $$ BEGIN PERFORM zone(); END $$",), id="do"),
        pytest.param(("PREPARE p AS SELECT zone()", "EXECUTE p", "DEALLOCATE p"), id="prepared statement"),
        pytest.param(("SELECT * FROM moves",), id="view"),
        pytest.param(("UPDATE users SET name = name WHERE id = 1",), id="trigger"),
        pytest.param(("SELECT length(1)",), id="namesake of a function of PostgreSQL"),
    ],
)
def test_a_setting_made_behind_the_text_stays_with_its_session(
    two: tuple[WireClient, WireClient], sql: tuple[str, ...]
) -> None:
    """Whoever has the server next has the settings that they made themselves."""
    one, other = two
    for each in sql:
        one.ask(frames.query(each))
    assert value(other, "SELECT current_setting('TimeZone')") == b"UTC"
    assert value(one, "SELECT current_setting('TimeZone')") == b"Asia/Tokyo"


def assert_follows(two: tuple[WireClient, WireClient], parameter: str) -> None:
    """The second client does not have what the first one has set it to, and the first one has it thereafter."""
    one, other = two
    assert value(other, f"SELECT coalesce(current_setting('{parameter}', true), '')") == b""
    assert value(one, f"SELECT current_setting('{parameter}')") == b"a"


def test_a_tenant_set_by_a_function_is_no_other_clients(two: tuple[WireClient, WireClient]) -> None:
    """Row level security that looks at current_setting() shows nobody another tenant's rows."""
    one, other = two
    one.ask(frames.query("SELECT tenant('a')"))
    assert value(other, "SELECT coalesce(current_setting('app.tenant', true), '')") == b""


def test_a_tenant_that_a_function_names_follows_its_client(two: tuple[WireClient, WireClient]) -> None:
    """A login function that sets the tenant of a session has done so for good, whoever has the server in between."""
    one = two[0]
    value(one, "SELECT count(*) FROM users")
    one.ask(frames.query("SELECT tenant('a')"))
    assert_follows(two, "app.tenant")


@pytest.mark.parametrize(
    "sql",
    [
        pytest.param("SELECT enter()", id="body that is parsed when it is made"),
        pytest.param("CALL enter_by_call()", id="procedure with such a body"),
        pytest.param("SELECT enter_quoted()", id="body with a quoted name"),
        pytest.param("DO $$ BEGIN SET SESSION \"app\".room = 'a'; END $$", id="text with a quoted name"),
        pytest.param("INSERT INTO defaulted (id) VALUES (1)", id="default"),
        pytest.param("INSERT INTO by_type (id) VALUES (1)", id="default of a domain"),
        pytest.param("INSERT INTO checked VALUES (1)", id="check"),
        pytest.param("SELECT 'a'::pass", id="check of a domain"),
        pytest.param("SELECT * FROM doors", id="policy"),
        pytest.param("INSERT INTO doors VALUES (2)", id="policy of new rows"),
        pytest.param("SELECT * FROM entries", id="view"),
        pytest.param("INSERT INTO ruled VALUES (1)", id="rule"),
        pytest.param("INSERT INTO watched VALUES (1)", id="condition of a trigger"),
    ],
)
def test_a_parameter_that_code_in_the_catalog_names_follows_its_client(
    two: tuple[WireClient, WireClient], sql: str
) -> None:
    """Wherever in a database the call stands that sets it, it is there after another client was served."""
    one = two[0]
    one.ask(frames.query(sql))
    assert_follows(two, "app.room")


def test_a_parameter_that_a_new_default_names_follows_its_client(two: tuple[WireClient, WireClient]) -> None:
    """What was defined a moment ago counts as well, before PgBeam has read the catalog anew."""
    one = two[0]
    one.ask(frames.query("CREATE TABLE entered (id int, hall text DEFAULT set_config('app.hall', 'a', false))"))
    one.ask(frames.query("INSERT INTO entered (id) VALUES (1)"))
    assert_follows(two, "app.hall")


@pytest.mark.parametrize("sql", ["SELECT put('app.tenant', 'a')", "DO $$ BEGIN PERFORM put('app.tenant', 'a'); END $$"])
def test_a_tenant_that_the_text_names_follows_its_client(two: tuple[WireClient, WireClient], sql: str) -> None:
    """What a function sets under a name that the client has given it is there after another client was served."""
    one = two[0]
    one.ask(frames.query(sql))
    assert_follows(two, "app.tenant")


def test_a_session_leaves_nothing_behind(cluster: Cluster, beam: Callable[..., Beam], fresh_shop: None) -> None:
    """In session mode too, what functions and triggers have set goes with the client."""
    with cluster.connect() as boss:
        boss.execute(_OWN)
    running = beam(cluster, "session", settings=ONE_SERVER)
    with running.wire() as one:
        one.ask(frames.query("UPDATE users SET name = name WHERE id = 1"))
        one.ask(frames.query("SELECT tenant('a')"))
    with running.wire() as other:
        assert value(other, "SELECT coalesce(current_setting('app.tenant', true), '')") == b""
        assert value(other, "SELECT current_setting('TimeZone')") == b"UTC"
