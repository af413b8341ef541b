"""asyncpg: its statement cache, cursors, LISTEN, type introspection, COPY, cancellation."""

from __future__ import annotations

import asyncio
import datetime as dt
import io
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg  # type: ignore[import-untyped]
import pytest

from .. import loops
from ..beams import Direct

Work = Callable[[Any], Awaitable[None]]


def with_connection(leg: Direct, work: Work, **options: Any) -> None:
    """Run the work with a connection that is closed afterwards."""

    async def run() -> None:
        conn = await asyncpg.connect(leg.url(), **options)
        try:
            await asyncio.wait_for(work(conn), 30)
        finally:
            await conn.close(timeout=5)

    loops.run(run())


@pytest.mark.parametrize("cached", [0, 100])
def test_statement_cache(leg: Direct, cached: int) -> None:
    """Repeated queries with and without asyncpg's cache of named statements."""

    async def work(conn: Any) -> None:
        for number in range(1, 12):
            assert await conn.fetchval("SELECT name FROM products WHERE id = $1", number) == f"product {number}"
            async with conn.transaction():
                assert await conn.fetchval("SELECT $1::text || $2::text", "a", str(number)) == f"a{number}"

    with_connection(leg, work, statement_cache_size=cached)


def test_many_connections_share_statement_names(leg: Direct) -> None:
    """asyncpg numbers its statements per connection; many connections at once do not clash."""

    async def client(number: int) -> None:
        conn = await asyncpg.connect(leg.url())
        for turn in range(6):
            assert await conn.fetchrow(f"SELECT {number}::int AS a, $1::int AS b{number}", turn) == (number, turn)
        await conn.close()

    async def run() -> None:
        await asyncio.gather(*map(client, range(30)))

    loops.run(run())


def test_table_changes(leg: Direct) -> None:
    """A cached statement whose table changed: asyncpg's own handling of it works as direct."""

    async def work(conn: Any) -> None:
        await conn.execute("CREATE TABLE changing (a int); INSERT INTO changing VALUES (1)")
        assert await conn.fetch("SELECT * FROM changing") == [(1,)]
        await conn.execute("ALTER TABLE changing ADD COLUMN b int")
        assert await conn.fetch("SELECT * FROM changing") == [(1, None)]

    with_connection(leg, work)


def test_cursors(leg: Direct) -> None:
    """Iterating a query in a transaction fetches by portal with a row limit."""

    async def work(conn: Any) -> None:
        async with conn.transaction():
            got = [row["i"] async for row in conn.cursor("SELECT i FROM generate_series(1, 120) i", prefetch=13)]
            assert got == list(range(1, 121))
            cursor = await conn.cursor("SELECT i FROM generate_series(1, 20) i")
            await cursor.forward(5)
            assert await cursor.fetchrow() == (6,)

    with_connection(leg, work)


def test_listen(leg: Direct) -> None:
    """A listener is called for notifications from another connection, and not after its removal."""

    async def work(conn: Any) -> None:
        heard: asyncio.Queue[tuple[str, str]] = asyncio.Queue()

        def hear(_conn: Any, _pid: int, channel: str, payload: str) -> None:
            heard.put_nowait((channel, payload))

        await conn.add_listener("till", hear)
        other = await asyncpg.connect(leg.url())
        await other.execute("NOTIFY till, 'ring'")
        assert await asyncio.wait_for(heard.get(), 5) == ("till", "ring")
        await conn.remove_listener("till", hear)
        await other.execute("NOTIFY till, 'again'")
        await other.close()
        await asyncio.sleep(0.1)
        assert heard.empty()

    with_connection(leg, work)


def test_type_introspection(leg: Direct) -> None:
    """Enums, composites, domains, arrays of them and ranges are introspected and come back as values."""

    async def work(conn: Any) -> None:
        await conn.execute("CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TYPE pair AS (a int, b mood)")
        await conn.execute("CREATE DOMAIN small AS int CHECK (VALUE < 10)")
        assert await conn.fetchval("SELECT $1::mood", "ok") == "ok"
        assert await conn.fetchval("SELECT ROW(1, 'sad')::pair") == (1, "sad")
        assert await conn.fetchval("SELECT $1::mood[]", ["ok", "sad"]) == ["ok", "sad"]
        assert await conn.fetchval("SELECT ARRAY[1, 2]::small[]") == [1, 2]
        assert await conn.fetchval("SELECT int4range(1, 5)") == asyncpg.Range(1, 5)

    with_connection(leg, work)


def test_own_codec(leg: Direct) -> None:
    """set_type_codec looks the type up in the catalog first."""

    async def work(conn: Any) -> None:
        await conn.set_type_codec("json", encoder=str, decoder=lambda text: ("json", text), schema="pg_catalog")
        assert await conn.fetchval("SELECT '[1]'::json") == ("json", "[1]")

    with_connection(leg, work)


def test_copy(leg: Direct) -> None:
    """copy_records_to_table and copy_from_query, text and binary."""

    async def work(conn: Any) -> None:
        rows = [(800 + number, f"r{number}") for number in range(500)]
        assert await conn.copy_records_to_table("categories", records=rows) == "COPY 500"
        out = io.BytesIO()
        await conn.copy_from_query("SELECT id FROM categories WHERE id >= $1 ORDER BY id", 800, output=out)
        assert out.getvalue().splitlines() == [str(800 + number).encode() for number in range(500)]

    with_connection(leg, work)


def test_nested_transactions(leg: Direct) -> None:
    """Savepoints by nested transaction() blocks."""

    async def work(conn: Any) -> None:
        async with conn.transaction():
            await conn.execute("UPDATE accounts SET balance = 5 WHERE id = 1")
            with pytest.raises(asyncpg.DivisionByZeroError):
                async with conn.transaction():
                    await conn.execute("SELECT 1/0")
        assert await conn.fetchval("SELECT balance::int FROM accounts WHERE id = 1") == 5

    with_connection(leg, work)


def test_timeout_cancels(leg: Direct) -> None:
    """A client-side timeout sends a cancel; the connection can be used at once again."""

    async def work(conn: Any) -> None:
        with pytest.raises(asyncio.TimeoutError):
            await conn.fetchval("SELECT pg_sleep(20)", timeout=0.3)
        assert await conn.fetchval("SELECT 'alive'") == "alive"

    with_connection(leg, work)


def test_pool_resets_its_connections(leg: Direct) -> None:
    """Pool.release runs asyncpg's reset query, with its advisory unlock, CLOSE ALL, UNLISTEN and RESET ALL."""

    async def run() -> None:
        async with asyncpg.create_pool(leg.url(), min_size=1, max_size=4) as pool:

            async def one(number: int) -> Any:
                async with pool.acquire() as conn:
                    await conn.execute(f"SET application_name = 'worker {number}'")
                    return await conn.fetchval("SHOW application_name")

            got = await asyncio.gather(*map(one, range(20)))
            assert got == [f"worker {number}" for number in range(20)]
            assert await pool.fetchval("SHOW application_name") == ""

    loops.run(run())


def test_executemany_and_dates(leg: Direct) -> None:
    """executemany is one implicit transaction, and binary dates come back as dates."""

    async def work(conn: Any) -> None:
        await conn.executemany("INSERT INTO categories VALUES ($1, $2)", [(900 + n, "m") for n in range(20)])
        with pytest.raises(asyncpg.UniqueViolationError):
            await conn.executemany("INSERT INTO categories VALUES ($1, $2)", [(950, "m"), (900, "m")])
        assert await conn.fetchval("SELECT count(*) FROM categories WHERE id >= 900") == 20
        assert await conn.fetchval("SELECT $1::date", dt.date(2024, 2, 29)) == dt.date(2024, 2, 29)

    with_connection(leg, work)


def test_server_settings(leg: Direct) -> None:
    """server_settings are startup parameters, and RESET returns to them."""

    async def work(conn: Any) -> None:
        await conn.execute("SET TIME ZONE 'UTC'")
        await conn.execute("RESET ALL")
        assert await conn.fetchval("SHOW TimeZone") == "Asia/Tokyo"
        assert await conn.fetchval("SHOW search_path") == "pg_catalog"

    with_connection(leg, work, server_settings={"timezone": "Asia/Tokyo", "search_path": "pg_catalog"})
