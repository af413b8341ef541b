"""Lazy transactions with real drivers: what reaches PostgreSQL, by its own log, and what the application sees."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import asyncpg
import pg8000.dbapi  # type: ignore[import-untyped]
import psycopg
import psycopg2
import psycopg_pool
import pytest
import sqlalchemy
from sqlalchemy import orm

from tests.behaviour import frames
from tests.behaviour.beams import Beam
from tests.behaviour.clusters import Cluster
from tests.behaviour.conftest import BeamFactory
from tests.behaviour.loops import run
from tests.behaviour.wireclient import error_fields

pytestmark = pytest.mark.pg
READ = "SELECT name FROM products WHERE id = 5"
CACHED = f"/* @pgbeam:cache maxAge=300 */ {READ}"
WRITE = "UPDATE products SET name = name WHERE id = 5"
NAME = "product 5"
_LOGGED = re.compile(r"LOG:  (?:statement|execute [^:]*): +(.*)")
_OWN = (
    "SELECT a.usesysid",
    "SELECT pg_catalog.set_config(",
    'RESET "statement_timeout"',
    "SELECT WHERE pg_catalog.set_config",
    "SELECT reset_val",
    "SELECT 'set'",
)
"""How PgBeam's own questions begin."""


class Log:
    """What clients' statements reach the server, from now on."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._from = len(cluster.log)

    def statements(self) -> list[str]:
        """Those that were executed, in capitals, without what PgBeam asks for itself; waits for the log."""
        time.sleep(0.05)
        found = _LOGGED.findall(self._cluster.log[self._from :])
        return [text.strip() for text in found if not text.startswith(_OWN)]

    def words(self) -> list[str]:
        """The first word of each."""
        return [text.split()[0].rstrip(";").upper() for text in self.statements()]


@pytest.fixture
def url(cluster: Cluster, shared_beam: BeamFactory) -> str:
    """PgBeam in transaction mode, for a role whose statements are logged by the server."""
    beam = shared_beam(cluster, "transaction", settings={"plugins": {"cache": {"l2": "off"}}})
    beam.wait_for_catalog("boss")  # another test may have been the last one minutes ago
    return beam.url("boss", options="-c log_statement=all")


def by_psycopg(url: str, sql: str) -> Any:
    with psycopg.connect(url) as conn:
        return conn.execute(sql).fetchone()


def by_psycopg_pool(url: str, sql: str) -> Any:
    with psycopg_pool.ConnectionPool(url, min_size=1, max_size=1) as pool, pool.connection() as conn:
        return conn.execute(sql).fetchone()


def by_psycopg2(url: str, sql: str) -> Any:
    conn = psycopg2.connect(url)
    try:
        with conn, conn.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchone()
    finally:
        conn.close()


def by_pg8000(url: str, sql: str) -> Any:
    at = sqlalchemy.make_url(url)
    options = {"options": at.query["options"]}
    conn = pg8000.dbapi.connect("boss", at.host, at.database, at.port, startup_params=options)
    try:
        cursor = conn.cursor()
        cursor.execute(sql.replace("= 5", "= %s"), (5,))  # what has no parameters goes by the simple protocol
        found = cursor.fetchone()
        conn.commit()
        return found
    finally:
        conn.close()


def by_psycopg_async(url: str, sql: str) -> Any:
    async def read() -> Any:
        async with await psycopg.AsyncConnection.connect(url) as conn:
            return await (await conn.execute(sql)).fetchone()

    return run(read())


def _by_asyncpg(url: str, ask: Callable[[asyncpg.Connection], Any]) -> Any:
    async def read() -> Any:
        conn = await asyncpg.connect(url.partition("?")[0], server_settings={"log_statement": "all"})
        try:
            async with conn.transaction():
                return await ask(conn)
        finally:
            await conn.close()

    return run(read())


def by_asyncpg_fetch(url: str, sql: str) -> Any:
    return _by_asyncpg(url, lambda conn: conn.fetch(sql))[0]


def by_asyncpg_fetchrow(url: str, sql: str) -> Any:
    return _by_asyncpg(url, lambda conn: conn.fetchrow(sql))


def by_asyncpg_fetchval(url: str, sql: str) -> Any:
    return [_by_asyncpg(url, lambda conn: conn.fetchval(sql))]


BY_ASYNCPG = [by_asyncpg_fetch, by_asyncpg_fetchrow, by_asyncpg_fetchval]
"""It asks for the columns of a text that is new to a connection, with a Flush, before it runs it."""
DRIVERS = [by_psycopg, by_psycopg_async, by_psycopg_pool, by_psycopg2, by_pg8000, *BY_ASYNCPG]


@pytest.mark.parametrize("read", DRIVERS)
def test_one_read_in_a_transaction_is_one_statement(
    cluster: Cluster, url: str, read: Callable[[str, str], Any]
) -> None:
    """No BEGIN and no COMMIT reach PostgreSQL, whatever the driver wraps around it."""
    log = Log(cluster)
    assert read(url, READ)[0] == NAME
    assert log.words() == ["SELECT"], log.statements()


@pytest.mark.parametrize("read", DRIVERS)
def test_a_cached_read_in_a_transaction_is_none(cluster: Cluster, url: str, read: Callable[[str, str], Any]) -> None:
    """The second time nothing reaches PostgreSQL."""
    text = f"{CACHED} -- {read.__name__} {time.monotonic_ns()}"
    assert read(url, text)[0] == NAME
    log = Log(cluster)
    assert read(url, text)[0] == NAME
    assert log.words() == [], log.statements()


@pytest.mark.parametrize("way", ["fetch", "fetchrow", "fetchval"])
def test_asyncpg_reads_from_the_cache_what_it_has_prepared(cluster: Cluster, url: str, way: str) -> None:
    """However many rows are asked for, and from the first time on."""
    text = f"{CACHED} -- {way} {time.monotonic_ns()}"

    async def read(conn: asyncpg.Connection) -> None:
        first = await getattr(conn, way)(text)
        log = Log(cluster)
        assert await getattr(conn, way)(text) == first
        assert log.words() == [], log.statements()

    _by_asyncpg(url, read)


def test_sqlalchemy_reads_without_a_transaction(cluster: Cluster, url: str) -> None:
    """`engine.connect()` and an ORM session wrap each read in BEGIN and ROLLBACK or COMMIT."""
    engine = sqlalchemy.create_engine(url.replace("postgresql://", "postgresql+psycopg://"), pool_size=1)
    try:
        with engine.connect() as conn:
            conn.execute(sqlalchemy.text(READ))
        log = Log(cluster)
        with engine.connect() as conn:
            assert conn.execute(sqlalchemy.text(READ)).scalar() == NAME
        with orm.Session(engine) as session, session.begin():
            assert session.execute(sqlalchemy.text(READ)).scalar() == NAME
            with session.begin_nested():
                assert session.execute(sqlalchemy.text(READ)).scalar() == NAME
        assert log.words() == ["SELECT"] * 3
    finally:
        engine.dispose()


def test_a_write_makes_it_real(cluster: Cluster, url: str) -> None:
    """From there on it is as the application wrote it."""
    with psycopg.connect(url) as conn:
        conn.execute(READ)
        log = Log(cluster)
        conn.execute(WRITE)
        conn.execute(READ)
        conn.commit()
    assert log.words() == ["BEGIN", "UPDATE", "SELECT", "COMMIT"]


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_the_level_that_a_role_has_is_known(cluster: Cluster, shared_beam: BeamFactory, level: str) -> None:
    """A role whose transactions are not READ COMMITTED reads inside."""
    beam = shared_beam(cluster, "transaction", settings={"plugins": {"cache": {"l2": "off"}}})
    url = beam.url(
        "boss", options=f"-c log_statement=all -c default_transaction_isolation={level.replace(' ', chr(92) + ' ')}"
    )
    log = Log(cluster)
    assert by_psycopg(url, READ)[0] == NAME
    assert log.words()[:2] == ["BEGIN", "SELECT"]


def test_now_is_when_it_became_real(cluster: Cluster, shared_beam: BeamFactory) -> None:
    """BEGIN's own time is known to nobody."""
    beam: Beam = shared_beam(cluster, "transaction")
    with psycopg.connect(beam.url()) as conn, cluster.connect() as boss:
        conn.execute(READ)
        between = boss.execute("SELECT clock_timestamp()").fetchone()
        first, second = (conn.execute("SELECT now()").fetchone() for _ in range(2))
        assert between is not None
        assert first is not None
        assert first[0] > between[0]
        assert first == second


def test_the_unnamed_portal_of_a_lazy_read_is_gone(cluster: Cluster, shared_beam: BeamFactory) -> None:
    """Who goes on with it after a Sync, as no driver does, is told so, and never that there are no more rows."""
    beam = shared_beam(cluster, "transaction", settings={"plugins": {"cache": {"l2": "off"}}})
    some = frames.parse("SELECT id FROM products ORDER BY id") + frames.bind()
    another = frames.parse("SELECT clock_timestamp()") + frames.bind(portal="p") + frames.execute("p")
    for on in (frames.execute("", 1), frames.describe(), another):
        with beam.wire() as client:
            client.ask(frames.query("BEGIN"))
            read = client.ask(some + frames.execute("", 1) + frames.sync())
            assert [frame.tag for frame in read] == [b"1", b"2", b"D", b"s", b"Z"]
            client.ask(on + frames.sync())
            last = client.ask(frames.execute("", 1) + frames.sync())
            assert error_fields(last[0].body)["C"] == "34000"
            assert last[-1].body == b"E"


@pytest.mark.parametrize("leaves", ["SET work_mem = '98kB'", "SET ROLE others", "SET app.tenant = 'theirs'"])
def test_out_of_a_failed_transaction_leads_nobody_to_anothers_settings(
    cluster: Cluster, shared_beam: BeamFactory, leaves: str
) -> None:
    """A read that fails late fails its transaction before a server has begun one; a savepoint leads on, on a server
    that another client had before."""
    beam = shared_beam(cluster, "transaction", settings={"plugins": {"pool": {"max_active": 1}}})
    mine = "SELECT current_user, current_setting('work_mem'), coalesce(current_setting('app.tenant', true), '')"
    with cluster.connect() as boss:
        boss.execute("DROP ROLE IF EXISTS others")
        boss.execute("CREATE ROLE others")
        boss.execute("GRANT others TO app")
        try:
            with psycopg.connect(beam.url(), autocommit=True) as other, beam.wire() as client:
                before = client.ask(frames.query(mine))
                for text in (
                    "BEGIN",
                    "SAVEPOINT s",
                    "SELECT repeat('x', 100), 1 / (9000 - i) FROM generate_series(1, 9000) i",
                ):
                    said = client.ask(frames.query(text))
                assert said[-1].body == b"E"
                other.execute(leaves.encode())
                other.execute("SELECT 1")
                for text in ("SELECT 2", "ROLLBACK TO s"):  # the first of which a server has to refuse
                    said = client.ask(frames.query(text))
                assert said[-1].body == b"T"
                assert client.ask(frames.query(mine))[:-1] == before[:-1]
        finally:
            boss.execute("DROP ROLE others")


def test_tables_only_read_are_not_locked(cluster: Cluster, shared_beam: BeamFactory) -> None:
    """DDL of others waits for nobody who has only read."""
    beam: Beam = shared_beam(cluster, "transaction")
    with cluster.connect() as boss, psycopg.connect(beam.url()) as conn:
        boss.execute("CREATE TABLE IF NOT EXISTS only_read AS SELECT 1 AS x")
        boss.execute("GRANT SELECT ON only_read TO PUBLIC")
        try:
            conn.execute("SELECT x FROM only_read")
            boss.execute("SET lock_timeout = '5s'")
        finally:
            boss.execute("DROP TABLE only_read")
        with pytest.raises(psycopg.errors.UndefinedTable):
            conn.execute("SELECT x FROM only_read")
