"""Questions of PgBeam's own, put to a server by every way of logging in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pytest_twisted import ensureDeferred
from twisted.internet import reactor

from pgbeam_core import Identity, PasswordNeeded, PgBeamError, Role, ServerRefused, ServerUnavailable, Target
from pgbeam_core.testing import Rehearsal
from tests.behaviour.clusters import PASSWORD, Cluster, free_port, installation, start_cluster

pytestmark = pytest.mark.pg

WITH_PASSWORD = ("with_password", "with_md5", "with_scram")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A server with a role for each way of logging in."""
    found = installation(18) or installation(15)
    if found is None:
        pytest.skip("no PostgreSQL is installed here")
    cluster = start_cluster(found)
    yield cluster
    cluster.stop()


@pytest.fixture
def ask(cluster):
    """ask(sql, user, password) asks over the network."""
    with Rehearsal({}) as rehearsal:
        beam = type(rehearsal.beam).__mro__[1](rehearsal.beam.settings, rehearsal.hooks, reactor)

        def ask(sql: str, user: str = "app", password: str | None = None, port: int = cluster.port):
            target = Target("shop", Role.REPLICA, "127.0.0.1", port, sslmode="disable")
            return beam.ask(target, Identity(user, "shop"), sql.encode(), password=password)

        yield ask


@ensureDeferred
async def test_rows_come_as_text(ask):
    """Every value is text as PostgreSQL writes it; NULL is None."""
    rows = await ask("SELECT id, name, NULL FROM categories WHERE id < 3 ORDER BY id")
    assert rows == [("1", "category 1", None), ("2", "category 2", None)]


@pytest.mark.parametrize("user", WITH_PASSWORD)
@ensureDeferred
async def test_a_password_opens_every_door(ask, user):
    """In the clear, hashed with md5, or by SCRAM: the server gets what it asks for."""
    assert await ask("SELECT current_user", user, PASSWORD) == [(user,)]


@pytest.mark.parametrize("user", WITH_PASSWORD)
@ensureDeferred
async def test_a_wrong_password_is_the_servers_to_refuse(ask, user):
    """The error is the server's own."""
    with pytest.raises(ServerRefused) as refused:
        await ask("SELECT 1", user, "wrong")
    assert refused.value.sqlstate == "28P01"


@pytest.mark.parametrize("user", WITH_PASSWORD)
@ensureDeferred
async def test_without_a_password_the_server_is_known_to_be_there(ask, user):
    """A server that asks for a password is another thing than one that does not answer."""
    with pytest.raises(PasswordNeeded, match=user):
        await ask("SELECT 1", user)


@ensureDeferred
async def test_an_error_of_the_question_is_told(ask):
    """The SQLSTATE is that of the query's error."""
    with pytest.raises(PgBeamError, match="nonsense") as failed:
        await ask("SELECT nonsense")
    assert failed.value.sqlstate == "42703"


@ensureDeferred
async def test_nobody_there(ask):
    """A port that nobody listens on is ServerUnavailable."""
    with pytest.raises(ServerUnavailable, match="could not connect"):
        await ask("SELECT 1", port=free_port())


@ensureDeferred
async def test_an_answer_too_large_to_keep_is_an_error(ask):
    """Memory is bounded, whatever the server says."""
    with pytest.raises(PgBeamError, match="larger than"):
        await ask("SELECT repeat('x', 1000) FROM generate_series(1, 2000)")


@ensureDeferred
async def test_giving_up_closes_the_connection(ask, cluster):
    """A question that nobody waits for any more is cancelled and leaves no connection behind."""
    asking = ask("SELECT pg_sleep(60)")
    asking.addTimeout(0.3, reactor)
    with pytest.raises((ServerUnavailable, TimeoutError)):
        await asking
    still = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(6%' AND pid <> pg_backend_pid()"
    for _ in range(100):
        if await ask(still) == [("0",)]:
            return
    raise AssertionError("the connection is still there")
