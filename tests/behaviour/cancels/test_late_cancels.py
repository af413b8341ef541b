"""Cancel requests that come too late: what a client asks once its cancel request was answered is never hit."""

from __future__ import annotations

import random
import select
import threading
from collections.abc import Callable
from typing import Any

import asyncpg  # type: ignore[import-untyped]
import psycopg
import psycopg2
import pytest

from tests.behaviour import frames
from tests.behaviour.beams import Direct
from tests.behaviour.clusters import Cluster
from tests.behaviour.conftest import BeamFactory
from tests.behaviour.loops import run
from tests.behaviour.wireclient import error_fields

pytestmark = [pytest.mark.pg, pytest.mark.newest]

ROUNDS = 150
CANCELLED = "57014"
SHORT = "SELECT count(*) FROM generate_series(1, 2000)"
NEXT = "SELECT 'next', count(*) FROM generate_series(1, 30000)"


@pytest.fixture(params=["direct", "session", "transaction", "workers"])
def place(request: pytest.FixtureRequest, cluster: Cluster, shared_beam: BeamFactory) -> Direct:
    """The server itself, and PgBeam in front of it."""
    if request.param == "direct":
        return Direct(cluster)
    if request.param == "workers":
        return shared_beam(cluster, "transaction", settings={"workers": 2})
    return shared_beam(cluster, request.param)


def sqlstate(reply: list[Any]) -> str:
    """Of the error in a reply, or nothing."""
    return next((error_fields(frame.body)["C"] for frame in reply if frame.tag == b"E"), "")


def wire_hits(place: Direct, begin: str, rounds: int) -> int:
    """How many of a raw client's statements were hit by a cancel request that was over before they were sent."""
    chance, hits = random.Random(7), 0
    with place.wire() as client:
        for number in range(rounds):
            if begin:
                client.ask(frames.query(begin))
            client.send(frames.query(SHORT))
            wait = threading.Event()
            wait.wait(chance.random() * 0.0012)
            client.cancel()
            client.until(b"Z")
            if begin and sqlstate(client.ask(frames.query("SAVEPOINT a"))):
                client.ask(frames.query("ROLLBACK"))
                continue
            asked = frames.query(NEXT) if number % 2 else frames.extended(NEXT) + frames.sync()
            hits += sqlstate(client.ask(asked)) == CANCELLED
            if begin:
                client.ask(frames.query("ROLLBACK"))
    return hits


@pytest.mark.parametrize("begin", ["", "BEGIN"])
def test_a_late_cancel_hits_nothing(place: Direct, begin: str) -> None:
    """In and outside transactions, in every mode, the next statement is never cancelled."""
    assert wire_hits(place, begin, ROUNDS) == 0


def psycopg_cancels(conn: Any) -> None:
    """As psycopg 3.2 does it: libpq's PQcancelBlocking, which waits for the end of the connection."""
    conn.cancel_safe(timeout=10)


def libpq_cancels(conn: Any) -> None:
    """As older clients do it: libpq's PQcancel."""
    conn.cancel()


@pytest.mark.parametrize("how", [psycopg_cancels, libpq_cancels])
def test_psycopgs_late_cancels(place: Direct, how: Callable[[Any], None]) -> None:
    """A pool of applications that cancels and asks again: only what was cancelled is."""
    chance, hits = random.Random(8), 0
    connect: Any = psycopg.connect if how is psycopg_cancels else psycopg2.connect
    conn = connect(place.url())
    conn.autocommit = False
    cursor = conn.cursor()
    for _ in range(ROUNDS):
        started = threading.Event()

        def cancel(started: threading.Event = started, wait: float = chance.random() * 0.002) -> None:
            started.wait()
            threading.Event().wait(wait)
            how(conn)

        canceller = threading.Thread(target=cancel)
        canceller.start()
        started.set()
        try:
            cursor.execute(SHORT)
        except (psycopg.errors.QueryCanceled, psycopg2.errors.QueryCanceled):
            conn.rollback()
        canceller.join()
        try:
            cursor.execute(NEXT)
            cursor.fetchall()
        except (psycopg.errors.QueryCanceled, psycopg2.errors.QueryCanceled):
            hits += 1
        conn.rollback()
    conn.close()
    assert hits == 0


def test_asyncpgs_timeouts(place: Direct) -> None:
    """asyncpg cancels what takes longer than a timeout, waits until that is through, and the connection goes on."""

    async def hits() -> int:
        conn, hit, chance = await asyncpg.connect(place.url()), 0, random.Random(9)
        for _ in range(ROUNDS // 3):
            async with conn.transaction():
                try:
                    async with conn.transaction():
                        await conn.fetch(SHORT, timeout=0.0002 + chance.random() * 0.002)
                except (TimeoutError, asyncpg.QueryCanceledError):
                    pass
                try:
                    await conn.fetch(NEXT)
                except asyncpg.QueryCanceledError:
                    hit += 1
        await conn.close()
        return hit

    assert run(hits()) == 0


def test_a_second_cancel_is_not_lost(place: Direct) -> None:
    """A client that cancels nothing and then, at once, something: that one ends."""
    with place.wire() as client:
        for number in range(20):
            begin = number % 2
            client.ask(frames.query("BEGIN" if begin else "SELECT 1"))
            first = threading.Thread(target=client.cancel)
            first.start()
            client.send(frames.query("SELECT pg_sleep(20)"))
            threading.Event().wait(0.002 * (number % 5))
            second = threading.Thread(target=client.cancel)
            second.start()
            first.join()
            second.join()
            # A busy machine may not have begun with the statement yet: then there was nothing to cancel, direct too.
            while not select.select([client.socket], [], [], 0.03)[0]:
                client.cancel()
            assert sqlstate(client.until(b"Z")) == CANCELLED
            client.ask(frames.query("ROLLBACK"))
