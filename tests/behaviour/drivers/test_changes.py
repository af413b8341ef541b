"""What drivers' own test suites do to a proxy: tables that change, databases that go, servers that are lost."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import asyncpg  # type: ignore[import-untyped]
import psycopg
import pytest
import sqlalchemy as sa
from psycopg_pool import ConnectionPool

from .. import loops
from ..beams import Direct
from ..clusters import PASSWORD


def connect(leg: Direct, **options: Any) -> psycopg.Connection[tuple[Any, ...]]:
    """A connection that commits by itself, unless told otherwise."""
    return psycopg.connect(leg.url(), **{"autocommit": True, **options})


def test_a_pipeline_hears_of_its_error_at_once(leg: Direct) -> None:
    """libpq in pipeline mode hears of an error before it has sent a Sync."""
    with closing(connect(leg)) as conn:
        pg = conn.pgconn
        pg.enter_pipeline_mode()
        pg.send_query_params(b"SELECT 1/0", None)
        pg.flush()
        until = time.monotonic() + 5
        while pg.is_busy() and time.monotonic() < until:
            time.sleep(0.01)
            pg.consume_input()
        assert not pg.is_busy()
        result = pg.get_result()
        assert result is not None
        assert result.error_field(psycopg.pq.DiagnosticField.SQLSTATE) == b"22012"


def test_asyncpg_knows_a_stale_statement(leg: Direct) -> None:
    """asyncpg tells by the routine that a statement of its cache is stale: it drops the cache and says so."""

    async def work(conn: Any, other: Any) -> None:
        await conn.execute("CREATE TABLE changing AS SELECT 1 AS a")
        assert await conn.fetch("SELECT * FROM changing ORDER BY a") == [(1,)]
        await other.execute("ALTER TABLE changing ADD COLUMN b int")
        transaction = conn.transaction()
        await transaction.start()
        if leg.pool_mode == "transaction":  # a read that comes first runs as if outside, where it is prepared anew
            await conn.execute("LOCK TABLE changing IN ACCESS SHARE MODE")
        with pytest.raises(asyncpg.InvalidCachedStatementError):
            await conn.fetch("SELECT * FROM changing ORDER BY a")
        await transaction.rollback()
        async with conn.transaction():
            assert await conn.fetch("SELECT * FROM changing ORDER BY a") == [(1, None)]

    async def run() -> None:
        conn, other = await asyncpg.connect(leg.url()), await asyncpg.connect(leg.cluster.url("app"))
        try:
            await work(conn, other)
        finally:
            conn.terminate()
            other.terminate()

    loops.run(run())


def test_a_column_that_changes_its_type(leg: Direct) -> None:
    """A text that is parsed anew each time means what it would mean now, also when a third party changed the table."""
    with connect(leg, prepare_threshold=None) as conn, leg.cluster.connect("app") as third:
        third.execute("CREATE TABLE changing AS SELECT 1 AS a")
        for _ in range(8):
            assert conn.execute("SELECT a FROM changing WHERE a = %s", ["1"]).fetchall() == [(1,)]
        third.execute("ALTER TABLE changing ALTER COLUMN a TYPE text USING a::text")
        for _ in range(3):
            assert conn.execute("SELECT a FROM changing WHERE a = %s", ["1"]).fetchall() == [("1",)]


# Databases that come and go.


@pytest.fixture
def database(leg: Direct) -> Iterator[str]:
    """The name of a database that is made through the leg."""
    with connect(leg) as conn:
        conn.execute("CREATE DATABASE passing")
    yield "passing"
    with leg.cluster.connect() as boss:
        boss.execute("DROP DATABASE IF EXISTS passing WITH (FORCE)")


def test_a_database_is_dropped_when_its_clients_have_left(leg: Direct, database: str) -> None:
    """A test runner's last step: its clients hang up, and the next moment their database is dropped."""
    for _ in range(3):
        clients = [psycopg.connect(leg.url(database=database)) for _ in range(3)]
        for client in clients:
            client.execute("SELECT 1")
            client.close()
        with connect(leg) as conn:
            conn.execute(f"DROP DATABASE {database}".encode())
            conn.execute(f"CREATE DATABASE {database}".encode())


def test_a_template_is_copied_when_its_clients_have_left(leg: Direct, database: str) -> None:
    """Whoever was connected to a template database and left is not in the way of those who copy it."""
    for template in ("template1", database):
        with psycopg.connect(leg.url(database=template), autocommit=True) as client:
            client.execute("SELECT 1")
        with leg.cluster.connect("app") as third:  # past PgBeam: it cannot make way when it sees the statement
            deadline = time.monotonic() + 4
            while template != database:
                try:
                    third.execute(f"CREATE DATABASE copy TEMPLATE {template}".encode())
                    break
                except psycopg.errors.ObjectInUse:
                    assert time.monotonic() < deadline, "an idle server is in the way"
        with connect(leg) as conn:
            conn.execute(b"DROP DATABASE IF EXISTS copy")
            conn.execute(f"CREATE DATABASE copy TEMPLATE {template}".encode())
            conn.execute(b"DROP DATABASE copy")


# Servers that are lost.


def kill_servers(leg: Direct, user: str) -> None:
    """End all server processes of that user."""
    with leg.cluster.connect() as boss:
        boss.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = %s", [user])


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2", "pg8000"])
def test_a_pool_of_sqlalchemy_heals(leg: Direct, driver: str) -> None:
    """When the servers of clients with passwords are lost, SQLAlchemy sees lost connections, and makes others."""
    url = leg.url("with_scram", password=PASSWORD).replace("postgresql://", f"postgresql+{driver}://")
    engine = sa.create_engine(url, pool_size=3)
    try:
        for _ in range(3):
            with engine.connect() as conn:
                conn.execute(sa.text("SELECT 1"))
        kill_servers(leg, "with_scram")
        failed = 0
        for number in range(5):
            try:
                with engine.connect() as conn:
                    assert conn.execute(sa.text(f"SELECT {number}")).scalar() == number
            except sa.exc.DBAPIError:
                failed += 1
        assert failed <= 1  # SQLAlchemy then gives up all the connections it had
    finally:
        engine.dispose()


def test_a_pool_of_psycopg_heals(leg: Direct) -> None:
    """Likewise psycopg's own pool, which gives up a connection when its driver says that it is closed."""
    url = leg.url("with_scram", password=PASSWORD)
    with ConnectionPool(url, min_size=2, max_size=2, open=True, timeout=10) as pool:
        for _ in range(4):
            with pool.connection() as conn:
                conn.execute("SELECT 1")
        kill_servers(leg, "with_scram")
        failed = 0
        for _ in range(6):
            try:
                with pool.connection() as conn:
                    conn.execute("SELECT 1")
            except psycopg.OperationalError:
                failed += 1
        assert failed <= 2  # once for each connection, after that it is a new one
