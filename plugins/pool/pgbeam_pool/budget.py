"""What the pools of one project share: the number of servers they may have, and the queue of who waits for one."""

from __future__ import annotations

from pgbeam_core import Identity, Server, ServerUnavailable
from pgbeam_pool.fairness import Fairness
from pgbeam_pool.lines import Lines
from pgbeam_pool.logins import LoginQueue
from pgbeam_pool.settings import PoolSettings
from pgbeam_pool.waiting import Host, Waiter

LOOK = 16
"""Of a user's line, those without a server and without hope of one that are looked at: others behind may want another
server, or would share."""


LOGIN_TURN_S = 1.0
"""While those who are logged in use all there is, one login that has waited for so long gets a place so often."""


class Budget:
    """At most `max_active` servers, those being opened included; a line of each user's who waits, and one of logins.

    Who is logged in comes first: a login gets what room there is, and never closes a server that is in use. But nobody
    is kept out by a flood for good: now and then one login is let in before the next query.
    """

    def __init__(self, settings: PoolSettings) -> None:
        self.settings = settings
        self.waiting = Lines()
        """Clients that are logged in."""
        self.logins = LoginQueue()
        self.again = False
        """Somebody who waits is to be looked at soon, though nothing happens until then."""
        self._pools: list[Host] = []
        self._closed: set[Host] = set()
        """Those of its pools that are closed, until their last server has come back."""
        self._pumping = False
        self._again = False
        self._login_turn = 0.0
        """When a login may come before who is logged in."""

    def join(self, pool: Host) -> None:
        """A pool that draws on this budget."""
        self._pools.append(pool)

    def leave(self, pool: Host, reason: str) -> None:
        """It is closed: who waits there waits in vain."""
        self._closed.add(pool)
        pool.upkeep.orders.close(reason)
        self.dismiss(pool, reason)

    def dismiss(self, pool: Host, reason: str) -> None:
        """Who waits at that pool waits in vain. A login that is under way finds out for itself."""
        for waiter in [*(waiter for waiter in self.waiting if waiter.pool is pool), *self.logins.of_pool(pool)]:
            self.forget(waiter)
            waiter.fail(ServerUnavailable(reason))

    @property
    def pools(self) -> list[Host]:
        """The pools that draw on it."""
        return self._pools

    @property
    def servers(self) -> int:
        """How many there are in all pools, those being opened included."""
        return sum(len(pool.servers) for pool in self._pools)

    @property
    def waits_alone(self) -> bool:
        """Whether somebody waits for a server of his own, and none is being opened for him."""
        if len(self.waiting) == self.waiting.shared:
            return False
        return any(not waiter.shared and waiter.opening is None for waiter in self.waiting)

    @property
    def waits_to_share(self) -> bool:
        """Whether somebody waits for a place behind others."""
        return self.waiting.shared > 0

    @property
    def has_room(self) -> bool:
        """Whether one more server may be opened."""
        return self.servers < self.settings.max_active

    def make_room(self, identity: Identity, now: float) -> bool:
        """Close an idle server that the one who wants `identity` cannot use, and may take. True if that made room."""
        fairness, reason = Fairness(self.waiting, identity.user, self.settings.weights, now), "its place was needed"
        for pool in self._pools:
            upkeep = pool.upkeep
            if upkeep.close_idle(reason, but=identity, may=fairness.may_close):
                return True
            if upkeep.close_idle(reason, may=fairness.may_close):
                return True
        self.again = self.again or fairness.later
        return False

    def make_room_for_login(self, now: float, reason: str = "its place was needed by a login") -> bool:
        """Close an idle server that nobody who is logged in will miss. True if that made room."""
        return any(pool.upkeep.close_unused(reason, now) for pool in self._pools)

    def watch(self, now: float) -> None:
        """Let nobody wait for somebody who does not answer."""
        logins = self.logins
        if logins.places:
            logins.look(now)
            hindered = logins.waiting
            if not self.has_room:
                hindered += sum(not waiter.shared and waiter.opening is None for waiter in self.waiting)
            while hindered and logins.displace(now - logins.grace):
                hindered -= 1
        if logins.waiting or self.again:
            self.again = False
            self.pump()

    def close_all_idle(self, reason: str) -> None:
        """Close every idle server of the project."""
        for pool in self._pools:
            pool.upkeep.close_all_idle(reason)

    def set(self, settings: PoolSettings) -> None:
        """These hold from now on: there may be more servers than before, or too many."""
        self.settings = settings
        self._trim()
        self.pump()

    def tidy(self) -> None:
        """Look after idle servers, and forget pools that are closed and empty."""
        self._trim()
        for pool in list(self._pools):
            if pool not in self._closed:
                pool.tidy()
            elif not pool.servers:
                self._closed.remove(pool)
                self._pools.remove(pool)

    def _trim(self) -> None:
        """Close idle servers while there are too many."""
        for _ in range(self.servers - self.settings.max_active):
            if not any(pool.upkeep.close_idle("max_active is less now") for pool in self._pools):
                return

    def forget(self, waiter: Waiter) -> None:
        """It does not wait any more."""
        waiter.pool.upkeep.orders.paused_waiters.pop(waiter, None)
        if waiter.relay is not None:
            self.logins.forget(waiter)
        else:
            self.waiting.discard(waiter)

    def pump(self) -> None:
        """Serve who waits; who cannot be served holds up those behind only where they want the same."""
        if self._pumping:
            self._again = True
            return
        self._pumping = True
        try:
            self._again = True
            while self._again:
                self._again = False
                self._once()
        finally:
            self._pumping = False

    def _once(self) -> None:
        """Each user's line in order of asking; first that of who has least for his weight."""
        if self.logins.waiting and not self.has_room:
            self._let_in_one()
        room, alone_before, others_before = True, False, False
        most = self.settings.max_active + LOOK
        for user in self.waiting.users(self.settings.weights):
            hopeless = served = 0
            for waiter in self.waiting.first(user, most):
                # Without room whoever is behind may still use an idle server, but opens none before this one. And
                # shared servers are left to drain for whoever is before, else they would never be free.
                alone = alone_before or others_before
                if not waiter.done:
                    room = waiter.pool.serve(waiter, may_open=room, alone_before=alone) and room
                if waiter.done:
                    served += 1
                elif not waiter.opening:
                    alone_before = alone_before or not waiter.shared
                    hopeless += 1
                    if hopeless == LOOK:
                        break
            others_before = others_before or hopeless > 0
            self._again = self._again or (served > 0 and hopeless < LOOK and self.waiting.waits(user))
        if self.logins.waiting:
            self._let_in()

    def _let_in(self) -> None:
        """Open servers for logins, with what room those who are logged in have left."""
        while (waiter := self.logins.next(self.settings.login_places)) is not None:
            if not self.has_room and not self._makes_room_for(waiter):
                return
            waiter.pool.open_for_login(waiter)

    def _makes_room_for(self, waiter: Waiter) -> bool:
        """Whether a login finds a place that nobody else will miss."""
        user = waiter.identity.user
        if not self.waits_alone and self.make_room_for_login(waiter.pool.now()):
            return True
        return not self.waiting.waits(user) and self._close_idle_for_login(user)

    def _let_in_one(self) -> None:
        """Let one login have the place of an idle server that others use, if it is time for that."""
        if self.logins.places:
            return
        places, weights = self.waiting.places, self.settings.weights
        waiter = self.logins.least(lambda user: places[user] / weights.get(user, 1.0))
        if waiter is None or (now := waiter.pool.now()) < max(self._login_turn, waiter.since + LOGIN_TURN_S):
            return
        if self._close_idle_for_login(None):
            self._login_turn = now + LOGIN_TURN_S
            waiter.pool.open_for_login(waiter)

    def _close_idle_for_login(self, user: str | None) -> bool:
        """Close an idle server, of that user only if one is named. True if there was one."""
        reason = "its place was needed by a login"

        def may_close(server: Server) -> bool:
            return user is None or server.identity.user == user

        return any(pool.upkeep.close_idle(reason, may=may_close) for pool in self._pools)
