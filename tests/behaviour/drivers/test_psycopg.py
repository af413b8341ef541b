"""psycopg 3: prepared statements, pipelines, cursors, COPY, async, pool, notifications."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool

from .. import loops
from ..beams import Direct

BY_ID = "SELECT name FROM products WHERE id = %s"
thresholds = pytest.mark.parametrize("threshold", [0, 5, None])


def connect(leg: Direct, **options: Any) -> psycopg.Connection[tuple[Any, ...]]:
    """A connection that commits by itself, unless told otherwise."""
    return psycopg.connect(leg.url(), **{"autocommit": True, **options})


@thresholds
def test_repeated_queries(leg: Direct, threshold: int | None) -> None:
    """The same query many times, prepared at once, after five times or never."""
    with connect(leg, prepare_threshold=threshold) as conn:
        for number in range(1, 16):
            assert conn.execute(BY_ID, [number]).fetchone() == (f"product {number}",)


@thresholds
def test_many_connections_with_the_same_statement_names(leg: Direct, threshold: int | None) -> None:
    """psycopg calls its statements _pg3_0, _pg3_1 … on every connection; they do not clash."""
    connections = [connect(leg, prepare_threshold=threshold) for _ in range(4)]
    try:
        for turn in range(8):
            for number, conn in enumerate(connections):
                row = conn.execute(f"SELECT {number}, %s::int AS c{number}", [turn]).fetchone()
                assert row == (number, turn)
    finally:
        for conn in connections:
            conn.close()


@thresholds
def test_table_changes_between_queries(leg: Direct, threshold: int | None) -> None:
    """A prepared SELECT * of a table that got a column is 0A000 direct; PgBeam prepares it anew."""
    with connect(leg, prepare_threshold=threshold) as conn:
        conn.execute("CREATE TABLE changing AS SELECT 1 AS a")
        for _ in range(8):
            assert conn.execute("SELECT * FROM changing").fetchall() == [(1,)]
        with connect(leg) as other:
            other.execute("ALTER TABLE changing ADD COLUMN b int")
        if threshold is not None and leg.pool_mode == "direct":
            with pytest.raises(psycopg.errors.FeatureNotSupported):
                conn.execute("SELECT * FROM changing")
            return
        assert conn.execute("SELECT * FROM changing").fetchall() == [(1, None)]


def test_transaction_blocks_and_savepoints(leg: Direct) -> None:
    """Nested transaction() blocks: the inner one rolls back, the outer one commits."""
    with connect(leg) as conn:
        with conn.transaction():
            conn.execute("UPDATE accounts SET balance = 1 WHERE id = 1")
            with pytest.raises(psycopg.errors.DivisionByZero), conn.transaction():
                conn.execute("UPDATE accounts SET balance = 2 WHERE id = 1")
                conn.execute("SELECT 1/0")
        assert conn.execute("SELECT balance::int FROM accounts WHERE id = 1").fetchone() == (1,)
        assert conn.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


def test_not_autocommit(leg: Direct) -> None:
    """The default: a transaction begins with the first query and ends by commit or rollback."""
    with connect(leg, autocommit=False) as conn:
        conn.execute("DELETE FROM orders")
        conn.rollback()
        assert conn.execute("SELECT count(*) FROM orders").fetchone() == (50,)
        conn.commit()


def test_pipeline(leg: Direct) -> None:
    """Pipeline mode with several queries, a sync in between and results read afterwards."""
    with connect(leg) as conn, conn.pipeline() as pipeline:
        cursors = [conn.execute(BY_ID, [number]) for number in range(1, 11)]
        pipeline.sync()
        late = conn.execute("SELECT 'late'")
        assert [cursor.fetchone() for cursor in cursors] == [(f"product {number}",) for number in range(1, 11)]
        assert late.fetchone() == ("late",)


def test_pipeline_error(leg: Direct) -> None:
    """An error in a pipeline aborts what follows it, and the connection is usable afterwards."""
    with connect(leg) as conn:
        with pytest.raises(psycopg.errors.DivisionByZero), conn.pipeline() as pipeline:
            conn.execute("SELECT 1/0")
            after = conn.execute("SELECT 'aborted'")
            pipeline.sync()
            after.fetchone()
        assert conn.execute("SELECT 'fine'").fetchone() == ("fine",)


def test_executemany_with_returning(leg: Direct) -> None:
    """executemany() pipelines its executions and can return rows of each."""
    with connect(leg) as conn, conn.cursor() as cur:
        rows = [(500 + number, f"n{number}") for number in range(50)]
        cur.executemany("INSERT INTO categories VALUES (%s, %s) RETURNING id", rows, returning=True)
        got = [result.fetchone() for result in cur.results()]
    assert got == [(500 + number,) for number in range(50)]


def test_server_side_cursor(leg: Direct) -> None:
    """A named cursor within a transaction, scrolled and iterated."""
    with connect(leg, autocommit=False) as conn:
        with conn.cursor("big", scrollable=True) as cur:
            cur.itersize = 7
            cur.execute("SELECT i FROM generate_series(1, 100) i")
            assert sum(row[0] for row in cur) == 5050
            cur.scroll(10, mode="absolute")
            assert cur.fetchone() == (11,)
        conn.rollback()


def test_server_side_cursor_with_hold(leg: Direct) -> None:
    """A WITH HOLD cursor outlives its transaction."""
    with connect(leg) as conn, conn.cursor("held", withhold=True) as cur:
        cur.execute("SELECT i FROM generate_series(1, 10) i")
        assert cur.fetchmany(3) == [(1,), (2,), (3,)]
        assert conn.execute("SELECT 1").fetchone() == (1,)
        assert len(cur.fetchall()) == 7


def test_copy_both_ways(leg: Direct) -> None:
    """copy() in and out, by rows and in binary."""
    with connect(leg) as conn, conn.cursor() as cur:
        with cur.copy("COPY categories FROM STDIN (FORMAT binary)") as copy:
            copy.set_types(["int4", "text"])
            for number in range(600, 1600):
                copy.write_row((number, f"copied {number}"))
        with cur.copy("COPY (SELECT id, name FROM categories WHERE id >= 600 ORDER BY id) TO STDOUT") as copy:
            copy.set_types(["int4", "text"])
            assert list(copy.rows()) == [(number, f"copied {number}") for number in range(600, 1600)]


def test_copy_given_up(leg: Direct) -> None:
    """An exception within copy() cancels it with CopyFail and nothing is stored."""
    with connect(leg) as conn, conn.cursor() as cur:
        with pytest.raises(RuntimeError), cur.copy("COPY categories FROM STDIN") as copy:
            copy.write_row((700, "x"))
            raise RuntimeError("changed my mind")
        assert conn.execute("SELECT count(*) FROM categories WHERE id = 700").fetchone() == (0,)


def test_copy_out_given_up(leg: Direct) -> None:
    """An exception while reading a COPY TO cancels it, and the connection goes on."""
    with connect(leg) as conn, conn.cursor() as cur:
        with (
            pytest.raises(RuntimeError),
            cur.copy("COPY (SELECT generate_series(1, 3000000)) TO STDOUT") as copy,
        ):
            next(iter(copy))
            raise RuntimeError("seen enough")
        assert conn.execute("SELECT 1").fetchone() == (1,)


def test_stream(leg: Direct) -> None:
    """stream() fetches row by row in single-row mode."""
    with connect(leg) as conn, conn.cursor() as cur:
        assert sum(row[0] for row in cur.stream("SELECT generate_series(1, 1000)")) == 500500


def test_binary_results_and_parameters(leg: Direct) -> None:
    """Binary cursors give the same Python values as text."""
    sql = "SELECT %b::int8, %b::float8, %b::bytea, ARRAY[1, NULL]::int[], now() IS NOT NULL, '1.10'::numeric"
    with connect(leg) as conn, conn.cursor(binary=True) as cur:
        row = cur.execute(sql, [2**40, 0.1, b"\0\xff"]).fetchone()
    assert row is not None
    assert row[:4] == (2**40, 0.1, b"\0\xff", [1, None])


def test_cancel(leg: Direct) -> None:
    """cancel_safe() from another thread ends the query with QueryCanceled."""

    async def run() -> None:
        conn = await psycopg.AsyncConnection.connect(leg.url(), autocommit=True)
        async with conn:
            task = asyncio.create_task(conn.execute("SELECT pg_sleep(20)"))
            await asyncio.sleep(0.3)
            await conn.cancel_safe(timeout=5)
            with pytest.raises(psycopg.errors.QueryCanceled):
                await task
            cur = await conn.execute("SELECT 'alive'")
            assert await cur.fetchone() == ("alive",)

    loops.run(run())


def test_notifies(leg: Direct) -> None:
    """notifies() hears what another connection says, payload and channel."""
    with connect(leg) as conn, connect(leg) as other:
        conn.execute("LISTEN till")
        other.execute("NOTIFY till, 'ring'")
        heard = next(conn.notifies(timeout=5))
        conn.execute("UNLISTEN *")
    assert (heard.channel, heard.payload) == ("till", "ring")


def test_notices(leg: Direct) -> None:
    """Notice handlers get severity, text and hint."""
    seen: list[tuple[str | None, str | None]] = []
    with connect(leg) as conn:
        conn.add_notice_handler(lambda notice: seen.append((notice.severity, notice.message_primary)))
        conn.execute("DO $$ BEGIN RAISE WARNING 'careful'; END $$")
    assert seen == [("WARNING", "careful")]


def test_many_async_clients(leg: Direct) -> None:
    """Fifty concurrent connections, each with queries and transactions of its own."""

    async def client(number: int) -> int:
        conn = await psycopg.AsyncConnection.connect(leg.url(), row_factory=dict_row)
        async with conn:
            for turn in range(5):
                cur = await conn.execute("SELECT %s::int AS me, %s::int AS turn", [number, turn])
                assert await cur.fetchone() == {"me": number, "turn": turn}
                await conn.commit()
        return number

    async def run() -> list[int]:
        return await asyncio.gather(*map(client, range(50)))

    assert loops.run(run()) == list(range(50))


def test_pool(leg: Direct) -> None:
    """ConnectionPool checks, resets and reuses its connections."""
    with ConnectionPool(leg.url(), min_size=1, max_size=3, check=ConnectionPool.check_connection) as pool:
        for number in range(1, 20):
            with pool.connection() as conn:
                assert conn.execute(BY_ID, [number]).fetchone() == (f"product {number}",)


def test_two_phase_commit(leg: Direct) -> None:
    """tpc_begin, tpc_prepare and tpc_commit."""
    with connect(leg, autocommit=False) as conn:
        xid = conn.xid(1, f"gtrid-{leg.pool_mode}", "bqual")
        conn.tpc_begin(xid)
        conn.execute("UPDATE accounts SET balance = 7 WHERE id = 3")
        conn.tpc_prepare()
        conn.tpc_commit()
        assert conn.execute("SELECT balance::int FROM accounts WHERE id = 3").fetchone() == (7,)


def test_connection_options(leg: Direct) -> None:
    """application_name and options of the URL are in force, and info tells the server's parameters."""
    url = leg.url(application_name="till", options="-c search_path=pg_catalog -c TimeZone=Asia/Tokyo")
    with psycopg.connect(url) as conn:
        row = conn.execute("SELECT current_setting('application_name'), current_setting('search_path')").fetchone()
        assert row == ("till", "pg_catalog")
        assert conn.info.parameter_status("TimeZone") == "Asia/Tokyo"
