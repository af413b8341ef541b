"""Limits, as a real driver in front of a real server meets them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg
import pytest

from tests.behaviour.beams import Beam
from tests.behaviour.clusters import PASSWORD, Cluster, installation, start_cluster

pytestmark = [pytest.mark.slow, pytest.mark.pg]


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
def beam(cluster, tmp_path) -> Iterator[Callable[..., Beam]]:
    """beam(max_connections=2) starts PgBeam with those limits."""
    running: list[Beam] = []

    def start(**limits) -> Beam:
        settings = {"plugins": {"limits": limits}}
        running.append(Beam(cluster, "transaction", tmp_path, plugins="limits,pool", settings=settings))
        return running[-1]

    yield start
    for each in running:
        each.stop()


def refusal(url: str) -> str:
    with pytest.raises(psycopg.OperationalError) as refused:
        psycopg.connect(url)
    return str(refused.value)


def test_connections(beam):
    """The client above `max_connections` is told so, and gets in when another has left."""
    url = beam(max_connections=2).url()
    with psycopg.connect(url), psycopg.connect(url):
        assert "FATAL:  too many connections for project" in refusal(url)
    psycopg.connect(url).close()


@pytest.mark.parametrize("user", ["with_password", "with_md5", "with_scram"])
def test_failed_logins(beam, user):
    """After the last attempt the right password does not help for a minute, whichever way the server checks it."""
    started = beam(auth_attempts=2)
    psycopg.connect(started.url(user, password=PASSWORD)).close()
    for _ in range(2):
        assert f'password authentication failed for user "{user}"' in refusal(started.url(user, password="wrong"))
    assert "FATAL:  too many authentication attempts" in refusal(started.url(user, password=PASSWORD))


def test_allowlist(beam):
    """127.0.0.1 is in no network of this list."""
    assert "FATAL:  connection rejected: IP not in allowlist" in refusal(
        beam(allowed_cidrs=["10.0.0.0/8 office"]).url()
    )


def test_queries_per_second(beam):
    """The query above the rate is an error with its own SQLSTATE; the session lives."""
    with psycopg.connect(beam(queries_per_second=0.5, burst=2).url(), autocommit=True) as client:
        client.execute("SELECT 1")
        client.execute("SELECT 2")
        with pytest.raises(psycopg.errors.ConfigurationLimitExceeded, match="query rate limit exceeded"):
            client.execute("SELECT 3")
        assert client.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
