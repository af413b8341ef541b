"""The servers of one target: who gets one, what becomes of those that come back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred

from pgbeam_core import (
    Identity,
    Lease,
    Opener,
    PoolExhausted,
    Project,
    Relay,
    Server,
    ServerUnavailable,
    Session,
    neighbourhood,
)
from pgbeam_pool.budget import Budget
from pgbeam_pool.console import TargetPoolConsole
from pgbeam_pool.openings import Openings
from pgbeam_pool.reaching import Reaching
from pgbeam_pool.settings import PoolSettings
from pgbeam_pool.sharing import DEPTH, Sharing
from pgbeam_pool.states import Servers
from pgbeam_pool.upkeep import Upkeep
from pgbeam_pool.waiting import Waiter

WAITED_TOO_LONG = "timed out waiting for a server connection"


class TargetPool:
    """See `pgbeam_core.Pool`. `random` gives a number in 0..1."""

    def __init__(
        self, project: Project, opener: Opener, budget: Budget, clock: Any, random: Callable[[], float]
    ) -> None:
        self.project = project
        self.address = ""
        self.servers = Servers()
        self.lost = 0
        """Servers that went away by themselves."""
        self.upkeep = Upkeep(self.servers, lambda: budget.settings, clock.seconds, random)
        self._budget, self._clock = budget, clock
        self.console = TargetPoolConsole(self, budget)
        self._sharing = Sharing(self.servers, self.upkeep.orders.leaving)
        self._of_logins: set[Server] = set()
        """Servers that a client's login has opened, and that have not come back since."""
        self._closed: str | None = None
        self._openings = Openings(self, opener, budget, self._came)
        changed = self._openings.reach_changed
        self.reaching = Reaching(project, opener, self.upkeep, clock, lambda: budget.has_room, changed)
        budget.join(self)

    @property
    def settings(self) -> PoolSettings:
        return self._budget.settings

    @property
    def available(self) -> bool:
        return self.reaching.available

    # Asking for a server.

    def login(self, session: Session, relay: Relay) -> Deferred[Lease]:
        """A fresh server on which the client authenticates itself."""
        name = session.application_name if session.keeps_server else None
        now = self._clock.seconds()
        address = neighbourhood(session.peer)
        return self.wait(Waiter(self, session.identity, {}, now, relay=relay, application_name=name, address=address))

    def lease(
        self, identity: Identity, settings: Mapping[str, str], *, shared: bool = False
    ) -> Lease | Deferred[Lease]:
        """A server for the next turns."""
        budget = self._budget
        if self.upkeep.orders.paused and self.upkeep.orders.holds(identity):
            return self.wait(Waiter(self, identity, settings, self._clock.seconds(), shared=shared))
        shared = shared and budget.settings.share
        if shared and not (budget.waiting and budget.waits_to_share):
            lease = self._share(identity, settings, 0.0, alone_before=bool(budget.waiting) and budget.waits_alone)
            if lease is not None:
                return lease
        if not budget.waiting:
            server = self.servers.take(identity, settings)
            if server is not None:
                return self._leased(server, 0.0)
        return self.wait(Waiter(self, identity, settings, self._clock.seconds(), shared=shared))

    def _share(
        self, identity: Identity, settings: Mapping[str, str], waited: float, *, alone_before: bool
    ) -> Lease | None:
        server = self._sharing.choose(identity, settings, exclusive_wait=alone_before)
        if server is None:
            return None
        server.sharers += 1
        return Lease(self, server, shared=True, waited=waited, since=self._clock.seconds())

    def wait(self, waiter: Waiter) -> Deferred[Lease]:
        if self._closed is not None:
            waiter.fail(ServerUnavailable(self._closed))
            return waiter.deferred
        if self.upkeep.orders.takes(waiter):
            return waiter.deferred
        if waiter.relay is None:
            self._budget.waiting.append(waiter)
        elif not self._budget.logins.wait(waiter):
            return waiter.deferred
        limit = self.settings.wait_timeout_s
        if limit:
            waiter.timeout = self._clock.callLater(limit, self._too_long, waiter)
        self._budget.pump()
        return waiter.deferred

    def _too_long(self, waiter: Waiter) -> None:
        waiter.fail(PoolExhausted(WAITED_TOO_LONG))
        self.cancelled(waiter)

    def cancelled(self, waiter: Waiter) -> None:
        """Its client has left. A login cannot go on without; a server opened for anybody may still come."""
        self._budget.forget(waiter)
        if waiter.relay is not None and waiter.opening is not None:
            waiter.opening.cancel()
        self._budget.pump()

    # Serving who waits. Called by the budget, for each waiter in order.

    def serve(self, waiter: Waiter, *, may_open: bool = True, alone_before: bool = False) -> bool:
        """Give the waiter a server, or start opening one for it. True if it need not be looked at again now.

        alone_before: somebody before it waits for a server of his own.
        """
        lease = self._at_once(waiter, alone_before=alone_before)
        if lease is not None:
            self._budget.forget(waiter)
            waiter.succeed(lease)
            return True
        if waiter.opening is not None:
            return True
        if not self._openings.may_open(waiter):
            return True
        if not may_open:
            return False
        if not self._budget.has_room and not self._budget.make_room(waiter.identity, self.now()):
            return False
        self._openings.open(waiter)
        return True

    def open_for_login(self, waiter: Waiter) -> None:
        """Begin with a login. Called by the budget, when it is its turn."""
        self._budget.logins.take_place(waiter)
        self._openings.open(waiter)

    def now(self) -> float:
        seconds: float = self._clock.seconds()
        return seconds

    def _at_once(self, waiter: Waiter, *, alone_before: bool) -> Lease | None:
        identity, settings, waited = waiter.identity, waiter.settings, self._clock.seconds() - waiter.since
        if waiter.shared:
            lease = self._share(identity, settings, waited, alone_before=alone_before)
            if lease is not None:
                return lease
        server = self.servers.take(identity, settings)
        return None if server is None else self._leased(server, waited)

    def _came(self, server: Server, waiter: Waiter) -> None:
        """One was opened for who waits, if they still do."""
        server.gone = self._gone
        self.servers.to_returning(server)
        self.upkeep.opened(server)
        if self._closed is not None:
            server.close(self._closed)
            return
        if waiter.relay is not None:
            self._of_logins.add(server)
            self._budget.logins.forget(waiter)
        waiter.opening = None
        self._budget.forget(waiter)
        if waiter.done or (waiter.relay is None and self.upkeep.orders.takes(waiter)):
            self._rest(server)
            return
        self.servers.to_leased(server)
        waiter.succeed(self._leased(server, 0.0 if waiter.relay else self._clock.seconds() - waiter.since))
        if self._budget.logins.waiting:
            self._budget.pump()

    def _leased(self, server: Server, waited: float) -> Lease:
        lease = Lease(self, server, shared=False, waited=waited, since=self._clock.seconds())
        server.lease = lease
        return lease

    # Getting one back.

    def give_back(self, lease: Lease) -> None:
        server = lease.server
        if lease.shared:
            server.sharers -= 1
            if server.sharers:
                if server.owed == DEPTH // 2 and self._budget.waiting:
                    self._budget.pump()
                return
        server.lease = None
        if not server.alive:
            return
        server.used_at = self._clock.seconds()
        if server.status != b"I" or server.owed:
            self._drop(server, "given back in the middle of a transaction")
            return
        reason = self._closed or self.upkeep.why_close(server)
        if reason is not None:
            self._drop(server, reason)
        else:
            self._clean(server)

    def _drop(self, server: Server, reason: str) -> None:
        self.servers.to_returning(server)
        server.close(reason)

    def _clean(self, server: Server) -> None:
        """Make it fit for another client: no cancel request may be under way to it, no state left on it."""
        settled = server.settled()
        if settled is not None:
            self.servers.to_returning(server)
            settled.addCallback(lambda _: self._clean(server) if server.alive else None)
        elif server.state or server.in_doubt:
            self.servers.to_returning(server)
            server.reset().addCallback(lambda _: self._rest(server))
        else:
            self._rest(server)

    def _rest(self, server: Server) -> None:
        if not server.alive:
            return
        if self._closed is not None or server.in_template or self.upkeep.left or self.upkeep.orders.given:
            reason = self._closed or self.upkeep.why_not_idle(server)
            if reason is not None:
                self._drop(server, reason)
                return
        self.servers.to_idle(server)
        if server in self._of_logins:
            self._of_logins.discard(server)
            self.upkeep.trim(server.identity)
        if self._budget.waiting or self._budget.logins.waiting:
            self._budget.pump()

    def _gone(self, server: Server, expected: bool) -> None:
        self._of_logins.discard(server)
        self.lost += not expected
        self.servers.remove(server)
        self._budget.waiting.left_place(server.identity.user)
        self.upkeep.gone(server)
        self._budget.pump()

    # Housekeeping.

    def watch(self) -> None:
        """Let nobody stand behind a shared turn that takes long."""
        self._sharing.watch()

    def tidy(self) -> None:
        """Close what is idle too long or too old; keep `min_idle` ready."""
        self.upkeep.close_old()
        for identity in self.upkeep.missing():
            if not self._budget.has_room:
                return
            waiter = Waiter(self, identity, {}, self._clock.seconds())
            waiter.done = True
            self._openings.open(waiter)

    def leave(self, database: str) -> None:
        """Close the idle servers in that database, and for a while those that come back."""
        self.upkeep.leave(database)

    def close(self, reason: str) -> None:
        """Close all servers, the leased ones when they come back; nobody gets a server any more."""
        self._closed = reason
        self.reaching.close()
        self._budget.leave(self, reason)
        self._openings.give_up()
        self.upkeep.close_unleased(reason)
