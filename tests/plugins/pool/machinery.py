"""A pool with servers that are objects, an opener that waits to be told, and a clock."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from pgbeam_core import Identity, Lease, Opener, PgBeamError, ServerUnavailable, Session
from pgbeam_pool.budget import Budget
from pgbeam_pool.pool import TargetPool
from pgbeam_pool.settings import PoolSettings

ANNA = Identity("anna", "shop")
BOB = Identity("bob", "shop")


class FakeServer:
    """See `pgbeam_core.Server`, as far as a pool uses it."""

    def __init__(self, identity: Identity, now: float, *, reproducible: bool) -> None:
        self.identity = identity
        self.opened_at = self.used_at = now
        self.reproducible = reproducible
        self.in_template = False
        self.alive = True
        self.sharers = 0
        self.status = b"I"
        self.owed = 0
        self.state: set[str] = set()
        self.in_doubt = False
        self.settings: dict[str, str] = {}
        self.lease: Lease | None = None
        self.gone: Any = lambda server, expected: None
        self.closed: str | None = None
        self.resets: list[Deferred[None]] = []
        self.cancelling: Deferred[None] | None = None

    def close(self, reason: str) -> None:
        """Gone, by PgBeam's will."""
        self._over(reason, expected=True)

    def die(self) -> None:
        """Gone by itself."""
        self._over("died", expected=False)

    def _over(self, reason: str, *, expected: bool) -> None:
        if self.alive:
            self.alive = False
            self.closed = reason
            self.gone(self, expected)

    def reset(self) -> Deferred[None]:
        """Fires when told."""
        self.state.clear()
        self.settings = {}
        self.resets.append(Deferred())
        return self.resets[-1]

    def settled(self) -> Deferred[None] | None:
        """Whether a cancel request is under way."""
        return self.cancelling


class FakeRelay:
    """See `pgbeam_core.Relay`: whether its client lets the server wait."""

    def __init__(self) -> None:
        self.unanswered = False


class Openings(Opener):
    """An Opener whose openings end when they are told to."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.pending: list[tuple[Deferred[Any], Identity, object]] = []
        self.at_once = False
        self.password: set[Identity] = set()
        """Who is asked for a password."""

    def __call__(self, identity: Identity, application_name: str | None, relay: object) -> Deferred[Any]:
        """See `pgbeam_core.Opener`: one that is cancelled fails."""
        opening: Deferred[Any] = Deferred(lambda deferred: deferred.errback(ServerUnavailable("given up")))
        entry = (opening, identity, relay)
        self.pending.append(entry)
        opening.addBoth(self._ended, entry)
        if self.at_once:
            self.succeed()
        return opening

    def _ended(self, result: Any, entry: tuple[Deferred[Any], Identity, object]) -> Any:
        if entry in self.pending:
            self.pending.remove(entry)
        return result

    def succeed(self, place: int = 0) -> FakeServer:
        """One of them is there."""
        opening, identity, _ = self.pending[place]
        server = FakeServer(identity, self._clock.seconds(), reproducible=identity not in self.password)
        opening.callback(server)
        return server

    def fail(self, error: Exception, place: int = 0) -> None:
        """One of them failed."""
        self.pending[place][0].errback(error)


class Asked:
    """What became of asking for a lease."""

    def __init__(self, got: Lease | Deferred[Lease], relay: Any = None) -> None:
        self.relay = relay
        self.lease: Lease | None = None
        self.error: BaseException | None = None
        self.deferred = got if isinstance(got, Deferred) else None
        if isinstance(got, Deferred):
            got.addCallbacks(self._came, self._failed)
        else:
            self._came(got)

    def _came(self, lease: Lease) -> None:
        assert self.lease is None
        self.lease = lease

    def _failed(self, failure: Any) -> None:
        self.error = failure.value

    @property
    def waits(self) -> bool:
        """Neither served nor failed."""
        return self.lease is None and self.error is None

    @property
    def server(self) -> Any:
        """Its server."""
        assert self.lease is not None
        return self.lease.server

    @property
    def message(self) -> str:
        """What it failed with."""
        assert isinstance(self.error, PgBeamError), self.error
        return self.error.message


class Machinery:
    """A project with one pool."""

    def __init__(self, *, random: float = 0.5, opener: type[Openings] = Openings, **settings: Any) -> None:
        self.clock = Clock()
        self.budget = Budget(PoolSettings(**settings))
        self.openings: Any = opener(self.clock)
        self.pool = self.another(random)

    def another(self, random: float = 0.5) -> TargetPool:
        """One more pool of the project."""
        project: Any = SimpleNamespace(name="shop", primary=SimpleNamespace(user=None, database=None))
        openings: Any = self.openings
        return TargetPool(project, openings, self.budget, self.clock, lambda: random)

    def lease(self, identity: Identity = ANNA, settings: dict[str, str] | None = None) -> Asked:
        """Ask for a server."""
        return Asked(self.pool.lease(identity, settings or {}))

    def login(self, identity: Identity = ANNA, address: str = "127.0.0.1") -> Asked:
        """A client logs in."""
        project: Any = SimpleNamespace(name="shop", pool_mode="transaction", query_timeout_ms=0, databases={})
        project.primary = SimpleNamespace(database=None)
        startup = {"user": identity.user, "database": identity.database, **dict(identity.parameters)}
        session = Session(project, address, startup, hostname=None, ask=lambda *_: None)
        assert session.identity == identity
        relay: Any = FakeRelay()
        return Asked(self.pool.login(session, relay), relay)

    def leased(self, identity: Identity = ANNA) -> Asked:
        """Ask, and have a server opened if that is what it takes."""
        asked = self.lease(identity)
        if asked.waits:
            self.openings.succeed(-1)
        assert asked.lease is not None
        return asked

    def pass_time(self, seconds: float) -> None:
        """The clock runs, and the pool looks after its logins meanwhile."""
        for _ in range(round(seconds * 10)):
            self.clock.advance(0.1)
            self.budget.watch(self.clock.seconds())

    def check(self) -> None:
        """What holds whatever happened."""
        pools = self.budget.pools
        servers = [server for pool in pools for server in pool.servers.open]
        idle = [server for pool in pools for servers in pool.servers.idle.values() for server in servers]
        shared = [server for pool in pools for servers in pool.servers.shared.values() for server in servers]
        leased = [server for pool in pools for server in pool.servers.leased]
        returning = [server for pool in pools for server in pool.servers.returning]
        assert sorted(map(id, idle + shared + leased + returning)) == sorted(map(id, servers)), "each in one state"
        assert all(server.lease is not None for server in leased)
        assert all(server.sharers for server in shared)
        assert all(server.lease is None and not server.sharers for server in returning)
        opening = sum(len(pool.servers.opening) for pool in pools)
        assert self.budget.servers == len(servers) + opening, "the budget counts what is there"
        assert self.budget.servers <= self.budget.settings.max_active
        assert all(server.alive for server in servers)
        assert len(set(idle)) == len(idle), "idle once"
        assert all(server in servers and server.lease is None for server in idle)
        assert all(not waiter.done for waiter in self.budget.waiting)
        assert len(list(self.budget.waiting)) == len(self.budget.waiting)
        users = [server.identity.user for server in servers]
        users += [identity.user for pool in pools for identity in pool.servers.opening.values()]
        assert self.budget.waiting.places == Counter(users), "each place is its user's"
        assert self.budget.logins.places <= self.budget.settings.login_places
