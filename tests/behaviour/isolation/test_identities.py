"""A name is not a person: a role or database of an old name shares nothing with the one that had it before."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

import psycopg
import pytest

from tests.behaviour.beams import Beam
from tests.behaviour.clusters import Cluster

pytestmark = pytest.mark.pg
CACHED = "/* @pgbeam:cache maxAge=300 */ SELECT owner FROM private.letters ORDER BY 1"
LOGINS = ("passthrough", "trust")
TRUST = {"auth": "trust"}


@pytest.fixture
def roles(cluster: Cluster) -> Iterator[Cluster]:
    """Two roles, who see their own letters, and a database for one of them."""
    with cluster.connect() as boss:
        boss.execute("CREATE ROLE anna LOGIN")
        boss.execute("CREATE SCHEMA private")
        boss.execute("CREATE TABLE private.letters (owner text)")
        boss.execute("INSERT INTO private.letters VALUES ('anna'), ('other')")
        boss.execute("ALTER TABLE private.letters ENABLE ROW LEVEL SECURITY")
        boss.execute("CREATE POLICY own ON private.letters TO anna USING (owner = 'anna')")
        boss.execute("GRANT USAGE ON SCHEMA private TO public")
        boss.execute("GRANT SELECT ON private.letters TO anna")
        try:
            yield cluster
        finally:
            boss.execute("DROP SCHEMA private CASCADE")
            for role in ("anna", "beate"):
                boss.execute(f"DROP ROLE IF EXISTS {role}")


@pytest.fixture(params=LOGINS)
def running(request: pytest.FixtureRequest, roles: Cluster, beam: Callable[..., Beam]) -> Beam:
    """A PgBeam that caches, by each way to log in."""
    return beam(roles, "transaction", plugins="cache,pool,debug", project={"auth": request.param})


def connect(place: Beam, user: str, database: str = "shop") -> psycopg.Connection[tuple[object, ...]]:
    """A client."""
    return psycopg.connect(place.url(user, database), autocommit=True, connect_timeout=10)


@pytest.mark.parametrize("through_pgbeam", [True, False])
def test_a_new_role_of_an_old_name_gets_nothing_of_the_old(
    roles: Cluster, beam: Callable[..., Beam], *, through_pgbeam: bool
) -> None:
    """Neither its servers, nor its rows, nor its remembered replies, while the old one goes on as it was."""
    # Where nobody has to log in to the server, a change that PgBeam does not see is noticed within a minute.
    running = beam(roles, "transaction", plugins="cache,pool,debug", project=TRUST if through_pgbeam else {})
    old = connect(running, "anna")
    assert old.execute(CACHED).fetchall() == [("anna",)]
    with connect(running, "boss") if through_pgbeam else running.cluster.connect() as boss:
        boss.execute("ALTER ROLE anna RENAME TO beate")
        boss.execute("CREATE ROLE anna LOGIN")
    with connect(running, "anna") as new:
        assert _oid(new) == _direct_oid(running.cluster, "anna")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            new.execute(CACHED)
    # Where its server is at work just then, no other one can be opened in the old name.
    with contextlib.suppress(psycopg.errors.InvalidAuthorizationSpecification):
        assert _oid(old) == _direct_oid(running.cluster, "beate")
        assert old.execute(CACHED).fetchall() == [("anna",)]
    old.close()


def test_a_dropped_role_made_again_is_another(running: Beam) -> None:
    """The client of the old role is told to connect again when a server would have to be opened for it."""
    old = connect(running, "anna")
    assert old.execute(CACHED).fetchall() == [("anna",)]
    with connect(running, "boss") as boss:
        boss.execute("DROP OWNED BY anna")
        boss.execute("DROP ROLE anna")
        boss.execute("CREATE ROLE anna LOGIN")
    with connect(running, "anna") as new:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            new.execute(CACHED)
        new.execute("SELECT 1")
    _close_servers(running)
    with pytest.raises(psycopg.Error) as failure:
        old.execute("SELECT 1")
    # The second, where its server was about to be asked what the client had left on it.
    reasons = ('role "anna" is not the one any more that this client logged in as', "invalid role OID")
    assert any(reason in str(failure.value) for reason in reasons), failure.value
    old.close()


def test_a_database_made_again_shares_no_reply(running: Beam) -> None:
    """What was remembered of the dropped database is not for clients of its successor."""
    read = "/* @pgbeam:cache maxAge=300 */ SELECT v FROM t"
    with running.cluster.connect(database="postgres") as boss:
        try:
            for value in ("old", "new"):
                boss.execute("CREATE DATABASE annex TEMPLATE template0")
                with running.cluster.connect(database="annex") as there:
                    there.execute(f"CREATE TABLE t AS SELECT '{value}' AS v")
                    there.execute("GRANT SELECT ON t TO public")
                with connect(running, "app", "annex") as client:
                    assert client.execute(read).fetchall() == [(value,)]
                boss.execute("DROP DATABASE annex WITH (FORCE)")
        finally:
            boss.execute("DROP DATABASE IF EXISTS annex WITH (FORCE)")


def test_a_role_that_was_set_is_the_one_that_has_the_name_now(roles: Cluster, beam: Callable[..., Beam]) -> None:
    """SET ROLE follows a client from server to server: to nobody who had the name before."""
    running = beam(roles, "transaction", plugins="cache,pool,debug")
    with connect(running, "boss") as first, connect(running, "boss") as second:
        first.execute("SET ROLE anna")
        assert first.execute("SELECT current_user").fetchone() == ("anna",)
        second.execute("ALTER ROLE anna RENAME TO beate")
        second.execute("CREATE ROLE anna LOGIN")
        second.execute("SET ROLE anna")
        for client in (first, second):
            assert client.execute("SELECT current_user").fetchone() == ("anna",)
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                client.execute(CACHED)


def _oid(client: psycopg.Connection[tuple[object, ...]]) -> object:
    row = client.execute("SELECT oid FROM pg_roles WHERE rolname = session_user").fetchone()
    assert row is not None
    return row[0]


def _direct_oid(cluster: Cluster, role: str) -> object:
    with cluster.connect() as boss:
        row = boss.execute("SELECT oid FROM pg_roles WHERE rolname = %s", [role]).fetchone()
    assert row is not None
    return row[0]


def _close_servers(running: Beam) -> None:
    """Have PostgreSQL close every server of PgBeam, and wait until PgBeam has noticed."""
    with running.cluster.connect() as boss:
        for pid, _ in running.servers():
            boss.execute("SELECT pg_terminate_backend(%s)", [pid])
    deadline = time.monotonic() + 5
    while running.servers() and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.05)
