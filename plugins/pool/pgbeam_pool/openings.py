"""Servers that are being opened: for whom, and what becomes of who waits when it fails."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from pgbeam_core import Opener, PasswordNeeded, Server, ServerRefused, ServerUnavailable
from pgbeam_pool.budget import Budget
from pgbeam_pool.waiting import Host, Waiter

BREAKER_OPEN = "upstream unavailable (circuit breaker open)"
_NO_ROOM = "53300"


class Openings:
    """Of one pool. came(server, waiter): told when one is open; who it was opened for may be done with waiting."""

    def __init__(self, pool: Host, opener: Opener, budget: Budget, came: Callable[[Server, Waiter], None]) -> None:
        self._pool = pool
        self._opener = opener
        self._budget = budget
        self._came = came

    def may_open(self, waiter: Waiter) -> bool:
        """Whether PgBeam can log in as who waits. If not, one of its servers must come back, if there is any."""
        identity, pool = waiter.identity, self._pool
        if identity not in pool.upkeep.needs_client:
            return True
        if not pool.servers.count(identity):
            self._budget.forget(waiter)
            message = f'no server left for user "{identity.user}", whose password PgBeam does not have'
            waiter.fail(PasswordNeeded(message, hint="Connect again: a new login opens a new server."))
        return False

    def open(self, waiter: Waiter) -> None:
        """Begin to open a server, or have the waiter fail where the breaker is open."""
        pool, budget = self._pool, self._budget
        probe = pool.reaching.begin()
        if probe is None:
            budget.forget(waiter)
            waiter.fail(ServerUnavailable(BREAKER_OPEN))
            return
        identity = waiter.identity
        opening = self._opener(identity, waiter.application_name, waiter.relay)
        waiter.opening = opening
        pool.servers.opening[opening] = identity
        budget.waiting.took_place(identity.user)
        opening.addCallbacks(
            self._opened, self._not_opened, callbackArgs=(opening, waiter), errbackArgs=(opening, waiter, probe)
        )

    def reach_changed(self) -> None:
        """The breaker has opened, and nobody is to wait any longer; or it has closed, and who waits may try."""
        reaching = self._pool.reaching
        if reaching.breaker.open and not reaching.holds:
            self._budget.dismiss(self._pool, BREAKER_OPEN)
        self._budget.pump()

    def give_up(self) -> None:
        """The pool is closed: nothing is to come of what is under way."""
        for opening in list(self._pool.servers.opening):
            opening.cancel()

    def _opened(self, server: Server, opening: Deferred[Server], waiter: Waiter) -> None:
        self._pool.servers.opening.pop(opening, None)
        self._pool.reaching.answered()
        self._came(server, waiter)

    def _not_opened(self, failure: Failure, opening: Deferred[Server], waiter: Waiter, probe: bool) -> None:
        pool, budget = self._pool, self._budget
        pool.servers.opening.pop(opening, None)
        budget.waiting.left_place(waiter.identity.user)
        if failure.check(ServerRefused, PasswordNeeded):
            pool.reaching.answered()
            if getattr(failure.value, "sqlstate", "") == _NO_ROOM and not self._make_way(waiter):
                return
            if waiter.relay is None and pool.upkeep.refused(waiter.identity, failure.value) and not waiter.done:
                waiter.opening = None  # it waits on, for one of those that there are
                budget.pump()
                return
        budget.forget(waiter)
        pool.reaching.ended(failure, probe=probe, unwanted=waiter.done)
        waiter.fail(failure.value or ServerUnavailable("no server"))
        budget.pump()

    def _make_way(self, waiter: Waiter) -> bool:
        """PostgreSQL has no room for one more. False if who is logged in may try again, for a login gave way."""
        budget, now, reason = self._budget, self._pool.now(), "the server has no room for more connections"
        if waiter.relay is not None:
            budget.make_room_for_login(now, reason)
            return True
        budget.logins.look(now)
        if not waiter.done and budget.logins.displace(now):
            waiter.opening = None
            budget.again = True  # at the next look: by then PostgreSQL has seen the other one go
            return False
        budget.close_all_idle(reason)
        return True
