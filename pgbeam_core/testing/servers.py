"""Servers of a rehearsal: opened in memory, pooled in the simplest way that works."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed

from pgbeam_core.api.hookspecs import hookimpl
from pgbeam_core.api.opener import Opener
from pgbeam_core.api.pool import Identity, Lease, Relay, Server
from pgbeam_core.api.query import Target
from pgbeam_core.errors import ServerUnavailable
from pgbeam_core.net.server import ServerProtocol
from pgbeam_core.session.session import Session
from pgbeam_core.testing.fake_postgres import FakePostgres
from pgbeam_core.testing.wires import Wires


class MemoryOpener(Opener):
    """Opens servers of one target: connections to a FakePostgres. What PgBeam knows of users it uses."""

    def __init__(self, beam: Any, target: Target, fake: FakePostgres, wires: Wires, clock: Any) -> None:
        self._beam = beam
        self._target = target
        self._fake = fake
        self._wires = wires
        self._clock = clock

    def __call__(self, identity: Identity, application_name: str | None, relay: Relay | None) -> Deferred[Server]:
        """See `api.opener.Opener`: it fails while the FakePostgres is down."""
        if self._fake.down:
            return fail(ServerUnavailable(f"could not connect to {self._target.address}: Connection refused"))
        if relay is None:
            relay = self._beam.authority.relay(self._target, identity.user)
        server = ServerProtocol(
            self._target,
            identity,
            application_name,
            now=self._clock.seconds,
            later=lambda call: self._clock.callLater(0, call),
            cancel=lambda _: succeed(None),
            prepared_limit=100,
            relay=relay,
        )
        ready: Any = server.ready
        self._wires.join(server, self._fake.buildProtocol(None))
        opened: Deferred[Server] = ready
        return opened.addCallback(self._opened, self._beam.authority.identities.epoch())

    def _opened(self, server: Server, epoch: int) -> Server:
        """What the opener of a real server learns by asking it."""
        if self._beam.remembers_servers:
            self._beam.authority.identities.told(self._target, server.identity, epoch)
            self._beam.authority.greetings.told(self._target, server.identity, server.parameters)
        return server


class SimplePools:
    """A plugin that gives pools without limits, queues and timeouts. For tests that are not about pooling."""

    @hookimpl
    def pool(self, beam: Any, target: Target) -> SimplePool:
        """The pool of a target."""
        return SimplePool(beam.opener(target), beam.now)


class SimplePool:
    """See `api.pool.Pool`. A server that is clean when it comes back is used again; any other is closed."""

    available = True

    def __init__(self, opener: Opener, now: Callable[[], float]) -> None:
        self._opener = opener
        self._now = now
        self._idle: list[Server] = []

    def login(self, session: Session, relay: Relay) -> Deferred[Lease]:
        """A fresh server on which the client logs in."""
        return self._opener(session.identity, session.application_name, relay).addCallback(self._leased)

    def lease(
        self, identity: Identity, settings: Mapping[str, str], *, shared: bool = False
    ) -> Lease | Deferred[Lease]:
        """An idle server of that identity, or a new one."""
        for server in self._idle:
            if server.identity == identity and server.alive:
                self._idle.remove(server)
                return self._leased(server)
        return self._opener(identity, None, None).addCallback(self._leased)

    def _leased(self, server: Server) -> Lease:
        server.lease = Lease(self, server, shared=False, waited=0.0, since=self._now())
        return server.lease

    def give_back(self, lease: Lease) -> None:
        """Keep it if it is clean."""
        server = lease.server
        server.lease = None
        if server.alive and (server.status != b"I" or server.owed or server.state):
            server.close("given back with something left on it")
        elif server.alive:
            self._idle.append(server)

    def leave(self, database: str) -> None:
        """Close what is idle in that database."""
        for server in [server for server in self._idle if server.identity.database == database]:
            self._idle.remove(server)
            server.close("its database is about to change")

    def close(self, reason: str) -> None:
        """Close the idle servers; those that are leased stay with who has them."""
        for server in self._idle:
            if server.alive:
                server.close(reason)
        self._idle.clear()
