"""Two hundred clients come, ask and go at random while their servers are killed: nobody ever gets another's reply."""

from __future__ import annotations

import asyncio
import os
import random
import struct
import time
from dataclasses import dataclass, field

import pytest

from tests.behaviour import frames, loops
from tests.behaviour.beams import Beam, Direct
from tests.behaviour.clusters import Cluster
from tests.behaviour.conftest import BeamFactory

CLIENTS = 200
SECONDS = float(os.environ.get("SOAK_SECONDS", "15"))
SEED = 20240229
SERVERS = 20
NAMES = 3
"""Clients of one name have equal settings, so they may be on one server at a time."""


@dataclass
class Tally:
    """What happened to all clients together."""

    answered: int = 0
    lost: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    foreign: list[str] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)


class Mortal:
    """One client's life: connect, ask with tokens of its own, leave in one way or another, again and again."""

    def __init__(self, number: int, port: int, tally: Tally) -> None:
        self.number, self.port, self.tally = number, port, tally
        self.random = random.Random(SEED + number)
        self.serial = 0
        self._sent = b""
        self._closes_first = False
        """An error may have left a statement that the client was told of and whose Close was skipped."""

    async def live(self, until: float) -> None:
        """Come and go until that moment of the monotonic clock."""
        while time.monotonic() < until:
            try:
                await asyncio.wait_for(self._visit(), 20)
            except (ConnectionError, asyncio.IncompleteReadError):
                self.tally.lost += 1
            except TimeoutError:
                self.tally.silent.append(f"client {self.number} after {self.serial} requests, the last {self._sent!r}")
            await asyncio.sleep(self.random.random() * 0.05)

    async def _visit(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self._closes_first = False
        try:
            name = f"client {self.number % NAMES}"
            writer.write(frames.startup({"user": "app", "database": "shop", "application_name": name}))
            if not await self._ready(reader, []):
                return
            for _ in range(self.random.randint(1, 12)):
                self._sent = self._request()
                writer.write(self._sent)
                if self._leaves(writer):
                    return
                if not await self._ready(reader, self._expected):
                    return
            writer.write(frames.terminate())
        finally:
            writer.close()

    def _request(self) -> bytes:
        """A request whose rows all carry a token that no other request ever has."""
        requests, self._expected = [], []
        kind = self.random.choice(["simple", "extended", "pipeline", "transaction", "slow", "named"])
        for _ in range(self.random.randint(2, 6) if kind == "pipeline" else 1):
            self.serial += 1
            token = f"<{self.number}:{self.serial}>"
            requests.append(self._one(kind, token))
            self._expected.append(token.encode())
        if kind == "transaction":
            requests = [frames.query("BEGIN; " + f"SELECT '{token}'; " + self.random.choice(["COMMIT", "ROLLBACK"]))]
        return b"".join(requests)

    def _one(self, kind: str, token: str) -> bytes:
        if kind in ("simple", "transaction"):
            return frames.query(f"SELECT '{token}'")
        if kind == "slow":
            return frames.query(f"SELECT '{token}', pg_sleep({self.random.random() * 0.05:.3f})")
        if kind == "named":
            before = frames.close("mine") if self._closes_first else b""
            self._closes_first = False
            used = frames.bind(token.encode(), statement="mine") + frames.execute()
            return before + frames.parse("SELECT $1::text", "mine") + used + frames.close("mine") + frames.sync()
        return frames.extended("SELECT $1::text, 'x'", token.encode()) + frames.sync()

    def _leaves(self, writer: asyncio.StreamWriter) -> bool:
        """Now and then go in the middle of a query, politely or with a reset."""
        if self.random.random() > 0.08:
            return False
        if self.random.random() < 0.5:
            sock = writer.get_extra_info("socket")
            sock.setsockopt(1, 13, struct.pack("ii", 1, 0))  # SO_LINGER 0: close() resets
            writer.transport.abort()
        return True

    async def _ready(self, reader: asyncio.StreamReader, tokens: list[bytes]) -> bool:
        """Read one ReadyForQuery per token (one for a login); False after a FATAL error."""
        for token in tokens or [b""]:
            while True:
                tag, size = struct.unpack("!ci", await reader.readexactly(5))
                body = await reader.readexactly(size - 4)
                if tag == b"D" and token not in body:
                    self.tally.foreign.append(f"expected {token!r}, got {body!r}")
                if tag == b"E":
                    code = body.split(b"\0C", 1)[1].split(b"\0", 1)[0].decode()
                    self.tally.errors[code] = self.tally.errors.get(code, 0) + 1
                    self._closes_first = True
                    if b"VFATAL" in body:
                        return False
                if tag == b"Z":
                    break
            self.tally.answered += 1
        return True


async def killer(cluster: Cluster, until: float) -> int:
    """Terminate a random backend of the application every now and then."""
    chance, killed = random.Random(SEED), 0
    pick = "SELECT pid FROM pg_stat_activity WHERE usename = 'app' ORDER BY pid"
    with cluster.connect() as boss:
        while time.monotonic() < until:
            await asyncio.sleep(chance.random() * 0.1)
            if pids := boss.execute(pick).fetchall():
                boss.execute("SELECT pg_terminate_backend(%s)", chance.choice(pids))
                killed += 1
    return killed


def storm(place: Direct, seconds: float) -> tuple[Tally, int]:
    """All clients and the killer at once; what happened, and how many servers were killed."""
    tally = Tally()

    async def run() -> int:
        until = time.monotonic() + seconds
        clients = [Mortal(number, place.port, tally).live(until) for number in range(CLIENTS)]
        killing = asyncio.create_task(killer(place.cluster, until))
        await asyncio.gather(*clients)
        return await killing

    return tally, loops.run(run())


def check(tally: Tally, killed: int) -> None:
    """Nobody got a foreign reply or waited in vain, most got their own, and the errors are those of killed servers."""
    assert tally.foreign == []
    assert tally.silent == []
    assert tally.answered > 1000, tally
    assert killed >= 5
    assert set(tally.errors) <= {"57P01", "08006", "53300"}, tally.errors


def wait_for_descriptors(beam: Beam, most: int) -> None:
    """Closing takes a moment; after some seconds a surplus is a leak."""
    deadline = time.monotonic() + 10
    while beam.descriptors() > most:
        assert time.monotonic() < deadline, f"{beam.descriptors()} descriptors open, at most {most} expected"
        time.sleep(0.1)


@pytest.mark.slow
def test_the_storm_itself(cluster: Cluster) -> None:
    """The clients and the killer against the server direct: the test has no mistake of its own."""
    check(*storm(Direct(cluster), 4))


@pytest.mark.slow
@pytest.mark.parametrize(("pool_mode", "share"), [("session", True), ("transaction", True), ("transaction", False)])
def test_no_reply_reaches_a_wrong_client(cluster: Cluster, pool_mode: str, share: bool, beam: BeamFactory) -> None:
    """While clients leave and servers die each reply carries its client's token, and in the end nothing has leaked."""
    servers = 250 if pool_mode == "session" else SERVERS
    settings = {"plugins": {"pool": {"max_active": servers, "share": share}}}
    mine = beam(cluster, pool_mode, settings=settings, witnessed=True)
    with mine.wire() as first:
        first.ask(frames.query("SELECT 1"))
    before = mine.descriptors() - len(mine.servers())
    check(*storm(mine, SECONDS))
    mine.wait_until_idle(10)
    assert len(mine.servers()) <= servers
    wait_for_descriptors(mine, before + len(mine.servers()))
    assert (mine.shared_turns() > 1000) is mine.shares
    with mine.wire() as last:
        assert last.ask(frames.query("SELECT 'still here'"))[-1].body == b"I"
