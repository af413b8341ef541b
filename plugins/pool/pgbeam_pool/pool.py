"""The servers of one target: leased, idle, or being opened; and who waits for one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from pgbeam_core import (
    Identity,
    Lease,
    Opener,
    PasswordNeeded,
    PoolExhausted,
    Project,
    Relay,
    Server,
    ServerRefused,
    Session,
    UpstreamUnavailable,
    neighbourhood,
)
from pgbeam_pool.breaker import Breaker
from pgbeam_pool.budget import Budget
from pgbeam_pool.settings import PoolSettings
from pgbeam_pool.sharing import DEPTH, Sharing
from pgbeam_pool.waiting import Waiter

BREAKER_OPEN = "upstream unavailable (circuit breaker open)"
_TEMPLATE = "PostgreSQL copies a template database only while nobody is connected to it"
LEFT_FOR_S = 10.0
"""Seconds for which no server is kept idle in a database that is to be dropped or copied: PostgreSQL waits for 5."""
QUIET_S = 1.0
"""A server of clients who are there, idle for this long, may be closed for a login."""
SPARE = 10
"""Idle servers of one identity that logins may pile up."""
_NO_ROOM = "53300"
_MOST_COMPARED = 2000
"""Settings of idle servers that are looked at for one that has the wanted ones: telling costs less."""
WAITED_TOO_LONG = "timed out waiting for a server connection"


class TargetPool:
    """See `pgbeam_core.Pool`. `random` gives a number in 0..1."""

    def __init__(
        self,
        project: Project,
        opener: Opener,
        budget: Budget,
        clock: Any,
        random: Callable[[], float],
    ) -> None:
        self.project = project
        self.servers: set[Server] = set()
        self.idle: dict[Identity, list[Server]] = {}
        """Least recently used first."""
        self.breaker = Breaker(clock.seconds)
        self.lost = 0
        """Servers that went away by themselves."""
        self.clients: dict[Identity, int] = {}
        """Sessions that have logged in and not left, by identity."""
        self._opener = opener
        self._budget = budget
        self._clock = clock
        self._random = random
        self._expires: dict[Server, float] = {}
        self._opening: dict[Deferred[Server], Identity] = {}
        self._sharing = Sharing()
        self._of_logins: set[Server] = set()
        """Servers that a client's login has opened, and that have not come back since."""
        self._left: dict[str, float] = {}
        """Databases that a statement wants nobody in → until when."""
        self._closed: str | None = None
        self._needs_client: set[Identity] = set()
        """Identities whose servers ask for a password: only a client's login opens one."""
        budget.join(self)

    @property
    def settings(self) -> PoolSettings:
        """Its sizes and times."""
        return self._budget.settings

    @property
    def available(self) -> bool:
        """Whether the target counts as reachable."""
        return not self.breaker.open

    # Asking for a server.

    def login(self, session: Session, relay: Relay) -> Deferred[Lease]:
        """A fresh server on which the client authenticates itself."""
        name = session.application_name if session.keeps_server else None
        now = self._clock.seconds()
        address = neighbourhood(session.peer)
        return self._wait(Waiter(self, session.identity, {}, now, relay=relay, application_name=name, address=address))

    def lease(
        self, identity: Identity, settings: Mapping[str, str], *, shared: bool = False
    ) -> Lease | Deferred[Lease]:
        """A server for the next turns."""
        budget = self._budget
        shared = shared and budget.settings.share
        if shared and not (budget.waiting and budget.waits_to_share):
            lease = self._share(identity, settings, 0.0, alone_before=bool(budget.waiting) and budget.waits_alone)
            if lease is not None:
                return lease
        if not budget.waiting:
            server = self._take_idle(identity, settings)
            if server is not None:
                return self._leased(server, 0.0)
        return self._wait(Waiter(self, identity, settings, self._clock.seconds(), shared=shared))

    def _share(
        self, identity: Identity, settings: Mapping[str, str], waited: float, *, alone_before: bool
    ) -> Lease | None:
        """A place behind others."""
        server = self._sharing.choose(identity, settings, self._take_same, exclusive_wait=alone_before)
        if server is None:
            return None
        server.sharers += 1
        return Lease(self, server, shared=True, waited=waited, since=self._clock.seconds())

    def _wait(self, waiter: Waiter) -> Deferred[Lease]:
        if self._closed is not None:
            waiter.fail(UpstreamUnavailable(self._closed))
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
        if waiter.identity in self._needs_client:
            return self._must_wait_for_its_own(waiter)
        if not may_open:
            return False
        if not self._budget.has_room and not self._budget.make_room(waiter.identity):
            return False
        self._open(waiter)
        return True

    def open_for_login(self, waiter: Waiter) -> None:
        """Begin with a login. Called by the budget, when it is its turn."""
        self._budget.logins.take_place(waiter)
        self._open(waiter)

    def now(self) -> float:
        """Monotonic seconds."""
        seconds: float = self._clock.seconds()
        return seconds

    def _at_once(self, waiter: Waiter, *, alone_before: bool) -> Lease | None:
        identity, settings, waited = waiter.identity, waiter.settings, self._clock.seconds() - waiter.since
        if waiter.shared:
            lease = self._share(identity, settings, waited, alone_before=alone_before)
            if lease is not None:
                return lease
        server = self._take_idle(identity, settings)
        return None if server is None else self._leased(server, waited)

    def _must_wait_for_its_own(self, waiter: Waiter) -> bool:
        """No server can be opened for it: one of its identity must come back, if there is any."""
        if not any(server.identity == waiter.identity for server in self.servers):
            self._budget.forget(waiter)
            message = f'no server left for user "{waiter.identity.user}", whose password PgBeam does not have'
            waiter.fail(PasswordNeeded(message, hint="Connect again: a new login opens a new server."))
        return True

    def _open(self, waiter: Waiter) -> None:
        if not self.breaker.allows():
            self._budget.forget(waiter)
            waiter.fail(UpstreamUnavailable(BREAKER_OPEN))
            return
        identity = waiter.identity
        opening = self._opener(identity, waiter.application_name, waiter.relay)
        waiter.opening = opening
        self._opening[opening] = identity
        self._budget.opened()
        opening.addCallbacks(
            self._opened, self._not_opened, callbackArgs=(opening, waiter), errbackArgs=(opening, waiter)
        )

    def _opened(self, server: Server, opening: Deferred[Server], waiter: Waiter) -> None:
        self._opening.pop(opening, None)
        self.breaker.succeeded()
        server.gone = self._gone
        self.servers.add(server)
        if self.settings.max_lifetime_s:
            self._expires[server] = server.opened_at + self.settings.max_lifetime_s * (0.9 + 0.2 * self._random())
        if server.reproducible:
            self._needs_client.discard(server.identity)
        else:
            self._needs_client.add(server.identity)
        if self._closed is not None:
            server.close(self._closed)
            return
        if waiter.relay is not None:
            self._of_logins.add(server)
            self._budget.logins.forget(waiter)
        waiter.opening = None
        if waiter.done:
            self._rest(server)
            return
        self._budget.forget(waiter)
        waiter.succeed(self._leased(server, 0.0 if waiter.relay else self._clock.seconds() - waiter.since))
        if self._budget.logins.waiting:
            self._budget.pump()

    def _not_opened(self, failure: Failure, opening: Deferred[Server], waiter: Waiter) -> None:
        self._opening.pop(opening, None)
        self._budget.closed()
        if failure.check(ServerRefused, PasswordNeeded):
            self.breaker.succeeded()
            if getattr(failure.value, "sqlstate", "") == _NO_ROOM and not self._make_way(waiter):
                return
        elif failure.check(UpstreamUnavailable) and not waiter.done:
            self.breaker.failed()
        else:
            self.breaker.given_up()
        self._budget.forget(waiter)
        waiter.fail(failure.value or UpstreamUnavailable("no server"))
        self._budget.pump()

    def _make_way(self, waiter: Waiter) -> bool:
        """PostgreSQL has no room for one more. False if who is logged in may try again, for a login gave way."""
        now, logins, reason = self.now(), self._budget.logins, "the server has no room for more connections"
        if waiter.relay is not None:
            self._budget.make_room_for_login(now, reason)
            return True
        logins.look(now)
        if not waiter.done and logins.displace(now):
            waiter.opening = None
            self._budget.again = True  # at the next look: by then PostgreSQL has seen the other one go
            return False
        self._budget.close_all_idle(reason)
        return True

    def _take_idle(self, identity: Identity, settings: Mapping[str, str], *, exactly: bool = False) -> Server | None:
        """An idle server, one that needs not be told settings first of all, then the one used last."""
        idle = self.idle.get(identity)
        if not idle:
            return None
        patience = _MOST_COMPARED
        for place in range(len(idle) - 1, -1, -1):
            has = idle[place].settings
            if has is settings or (len(has) == len(settings) and has == settings):
                return idle.pop(place)
            patience -= 1 + len(has)
            if patience < 0:
                break
        return None if exactly else idle.pop()

    def _take_same(self, identity: Identity, settings: Mapping[str, str]) -> Server | None:
        return self._take_idle(identity, settings, exactly=True)

    def _leased(self, server: Server, waited: float) -> Lease:
        lease = Lease(self, server, shared=False, waited=waited, since=self._clock.seconds())
        server.lease = lease
        return lease

    # Getting one back.

    def give_back(self, lease: Lease) -> None:
        """A lease has ended."""
        server = lease.server
        if lease.shared:
            server.sharers -= 1
            if server.sharers:
                if server.owed == DEPTH // 2 and self._budget.waiting:
                    self._budget.pump()
                return
            self._sharing.drop(server)
        server.lease = None
        if not server.alive:
            return
        server.used_at = self._clock.seconds()
        if server.status != b"I" or server.owed:
            server.close("given back in the middle of a transaction")
        elif self._left and self._is_left(server):
            server.close(f'nobody may be in database "{server.identity.database}"')
        elif self._closed is not None or self._expires.get(server, server.used_at) < server.used_at:
            server.close(self._closed or "older than max_lifetime_s")
        else:
            self._clean(server)

    def _clean(self, server: Server) -> None:
        """Make it fit for another client: no cancel request may be under way to it, no state left on it."""
        settled = server.settled()
        if settled is not None:
            settled.addCallback(lambda _: self._clean(server))
        elif server.state or server.in_doubt:
            server.reset().addCallback(lambda _: self._rest(server))
        else:
            self._rest(server)

    def _rest(self, server: Server) -> None:
        if server.alive:
            if self._closed is not None:
                server.close(self._closed)
                return
            if self._left and self._is_left(server):
                server.close(f'nobody may be in database "{server.identity.database}"')
                return
            if server.in_template and not self._has_clients(server.identity.database):
                server.close(_TEMPLATE)
                return
            self.idle.setdefault(server.identity, []).append(server)
            if server in self._of_logins:
                self._of_logins.discard(server)
                self._trim(server.identity)
            if self._budget.waiting or self._budget.logins.waiting:
                self._budget.pump()

    def _trim(self, identity: Identity) -> None:
        """Each login brings a server, wanted or not: many logins must not use up PostgreSQL's connections."""
        keep = max(SPARE, self.settings.min_idle)
        if identity in self._needs_client:  # nothing but a login could bring them back
            keep = max(keep, self.clients.get(identity, 0))
        idle = self.idle[identity]
        if len(idle) > keep:
            idle[0].close("logins have brought more servers than are used")

    def _gone(self, server: Server, expected: bool) -> None:
        self._of_logins.discard(server)
        self.lost += not expected
        self.servers.discard(server)
        self._sharing.drop(server)
        self._expires.pop(server, None)
        idle = self.idle.get(server.identity)
        if idle is not None and server in idle:
            idle.remove(server)
            if not idle:
                del self.idle[server.identity]
        self._budget.closed()
        self._budget.pump()

    # Housekeeping.

    def watch(self) -> None:
        """Let nobody stand behind a shared turn that takes long."""
        self._sharing.watch()

    def tidy(self) -> None:
        """Close what is idle too long or too old; keep `min_idle` ready."""
        now, limit = self._clock.seconds(), self.settings.idle_timeout_s
        for identity, idle in list(self.idle.items()):
            for server in list(idle):
                if self._expires.get(server, now) < now and not self._precious(identity):
                    server.close("older than max_lifetime_s")
                elif limit and now - server.used_at > limit and self._spare(identity):
                    server.close("idle for longer than idle_timeout_s")
        self._keep_ready()

    def _spare(self, identity: Identity) -> bool:
        wanted = self.settings.min_idle if self.clients.get(identity) else 0
        return len(self.idle.get(identity, ())) > wanted and not self._precious(identity)

    def _precious(self, identity: Identity) -> bool:
        """The last server of clients for which no other can be opened."""
        return (
            identity in self._needs_client
            and bool(self.clients.get(identity))
            and sum(server.identity == identity for server in self.servers) == 1
        )

    def _keep_ready(self) -> None:
        for identity, clients in self.clients.items():
            missing = self.settings.min_idle - len(self.idle.get(identity, ()))
            missing -= sum(opening == identity for opening in self._opening.values())
            while clients and missing > 0 and identity not in self._needs_client and self._budget.has_room:
                waiter = Waiter(self, identity, {}, self._clock.seconds())
                waiter.done = True
                self._open(waiter)
                missing -= 1

    def close_idle(self, reason: str, *, but: Identity | None = None) -> bool:
        """Close the idle server that was unused longest, none of identity `but`. True if there was one."""
        oldest: Server | None = None
        for identity, idle in self.idle.items():
            if identity != but and idle and not self._precious(identity):
                oldest = idle[0] if oldest is None or idle[0].used_at < oldest.used_at else oldest
        if oldest is not None:
            oldest.close(reason)
        return oldest is not None

    def close_unused(self, reason: str, now: float) -> bool:
        """Close an idle server whose users have left, or have not used it for a while. True if there was one."""
        unused: Server | None = None
        for identity, idle in self.idle.items():
            if not idle or self._precious(identity):
                continue
            if not self.clients.get(identity):
                unused = idle[0]
                break
            if now - idle[0].used_at >= QUIET_S and (unused is None or idle[0].used_at < unused.used_at):
                unused = idle[0]
        if unused is not None:
            unused.close(reason)
        return unused is not None

    def leave(self, database: str) -> None:
        """Close the idle servers in that database, and for a while those that come back."""
        self._left[database] = self._clock.seconds() + LEFT_FOR_S
        for identity, idle in list(self.idle.items()):
            if identity.database == database:
                for server in list(idle):
                    server.close(f'nobody may be in database "{database}"')

    def _is_left(self, server: Server) -> bool:
        until = self._left.get(server.identity.database)
        if until is not None and until < self._clock.seconds():
            del self._left[server.identity.database]
            return False
        return until is not None

    def _has_clients(self, database: str) -> bool:
        return any(identity.database == database for identity in self.clients)

    def client_left(self, identity: Identity) -> None:
        """A client has hung up: where it was the last in a template database, nobody is in the way of a copy now."""
        if not self._has_clients(identity.database):
            for servers in list(self.idle.values()):
                for server in list(servers):
                    if server.in_template and server.identity.database == identity.database:
                        server.close(_TEMPLATE)

    def close_all_idle(self, reason: str) -> None:
        """Close every idle server."""
        for idle in list(self.idle.values()):
            for server in list(idle):
                server.close(reason)

    def close(self, reason: str) -> None:
        """Close all servers, the leased ones when they come back; nobody gets a server any more."""
        self._closed = reason
        self._budget.leave(self, reason)
        for opening in list(self._opening):
            opening.cancel()
        self.close_all_idle(reason)
        for server in list(self.servers):
            if server.lease is None and not server.sharers:
                server.close(reason)
