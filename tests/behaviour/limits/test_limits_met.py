"""Limits as drivers meet them, in front of real servers: which error, of which class, and what then."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable
from typing import Any

import asyncpg  # type: ignore[import-untyped]
import psycopg
import psycopg2
import psycopg2.errors
import pytest
import sqlalchemy
from psycopg.pq import TransactionStatus

from tests.behaviour import loops
from tests.behaviour.beams import Beam
from tests.behaviour.clusters import Cluster
from tests.behaviour.conftest import BeamFactory

pytestmark = [pytest.mark.pg]

LAZY = ("reads", "off")
LONG = "SELECT 1 -- " + "x" * 3000
SLOW = "SELECT pg_sleep(30)"


def bounded(shared_beam: BeamFactory, cluster: Cluster, lazy: str = "reads") -> Beam:
    """A PgBeam with short times; one for all tests of a server."""
    project = {
        "query_timeout_ms": 400,
        "idle_transaction_timeout_ms": 700,
        "transaction_timeout_ms": 1500,
        "client_idle_timeout_s": 2.5,
        "lazy_transactions": lazy,
    }
    return shared_beam(cluster, "transaction", project=project, settings={"max_query_bytes": 2000})


def by_psycopg(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as client:
        for sql in statements:
            client.execute(sql)


def by_psycopg2(url: str, *statements: str) -> None:
    client = psycopg2.connect(url)
    try:
        client.autocommit = True
        for sql in statements:
            client.cursor().execute(sql)
    finally:
        client.close()


def by_asyncpg(url: str, *statements: str) -> None:
    async def talk() -> None:
        client = await asyncpg.connect(url)
        try:
            for sql in statements:
                await client.execute(sql)
        finally:
            client.terminate()

    loops.run(talk())


def by_sqlalchemy(url: str, *statements: str) -> None:
    engine = sqlalchemy.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    try:
        with engine.connect() as client:
            for sql in statements:
                client.execute(sqlalchemy.text(sql))
    except sqlalchemy.exc.DBAPIError as error:
        raise error.orig or error from None
    finally:
        engine.dispose()


DRIVERS: list[tuple[Callable[..., None], dict[str, type[BaseException]]]] = [
    (
        by_psycopg,
        {
            "53400": psycopg.errors.ConfigurationLimitExceeded,
            "54000": psycopg.errors.ProgramLimitExceeded,
            "57014": psycopg.errors.QueryCanceled,
        },
    ),
    (
        by_sqlalchemy,
        {
            "53400": psycopg.errors.ConfigurationLimitExceeded,
            "54000": psycopg.errors.ProgramLimitExceeded,
            "57014": psycopg.errors.QueryCanceled,
        },
    ),
    (
        by_psycopg2,
        {
            "53400": psycopg2.errors.ConfigurationLimitExceeded,
            "54000": psycopg2.errors.ProgramLimitExceeded,
            "57014": psycopg2.errors.QueryCanceled,
        },
    ),
    (
        by_asyncpg,
        {
            "53400": asyncpg.ConfigurationLimitExceededError,
            "54000": asyncpg.ProgramLimitExceededError,
            "57014": asyncpg.QueryCanceledError,
        },
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize(("talk", "classes"), DRIVERS, ids=lambda value: getattr(value, "__name__", ""))
def test_each_error_has_its_class(
    cluster: Cluster, shared_beam: BeamFactory, talk: Callable[..., None], classes: dict[str, type[BaseException]]
) -> None:
    """What an application catches by name is what is raised, by each driver, as direct."""
    url = bounded(shared_beam, cluster).url()
    with pytest.raises(classes["57014"], match="canceling statement due to statement timeout"):
        talk(url, SLOW)
    with pytest.raises(classes["54000"], match=r"query is too long \(\d+ bytes, max 2000 bytes\)"):
        talk(url, LONG)
    limits = {"queries_per_second": 0.01, "burst": 3, "max_connections_per_user": 1, "auth_attempts": 0}
    limited = shared_beam(cluster, "transaction", settings={"plugins": {"limits": limits}}, name=talk.__name__).url()
    with pytest.raises(classes["53400"], match="query rate limit exceeded"):
        talk(limited, *["SELECT pg_backend_pid()"] * 8)
    with psycopg.connect(limited), pytest.raises(Exception, match='too many connections for role "app"') as refused:
        talk(limited)
    told = getattr(refused.value, "sqlstate", None) or getattr(refused.value, "pgcode", None)
    assert told in ("53300", None)  # libpq tells no SQLSTATE of a connection that was refused


@pytest.mark.parametrize("lazy", LAZY)
def test_sitting_in_a_transaction(cluster: Cluster, shared_beam: BeamFactory, lazy: str) -> None:
    """The client is ended as PostgreSQL's own idle_in_transaction_session_timeout would, and its locks are free."""
    beam = bounded(shared_beam, cluster, lazy)
    for real in (False, True):
        client = psycopg.connect(beam.url())
        client.execute("SELECT 1")
        if real:
            client.execute("SELECT pg_advisory_xact_lock(77)")
        time.sleep(1.2)
        with pytest.raises(psycopg.errors.IdleInTransactionSessionTimeout, match="idle-in-transaction timeout"):
            client.execute("SELECT 1")
        assert client.closed
        with cluster.connect() as boss:
            found = boss.execute("SELECT pg_try_advisory_lock(77)").fetchone()
            assert found == (True,)


@pytest.mark.parametrize("lazy", LAZY)
def test_a_long_transaction(cluster: Cluster, shared_beam: BeamFactory, lazy: str) -> None:
    """However busy it is: it is ended with 25P04, on PostgreSQL 15 as well, which has no such setting."""
    with psycopg.connect(bounded(shared_beam, cluster, lazy).url()) as client:
        started = time.monotonic()
        with pytest.raises(psycopg.errors.TransactionTimeout, match="transaction timeout"):
            while time.monotonic() < started + 20:
                client.execute("SELECT pg_sleep(0.1), pg_current_xact_id()")
        assert client.closed


def test_a_statement_that_runs_too_long_is_stopped_on_its_server(cluster: Cluster, shared_beam: BeamFactory) -> None:
    """The client may lift statement_timeout; the transaction's own time ends it all the same, on the server too."""
    with psycopg.connect(bounded(shared_beam, cluster).url(), autocommit=True) as client:
        client.execute("SET statement_timeout = 0")
        with pytest.raises(psycopg.errors.TransactionTimeout, match="transaction timeout"):
            client.execute("SELECT pg_sleep(60), 'of a long transaction'")
    running = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%of a long%' AND pid <> pg_backend_pid()"
    with cluster.connect() as boss:
        for _ in range(100):
            if boss.execute(running + " AND state = 'active'").fetchone() == (0,):
                return
            time.sleep(0.1)
    raise AssertionError("the query still runs")


def test_saying_nothing(cluster: Cluster, shared_beam: BeamFactory) -> None:
    """The client is ended with 57P05; one that asks now and then stays."""
    beam = bounded(shared_beam, cluster)
    with psycopg.connect(beam.url(), autocommit=True) as busy, psycopg.connect(beam.url(), autocommit=True) as idle:
        for _ in range(4):
            busy.execute("SELECT 1")
            time.sleep(0.9)
        with pytest.raises(psycopg.errors.IdleSessionTimeout, match="idle-session timeout"):
            idle.execute("SELECT 1")
        busy.execute("SELECT 1")


def test_the_timeout_of_statements_is_a_startup_parameter(cluster: Cluster, shared_beam: BeamFactory) -> None:
    """SHOW says it; a client may set another, and RESET and DISCARD ALL return to it; one in the client's own startup
    packet stands above it, by itself or in options."""
    beam = bounded(shared_beam, cluster)

    def shown(client: psycopg.Connection[Any]) -> Any:
        return client.execute("SHOW statement_timeout").fetchone()

    with psycopg.connect(beam.url(), autocommit=True) as client:
        assert shown(client) == ("400ms",)
        client.execute("SET statement_timeout = '7s'")
        assert shown(client) == ("7s",)
        client.execute("RESET statement_timeout")
        assert shown(client) == ("400ms",)
        client.execute("SET statement_timeout = 0")
        client.execute("DISCARD ALL")
        assert shown(client) == ("400ms",)
    with psycopg.connect(beam.url(), options="-c Statement-Timeout=9s", autocommit=True) as client:
        assert shown(client) == ("9s",)
        client.execute("SET statement_timeout = '7s'")
        client.execute("RESET ALL")
        assert shown(client) == ("9s",)


@pytest.mark.parametrize("lazy", LAZY)
@pytest.mark.parametrize("savepoint", [True, False])
def test_a_refusal_in_a_transaction(cluster: Cluster, shared_beam: BeamFactory, lazy: str, *, savepoint: bool) -> None:
    """It fails the transaction as PostgreSQL's own errors do: 25P02 until a savepoint or the end, then it goes on."""
    with psycopg.connect(bounded(shared_beam, cluster, lazy).url()) as client:
        client.execute("CREATE TEMP TABLE t (n int)")
        client.commit()
        client.execute("SELECT 1")
        if savepoint:
            client.execute("SAVEPOINT here")
        with pytest.raises(psycopg.errors.ProgramLimitExceeded):
            client.execute(LONG)
        assert client.info.transaction_status == TransactionStatus.INERROR
        with pytest.raises(psycopg.errors.InFailedSqlTransaction):
            client.execute("INSERT INTO t VALUES (1)")
        client.execute("ROLLBACK TO here" if savepoint else "ROLLBACK")
        client.execute("INSERT INTO t VALUES (2)")
        client.commit()
        assert client.execute("SELECT n FROM t").fetchall() == [(2,)]


@pytest.mark.parametrize("lazy", LAZY)
def test_a_refusal_in_a_pipeline(cluster: Cluster, shared_beam: BeamFactory, lazy: str) -> None:
    """What stands behind it is passed over, and nothing of the pipeline's transaction is kept."""
    with psycopg.connect(bounded(shared_beam, cluster, lazy).url(), autocommit=True) as client:
        client.execute("CREATE TEMP TABLE t (n int)")
        with pytest.raises(psycopg.errors.ProgramLimitExceeded), client.pipeline() as pipeline:
            client.execute("INSERT INTO t VALUES (1)")
            client.execute(LONG)
            client.execute("INSERT INTO t VALUES (2)")
            pipeline.sync()
        assert client.execute("SELECT n FROM t").fetchall() == []
        assert client.info.transaction_status == TransactionStatus.IDLE


@pytest.mark.slow
def test_one_users_flood_and_another(cluster: Cluster, beam: BeamFactory) -> None:
    """With every server busy for one user's clients, another one's query is answered by the first that comes back."""
    settings = {"plugins": {"pool": {"max_active": 4, "wait_timeout_s": 60}, "limits": {"auth_attempts": 0}}}
    started = beam(cluster, "transaction", settings=settings)

    async def flood() -> tuple[int, int]:
        clients = [await asyncpg.connect(started.url()) for _ in range(16)]
        other = await asyncpg.connect(started.url("boss"))
        waiting = [asyncio.ensure_future(client.fetchval("SELECT pg_sleep(0.5)")) for client in clients]
        await asyncio.sleep(0.2)
        await other.fetchval("SELECT pg_backend_pid()")
        done = sum(each.done() for each in waiting)
        await asyncio.gather(*waiting)
        for client in (*clients, other):
            client.terminate()
        return done, len(waiting)

    done, asked = loops.run(flood())
    assert done < asked - 4, "it stood behind the flood"


@pytest.mark.slow
def test_a_reload_drops_nobody(cluster: Cluster, beam: BeamFactory) -> None:
    """Limits that are written anew and read by SIGHUP hold for the clients that are there."""
    started = beam(cluster, "transaction", settings={"plugins": {"limits": {"auth_attempts": 0}}})
    with psycopg.connect(started.url(), autocommit=True) as client:
        client.execute(LONG)
        config = next(started.log_path.parent.glob("settings-*.toml"))
        config.write_text("max_query_bytes = 100\n" + config.read_text())
        started.process.send_signal(signal.SIGHUP)
        while "settings reloaded" not in started.log:
            time.sleep(0.05)
        with pytest.raises(psycopg.errors.ProgramLimitExceeded):
            client.execute(LONG)
        client.execute("SELECT 1")


@pytest.mark.slow
def test_workers_keep_the_limits_together(cluster: Cluster, beam: BeamFactory) -> None:
    """With several processes there are no more clients, and no more queries, than with one."""
    limits = {"max_connections": 4, "queries_per_second": 0.02, "burst": 20, "auth_attempts": 0}
    started = beam(cluster, "transaction", settings={"workers": 2, "plugins": {"limits": limits}})
    clients = [psycopg.connect(started.url(), autocommit=True) for _ in range(4)]
    with pytest.raises(psycopg.OperationalError, match="too many connections for project"):
        psycopg.connect(started.url())
    done = 0
    for client in clients:
        with pytest.raises(psycopg.errors.ConfigurationLimitExceeded):
            for _ in range(50):
                client.execute("SELECT pg_backend_pid()")
                done += 1
    assert 15 <= done <= 21
    for client in clients:
        client.close()
