"""Clients that have asked once and are quiet since: what each costs the proxy in memory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from bench.errors import RunFailed
from bench.figures import Goal, Sample
from bench.places import DATABASE, PROXIES, USER, Place
from bench.proc import memory_bytes
from bench.stage import Stage
from bench.tls import quiet_clients
from pgbeam_core.embedded.postgres import HOST

AT_ONCE = 50
CONNECT_S = 30.0
QUIET_S = 1.0
WORDS = b"user\0" + USER.encode() + b"\0database\0" + DATABASE.encode() + b"\0\0"
STARTUP = (len(WORDS) + 8).to_bytes(4, "big") + (3 << 16).to_bytes(4, "big") + WORDS
QUERY = b"Q" + (4 + len(b"SELECT 1\0")).to_bytes(4, "big") + b"SELECT 1\0"

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True)
class IdleWork:
    """So many clients at a proxy of their own, started for them: memory used before would be used again unseen."""

    clients: int
    ways: tuple[str, ...]
    goals: tuple[Goal, ...] = ()
    encrypted: bool = False
    group: str = "idle"
    unit: str = "connection"

    @property
    def name(self) -> str:
        """How tables call it."""
        return f"idle{' over TLS' if self.encrypted else ''}, {self.clients:,} clients"

    def prepare(self, stage: Stage, place: Place) -> None:
        """There is nothing to warm up."""

    def once(self, stage: Stage, place: Place) -> Sample:
        """Connect, wait, weigh."""
        with PROXIES[place.way](stage.setup) as fresh:
            # Its first client brings what is there once, however many clients follow.
            weigh = _weigh_encrypted if self.encrypted else _weigh_plain
            weigh(fresh, 1)
            grown, took_s = weigh(fresh, self.clients)
            return Sample(rate=self.clients / took_s, bytes_each=grown / self.clients, clients=self.clients)


def _weigh_plain(place: Place, clients: int) -> tuple[int, float]:
    return asyncio.run(_weigh(place, clients))


def _weigh_encrypted(place: Place, clients: int) -> tuple[int, float]:
    assert place.pid is not None
    before, begin = memory_bytes(place.pid), time.perf_counter()
    try:
        with quiet_clients(place.port, clients, (STARTUP, QUERY), CONNECT_S):
            took_s = time.perf_counter() - begin
            time.sleep(QUIET_S)
            return memory_bytes(place.pid) - before, took_s
    except OSError as error:
        raise RunFailed(repr(error)) from None


async def _weigh(place: Place, clients: int) -> tuple[int, float]:
    """(bytes that the proxy grew by, seconds that connecting took)."""
    assert place.pid is not None
    before, begin = memory_bytes(place.pid), time.perf_counter()
    async with _connected(place.port, clients):
        took_s = time.perf_counter() - begin
        await asyncio.sleep(QUIET_S)
        return memory_bytes(place.pid) - before, took_s


@asynccontextmanager
async def _connected(port: int, clients: int) -> AsyncIterator[None]:
    opened: list[Connection] = []
    gate = asyncio.Semaphore(AT_ONCE)

    async def one() -> None:
        async with gate, asyncio.timeout(CONNECT_S):
            opened.append(await _connect(port))

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(clients):
                group.create_task(one())
        yield
    except* (OSError, EOFError, TimeoutError) as errors:
        raise RunFailed(f"after {len(opened)} clients: {errors.exceptions[0]!r}") from None
    finally:
        for _, writer in opened:
            writer.transport.abort()
        await asyncio.sleep(0)


async def _connect(port: int) -> Connection:
    """Log in and ask once, as a quiet client has done something before."""
    reader, writer = await asyncio.open_connection(HOST, port, limit=1024)
    try:
        for packet in (STARTUP, QUERY):
            writer.write(packet)
            await _until_ready(reader)
    except BaseException:
        writer.transport.abort()
        raise
    return reader, writer


async def _until_ready(reader: asyncio.StreamReader) -> None:
    while True:
        header = await reader.readexactly(5)
        body = await reader.readexactly(int.from_bytes(header[1:], "big") - 4)
        if header[:1] == b"E":
            raise ConnectionError(body.replace(b"\0", b" ").decode("utf-8", "replace"))
        if header[:1] == b"Z":
            return
