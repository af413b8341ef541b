"""Every snippet of the guide for Python users, run as it is written there."""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.behaviour.beams import Beam, Direct
from tests.behaviour.clusters import Cluster, installation, start_cluster
from tests.behaviour.conftest import BeamFactory
from tests.behaviour.drivers.test_sqlalchemy import FIRST

from .guide_snippets import (
    ALEMBIC_ENV,
    ANNOTATED,
    DJANGO_MAX_AGE,
    DJANGO_POOL,
    ERRORS,
    HELLO,
    POOL,
    SQLALCHEMY_1,
    SQLALCHEMY_2,
    USE_DJANGO,
    USE_ENGINE,
)


@pytest.fixture(autouse=True)
def _shop(fresh_shop: None) -> None:
    """Each test finds the shop as it was seeded."""


def run(monkeypatch: pytest.MonkeyPatch, url: str, code: str, **names: Any) -> tuple[str, dict[str, Any]]:
    """Run a snippet with DATABASE_URL set; what it printed and the names it left."""
    monkeypatch.setenv("DATABASE_URL", url)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "guide", "exec"), names)
    return printed.getvalue(), names


def test_hello(leg: Direct, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first program of the guide prints its greeting."""
    assert run(monkeypatch, leg.url(), HELLO)[0] == "('hello from pgbeam',)\n"


@pytest.mark.filterwarnings("ignore:the default for the ConnectionPool:DeprecationWarning")
def test_connection_pool(leg: Direct, monkeypatch: pytest.MonkeyPatch) -> None:
    """psycopg's own pool in front of PgBeam's."""
    printed, names = run(monkeypatch, leg.url(), POOL)
    names["pool"].close()
    assert printed == "(1,)\n"


@pytest.mark.parametrize("snippet", [SQLALCHEMY_2, SQLALCHEMY_1], ids=["2.x", "1.x"])
@pytest.mark.parametrize("scheme", ["postgresql", "postgres"])
def test_sqlalchemy(leg: Direct, monkeypatch: pytest.MonkeyPatch, snippet: str, scheme: str) -> None:
    """Both engines of the guide answer a query; the first also takes the scheme `postgres`."""
    if scheme == "postgres" and snippet is SQLALCHEMY_1:
        pytest.skip("SQLAlchemy takes only postgresql:// here")
    url = leg.url().replace("postgresql", scheme)
    assert run(monkeypatch, url, snippet + USE_ENGINE)[0] == "product 4\n"


@pytest.mark.parametrize("pool", [False, True], ids=["conn_max_age", "pool"])
def test_django(leg: Direct, pool: bool) -> None:
    """Django's settings by dj_database_url, with lasting connections and with its pool."""
    settings = DJANGO_MAX_AGE
    if pool:
        # Django itself refuses persistent connections together with its pool, so the pool goes without them.
        settings += DJANGO_POOL.replace("= 600", "= 0")
    command = [sys.executable, "-c", settings + USE_DJANGO]
    environment = {**os.environ, "DATABASE_URL": leg.url()}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment, timeout=60)
    assert done.stdout == "product 4\n", done.stderr


def test_alembic_direct(leg: Direct, tmp_path: Path) -> None:
    """Migrations run directly against the origin database show through PgBeam at once."""
    with psycopg.connect(leg.url(), autocommit=True) as conn:
        with pytest.raises(psycopg.errors.UndefinedTable):
            conn.execute("SELECT * FROM moved")
        (tmp_path / "versions").mkdir()
        (tmp_path / "env.py").write_text(ALEMBIC_ENV)
        (tmp_path / "versions" / "first.py").write_text(FIRST)
        (tmp_path / "alembic.ini").write_text(f"[alembic]\nscript_location = {tmp_path}\npath_separator = os\n")
        environment = {**os.environ, "DATABASE_URL": leg.cluster.url("app")}
        command = [str(Path(sys.executable).with_name("alembic")), "upgrade", "head"]
        done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=tmp_path, env=environment)
        assert done.returncode == 0, done.stderr
        assert conn.execute("SELECT * FROM moved").fetchall() == []


def test_annotations(leg: Direct, monkeypatch: pytest.MonkeyPatch) -> None:
    """Annotated queries answer the same rows, again and again, also where nobody reads the annotations."""
    with psycopg.connect(leg.url()) as conn, conn.cursor() as cur:
        for _ in range(2):
            printed, _ = run(monkeypatch, leg.url(), ANNOTATED, cur=cur, account_id=3)
            assert printed == "5\n(Decimal('100.00'),)\n90\n5\n"


@pytest.fixture(params=["session", "transaction"])
def replicated(request: pytest.FixtureRequest, cluster: Cluster, shared_beam: BeamFactory) -> Beam:
    """PgBeam in front of the cluster and a streaming replica."""
    replica = cluster.replicas[0] if cluster.replicas else cluster.replica()
    cluster.wait_for_replay(replica)
    url = f"postgresql://127.0.0.1:{replica.port}"
    return shared_beam(cluster, request.param, project={"replicas": [url]})


class Watched:
    """An autocommit connection with pgbeam.debug on; `ask` gives the notices of one query, annotated by hand."""

    def __init__(self, beam: Beam) -> None:
        beam.wait_for_catalog()
        self.conn = psycopg.connect(beam.url(), autocommit=True)
        self.notices: list[tuple[str | None, str | None]] = []
        self.conn.add_notice_handler(lambda notice: self.notices.append((notice.sqlstate, notice.message_primary)))
        self.conn.execute("SET pgbeam.debug = on")

    def ask(self, sql: str, *values: Any) -> str:
        """Run it and give the text of its only notice."""
        self.notices.clear()
        self.conn.execute(sql.encode(), values or None).fetchall()
        ((sqlstate, message),) = self.notices
        assert sqlstate == "00000"
        return message or ""


@pytest.fixture
def watched(replicated: Beam) -> Iterator[Watched]:
    """A watched connection, closed afterwards."""
    made = Watched(replicated)
    yield made
    made.conn.close()


def test_debug_says_hit(watched: Watched) -> None:
    """The second time a cached query is a hit with its age, TTL and SWR."""
    sql = f"/* @pgbeam:cache maxAge=60 swr=30 */ SELECT *, 'hit' AS {unique()} FROM users WHERE id = %s"
    assert re.match(r"pgbeam: cache=miss\b", watched.ask(sql, 3))
    assert re.match(r"pgbeam: cache=hit age=\d+s ttl=60s swr=30s($| )", watched.ask(sql, 3))
    assert re.match(r"pgbeam: cache=miss\b", watched.ask(sql, 4))


def test_debug_says_stale(watched: Watched) -> None:
    """Past its TTL and within SWR the old answer is served as stale, and the next one is fresh."""
    sql = f"/* @pgbeam:cache maxAge=1 swr=30 */ SELECT 'stale' AS {unique()}"
    watched.ask(sql)
    time.sleep(1.3)
    assert re.match(r"pgbeam: cache=stale age=1s ttl=1s swr=30s($| )", watched.ask(sql))
    time.sleep(0.3)
    assert re.match(r"pgbeam: cache=hit age=0s ttl=1s swr=30s($| )", watched.ask(sql))


def test_debug_says_miss_on_a_replica(watched: Watched, replicated: Beam) -> None:
    """Replica and cache together: the miss names the replica that answered."""
    port = replicated.cluster.replicas[0].port
    message = ""
    for _ in range(50):
        sql = f"/* @pgbeam:replica */ /* @pgbeam:cache maxAge=600 */ SELECT *, 1 AS {unique()} FROM categories"
        message = watched.ask(sql)
        if "replica=true" in message:
            break
        time.sleep(0.2)
    assert re.match(rf"pgbeam: cache=miss replica=true upstream=127\.0\.0\.1:{port}($| )", message)


def test_debug_says_bypass_in_a_transaction(watched: Watched, replicated: Beam) -> None:
    """Inside a transaction that is real the cache is passed by, and the primary answers."""
    with watched.conn.transaction():
        watched.ask("SELECT now()")
        message = watched.ask("/* @pgbeam:cache maxAge=60 */ SELECT * FROM users")
    port = replicated.cluster.port
    assert re.match(rf"pgbeam: cache=bypass reason=transaction upstream=127\.0\.0\.1:{port}($| )", message)


def test_debug_says_bypass_for_no_cache(watched: Watched) -> None:
    """noCache is a bypass, however often."""
    for _ in range(2):
        assert watched.ask("/* @pgbeam:cache noCache */ SELECT 1").startswith("pgbeam: cache=bypass reason=")


def test_debug_as_the_guide_has_it(replicated: Beam) -> None:
    """In psycopg's default transaction SET pgbeam.debug works and the query carries its notice."""
    notices: list[str | None] = []
    with psycopg.connect(replicated.url()) as conn, conn.cursor() as cur:
        conn.add_notice_handler(lambda notice: notices.append(notice.message_primary))
        cur.execute("SET pgbeam.debug = on")
        cur.execute("SELECT * FROM users WHERE id = %s", [7])
        assert cur.fetchone() == (7, "user 7", "user7@example.com")
    assert notices
    assert all(str(notice).startswith("pgbeam: ") for notice in notices)


def test_a_replica_answers(replicated: Beam) -> None:
    """An annotated read really runs on the replica, a plain one on the primary."""
    ports: set[int] = set()
    with psycopg.connect(replicated.url(), autocommit=True) as conn:
        for _ in range(50):
            ((port,),) = conn.execute("/* @pgbeam:replica */ SELECT inet_server_port()").fetchall()
            ports.add(port)
            if port == replicated.cluster.replicas[0].port:
                break
            time.sleep(0.2)
        assert replicated.cluster.replicas[0].port in ports
        assert conn.execute("SELECT inet_server_port()").fetchall() == [(replicated.cluster.port,)]


def test_too_many_connections(cluster: Cluster, beam: BeamFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A query that finds no free server in time is psycopg's TooManyConnections."""
    mine = beam(cluster, "transaction", settings={"plugins": {"pool": {"max_active": 1, "wait_timeout_s": 3}}})
    with psycopg.connect(mine.url()) as holder, psycopg.connect(mine.url()) as conn, conn.cursor() as cur:
        holder.execute("SELECT now()")
        assert run(monkeypatch, mine.url(), ERRORS, cur=cur)[1]["caught"] == "too many connections"


def test_max_connections(cluster: Cluster, beam: BeamFactory) -> None:
    """One client more than the project may have is refused at connect time with the text that people match on."""
    mine = beam(cluster, "transaction", settings={"plugins": {"limits": {"max_connections": 1}}})
    refused = pytest.raises(psycopg.OperationalError, match="too many connections for project")
    with psycopg.connect(mine.url()), refused:
        psycopg.connect(mine.url())
    psycopg.connect(mine.url()).close()


def test_rate_limit(cluster: Cluster, beam: BeamFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A query above the rate is psycopg's ConfigurationLimitExceeded, and the session goes on later."""
    limits = {"queries_per_second": 2, "burst": 2}
    mine = beam(cluster, "transaction", settings={"plugins": {"limits": limits}})
    with psycopg.connect(mine.url(), autocommit=True) as conn, conn.cursor() as cur:
        caught = [run(monkeypatch, mine.url(), ERRORS, cur=cur, caught=None)[1]["caught"] for _ in range(8)]
        time.sleep(1)
        assert cur.execute("SELECT 'later'").fetchone() == ("later",)
    assert caught[0] is None
    assert caught[-1] == "rate limit"


@pytest.fixture
def mortal_cluster() -> Iterator[Cluster]:
    """A server of the test's own. It outlives the PgBeam in front of it."""
    found = installation(18)
    if found is None:
        pytest.skip("PostgreSQL 18 is not installed here")
    own = start_cluster(found)
    yield own
    own.stop()


def test_circuit_breaker(mortal_cluster: Cluster, beam: BeamFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the server is gone, queries soon fail at once with `circuit breaker` in the text."""
    mine = beam(mortal_cluster, "transaction")
    with psycopg.connect(mine.url(), autocommit=True) as conn, conn.cursor() as cur:
        cur.execute("SELECT 1")
        mortal_cluster.crash()
        caught = [run(monkeypatch, mine.url(), ERRORS, cur=cur, caught=None)[1]["caught"] for _ in range(8)]
        assert caught[-1] == "circuit breaker"
    mortal_cluster.revive()


_serial = iter(range(1_000_000))


def unique() -> str:
    """A name that makes a query unlike any other, whatever has been cached."""
    return f"u{os.getpid()}_{next(_serial)}"
