"""A PgBeam in memory with all built-in plugins, liars on one side or the other, and an honest client."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from random import Random
from typing import Any

from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher

from pgbeam_cache import Caching
from pgbeam_core.testing import FakePostgres, Rehearsal, error, startup, table
from pgbeam_core.testing.clients import Client
from pgbeam_core.testing.fake_postgres import _Backend
from pgbeam_debug import Debug
from pgbeam_limits import Limits
from pgbeam_pool import Pools
from pgbeam_replica import Replicas
from tests.fuzz.material import conversations, messages
from tests.fuzz.mutations import mutated, pieces

SECONDS = float(os.environ.get("FUZZ_SECONDS", "4"))
"""For each test."""
FIRST = int(os.environ.get("FUZZ_SEED", "1"))
PATIENCE_S = 120.0
"""After so long nothing of a client that has left may be left."""
WORKING = ("active", "in_transaction", "servers_active", "servers_in_transaction", "clients_waiting")


def cases() -> Iterator[int]:
    """Numbers, until the time is over."""
    until = time.monotonic() + SECONDS
    number = FIRST
    while time.monotonic() < until:
        yield number
        number += 1


class Servers(FakePostgres):
    """Says what it was asked for; whatever it cannot read ends the connection, as with PostgreSQL."""

    def __init__(self, liar: Random | None = None) -> None:
        super().__init__()
        self.liar = liar
        """Mutates what is said to clients named liar."""

    def buildProtocol(self, addr: object) -> _Backend:
        """A connection."""
        return _Server(self)

    def reply(self, sql: str) -> bytes:
        """A text in quotes is a row."""
        if sql.strip() in self.answers or "pg_catalog" in sql:
            return super().reply(sql)
        _, quote, rest = sql.partition("'")
        if quote and sql.lstrip().upper().startswith(("SELECT", "/*")):
            return table(["?column?"], [[rest.partition("'")[0]]])
        said = super().reply(sql)
        return said if said[:1] != b"E" else error("42601", "syntax error")


class _Server(_Backend):
    """One of them."""

    def dataReceived(self, data: bytes) -> None:
        """What makes no sense ends it."""
        try:
            super().dataReceived(data)
        except Exception as problem:
            super()._write(error("08P01", f"invalid message: {problem!r}", "FATAL"))
            self._hang_up()

    def _write(self, data: bytes) -> None:
        fake: Any = self._fake
        if fake.liar is not None and self._user == "liar" and fake.liar.random() < 0.3 and messages(data):
            rng: Random = fake.liar
            for piece in pieces(rng, mutated(rng, messages(data), [messages(data), *conversations()[:20]])):
                super()._write(piece)
            return
        super()._write(data)


def _deaf(data: bytes) -> None:
    """What servers that lie have said may be cut into no messages."""


def _drop(self: Clock, call: object, *args: object) -> None:
    """What threads have found out is of no use to a clock that stands still."""


Clock.callFromThread = _drop  # type: ignore[attr-defined]


class LoggedFailures:
    """Those that are logged from now on."""

    def __init__(self) -> None:
        self._found: list[str] = []
        globalLogPublisher.addObserver(self._observe)

    def _observe(self, event: dict[str, Any]) -> None:
        failure = event.get("log_failure")
        if failure is not None:
            self._found.append(failure.getTraceback())

    def close(self) -> None:
        """Hear no more; raises AssertionError for what was logged."""
        globalLogPublisher.removeObserver(self._observe)
        assert not self._found, "\n".join(self._found)


class Scene:
    """One PgBeam."""

    def __init__(self, *, liar: Random | None = None, seed: int = 0) -> None:
        self._logged = LoggedFailures()
        self.fake = Servers(liar)
        # The first asked is the first named.
        plugins: dict[str, object] = {
            "limits": Limits(),
            "cache": Caching(),
            "replica": Replicas(),
            "pool": Pools(),
            "debug": Debug(),
        }
        settings = {"limits": {"auth_attempts": 0}, "cache": {"l2": "off"}, "pool": {"max_active": 20}}
        self.rehearsal = Rehearsal(plugins, servers={"primary:5432": self.fake}, settings=settings)
        self.honest = self.rehearsal.login("honest")
        self.asked = 0

    @property
    def clock(self) -> Clock:
        """Of the whole scene."""
        return self.rehearsal.clock

    def ask_honestly(self) -> None:
        """The honest client asks, each time in another way, and gets its own reply and nothing else."""
        self.asked += 1
        token = f"token {self.asked}"
        if self.asked % 3 == 0:
            reply = self.honest.execute(f"SELECT '{token}'")
        else:
            reply = self.honest.query(f"SELECT '{token}'")
        assert reply.rows == ((token,),), (token, reply)
        assert reply.error is None
        assert [frame[:1] for frame in reply.frames].count(b"Z") == 1

    def client(self, user: str) -> Client:
        """One more, which does not look at what it gets."""
        client = self.rehearsal.login(user) if self.fake.liar is None else self.rehearsal.call()
        client.dataReceived = _deaf  # type: ignore[method-assign]
        if self.fake.liar is not None:
            client.send(startup(user, "shop"))
        return client

    def nothing_is_left(self) -> None:
        """But for the honest client: no client, no session, no server that works, no timer that grows in number."""
        self.rehearsal.advance(PATIENCE_S, step=5.0)
        beam = self.rehearsal.beam
        assert len(beam.clients) == len(beam.sessions) == 1, (beam.clients, beam.sessions)
        assert len(self.fake.connections) <= 20, self.fake.connections
        for counts in self.rehearsal.stats()["pool"].values():
            busy = {name: count for name, count in counts.items() if name in WORKING and count}
            assert not busy, counts
        assert len(self.clock.getDelayedCalls()) < 40, self.clock.getDelayedCalls()

    def close(self) -> None:
        """The end; raises AssertionError for what was logged."""
        self.rehearsal.close()
        self._logged.close()
