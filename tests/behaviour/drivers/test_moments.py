"""What drivers' own test suites do to a proxy: notifications and cancels at any moment."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import asyncpg  # type: ignore[import-untyped]
import pg8000.native  # type: ignore[import-untyped]
import psycopg
import psycopg2  # type: ignore[import-untyped]
import psycopg2.extensions  # type: ignore[import-untyped]
import pytest

from .. import loops
from ..beams import Direct
from ..clusters import DATABASE

CALLS = 100
CANCELS = 40
OWN = "CREATE FUNCTION own(n int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN n; END $$"


def connect(leg: Direct, **options: Any) -> psycopg.Connection[tuple[Any, ...]]:
    """A connection that commits by itself, unless told otherwise."""
    return psycopg.connect(leg.url(), **{"autocommit": True, **options})


# Notifications while PgBeam asks the server something of its own: it does after functions of the users'.


@pytest.fixture
def own(leg: Direct) -> None:
    """A function of the users' own."""
    with leg.cluster.connect("app") as app:
        app.execute(OWN)


def tell(leg: Direct) -> None:
    """CALLS notifications, one after the other."""
    with leg.cluster.connect("app") as speaker:
        for number in range(CALLS):
            speaker.execute("SELECT pg_notify('till', %s)", [str(number)])


def heard_by_psycopg(leg: Direct) -> list[str]:
    """What psycopg hears while it calls the function all the time."""
    heard: list[str] = []
    with connect(leg) as conn:
        conn.add_notify_handler(lambda note: heard.append(note.payload))
        conn.execute("LISTEN till")
        speaker = threading.Thread(target=tell, args=[leg])
        speaker.start()
        while speaker.is_alive():
            conn.execute("SELECT own(1)")
        until = time.monotonic() + 5
        while len(heard) < CALLS and time.monotonic() < until:
            conn.execute("SELECT own(1)")
    return heard


def heard_by_psycopg2(leg: Direct) -> list[str]:
    """Likewise psycopg2, which keeps them in a list."""
    conn = psycopg2.connect(leg.url())
    conn.autocommit = True
    try:
        with conn.cursor() as cur:
            cur.execute("LISTEN till")
            speaker = threading.Thread(target=tell, args=[leg])
            speaker.start()
            while speaker.is_alive():
                cur.execute("SELECT own(1)")
            until = time.monotonic() + 5
            while len(conn.notifies) < CALLS and time.monotonic() < until:
                cur.execute("SELECT own(1)")
        return [note.payload for note in conn.notifies]
    finally:
        conn.close()


def heard_by_pg8000(leg: Direct) -> list[str]:
    """Likewise pg8000, whose list forgets after a hundred."""
    conn = pg8000.native.Connection("app", host="127.0.0.1", port=leg.port, database=DATABASE)
    try:
        conn.run("LISTEN till")
        speaker = threading.Thread(target=tell, args=[leg])
        speaker.start()
        while speaker.is_alive():
            conn.run("SELECT own(1)")
        until = time.monotonic() + 5
        while len(conn.notifications) < CALLS and time.monotonic() < until:
            conn.run("SELECT own(1)")
        return [payload for _, _, payload in conn.notifications]
    finally:
        conn.close()


def heard_by_asyncpg(leg: Direct) -> list[str]:
    """Likewise asyncpg, with its listeners."""
    heard: list[str] = []

    async def run() -> None:
        conn = await asyncpg.connect(leg.url())
        await conn.add_listener("till", lambda _conn, _pid, _channel, payload: heard.append(payload))
        telling = asyncio.create_task(asyncio.to_thread(tell, leg))
        while not telling.done():
            await conn.fetchval("SELECT own(1)")
        until = time.monotonic() + 5
        while len(heard) < CALLS and time.monotonic() < until:
            await conn.fetchval("SELECT own(1)")
        await telling
        await conn.close(timeout=5)

    loops.run(run())
    return heard


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize("listener", [heard_by_psycopg, heard_by_psycopg2, heard_by_pg8000, heard_by_asyncpg])
def test_no_notification_is_lost(leg: Direct, listener: Any) -> None:
    """Whoever listens while calling functions of their own hears each notification, once, in order."""
    assert listener(leg) == [str(number) for number in range(CALLS)]


# Cancels that come late, or twice.


def test_psycopg_cancels_late(leg: Direct) -> None:
    """A cancel that comes when its statement is over, or nearly, never hits the next one in the transaction."""

    async def run() -> None:
        async with await psycopg.AsyncConnection.connect(leg.url(), autocommit=True) as conn:
            for number in range(CANCELS):
                await conn.execute("BEGIN")
                running = asyncio.create_task(conn.execute("SELECT pg_sleep(0.004)"))
                await asyncio.sleep(0.0005 * (number % 10))
                await conn.cancel_safe(timeout=10)
                try:
                    await running
                except psycopg.errors.QueryCanceled:
                    await conn.execute("ROLLBACK")
                else:
                    await conn.execute("SELECT 1")
                    await conn.execute("COMMIT")

    loops.run(run())


def test_psycopg2_cancels_late(leg: Direct) -> None:
    """Likewise psycopg2, whose cancel() returns when the server has closed the connection that it came by."""
    conn = psycopg2.connect(leg.url())
    conn.autocommit = True
    try:
        with conn.cursor() as cur:
            for number in range(CANCELS):
                canceller = threading.Timer(0.0005 * (number % 10), conn.cancel)
                canceller.start()
                try:
                    cur.execute("SELECT pg_sleep(0.004)")
                except psycopg2.extensions.QueryCanceledError:
                    pass
                finally:
                    canceller.join()
                cur.execute("SELECT %s", [number])
                assert cur.fetchone() == (number,)
    finally:
        conn.close()


def test_asyncpg_timeouts(leg: Direct) -> None:
    """asyncpg cancels what takes longer than its timeout, again and again, and nothing else is cancelled."""

    async def run() -> None:
        conn = await asyncpg.connect(leg.url())
        for number in range(15):
            with pytest.raises(TimeoutError):
                await conn.fetchval("SELECT pg_sleep(20)", timeout=0.03)
            assert await conn.fetchval("SELECT $1::int", number) == number
        await conn.close(timeout=5)

    loops.run(asyncio.wait_for(run(), 60))


def test_cancels_all_at_once(leg: Direct) -> None:
    """Of several cancels at the same moment one is enough, and the session goes on."""

    async def run() -> None:
        async with await psycopg.AsyncConnection.connect(leg.url(), autocommit=True) as conn:
            for number in range(8):
                running = asyncio.create_task(conn.execute("SELECT pg_sleep(20)"))
                await asyncio.sleep(0.05)
                await asyncio.gather(*(conn.cancel_safe(timeout=10) for _ in range(4)))
                with pytest.raises(psycopg.errors.QueryCanceled):
                    await asyncio.wait_for(running, 10)
                cur = await conn.execute("SELECT %s", [number])
                assert await cur.fetchone() == (number,)

    loops.run(run())
