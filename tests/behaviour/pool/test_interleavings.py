"""A pool under any order of events."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from pgbeam_core import ServerRefused, ServerUnavailable
from tests.plugins.pool.machinery import ANNA, BOB, Asked, Machinery

IDENTITIES = st.sampled_from([ANNA, BOB])
ERRORS = st.sampled_from([ServerUnavailable("down"), ServerRefused("no", b"E", sqlstate="28P01")])


class PoolMachine(RuleBasedStateMachine):
    """Leases, logins, deaths, failures, timeouts and housekeeping in any order."""

    asked: Bundle[Asked] = Bundle("asked")

    @initialize(size=st.integers(1, 3), password=st.booleans(), at_once=st.booleans())
    def start(self, size: int, *, password: bool, at_once: bool) -> None:
        self.machinery = Machinery(max_active=size, wait_timeout_s=20, idle_timeout_s=30, max_lifetime_s=60, min_idle=1)
        self.other = self.machinery.another()
        self.machinery.openings.at_once = at_once
        if password:
            self.machinery.openings.password = {BOB}
        self.machinery.pool.upkeep.clients = {ANNA: 1, BOB: 1}
        self.everyone: list[Asked] = []
        self.dirty: list[Any] = []
        self.closed = False

    def _note(self, asked: Asked) -> Asked:
        self.everyone.append(asked)
        return asked

    @rule(target=asked, identity=IDENTITIES, other=st.booleans())
    def lease(self, identity: Any, *, other: bool) -> Asked:
        pool = self.other if other else self.machinery.pool
        return self._note(Asked(pool.lease(identity, {})))

    @rule(target=asked, identity=IDENTITIES)
    def login(self, identity: Any) -> Asked:
        return self._note(self.machinery.login(identity))

    @rule(one=consumes(asked), how=st.sampled_from(["clean", "state", "transaction", "dies", "cancelling"]))
    def give_back(self, one: Asked, how: str) -> None:
        if one.lease is None:
            if one.deferred is not None and one.waits:
                one.deferred.cancel()
            return
        server = one.server
        if how == "state":
            server.state = {"listen"}
            self.dirty.append(server)
        elif how == "transaction":
            server.status = b"T"
        elif how == "dies":
            server.die()
        one.lease.release()
        one.lease.release()

    @rule(place=st.integers(0, 3))
    def opens(self, place: int) -> None:
        pending = self.machinery.openings.pending
        if pending:
            self.machinery.openings.succeed(place % len(pending))

    @rule(place=st.integers(0, 3), error=ERRORS)
    def does_not_open(self, place: int, error: Any) -> None:
        pending = self.machinery.openings.pending
        if pending:
            self.machinery.openings.fail(error, place % len(pending))

    @rule()
    def is_clean(self) -> None:
        for server in self.dirty:
            for reset in server.resets:
                if not reset.called:
                    reset.callback(None)
        self.dirty.clear()

    @rule(place=st.integers(0, 5))
    def dies(self, place: int) -> None:
        servers = sorted(self.machinery.pool.servers.open, key=lambda server: server.opened_at)
        if servers:
            dying: Any = servers[place % len(servers)]
            dying.die()

    @rule(seconds=st.sampled_from([1, 6, 25]))
    def time_passes(self, seconds: int) -> None:
        self.machinery.clock.advance(seconds)

    @rule()
    def tidy(self) -> None:
        self.machinery.pool.tidy()
        self.other.tidy()

    @rule()
    def close_one(self) -> None:
        self.other.close("closing")

    @invariant()
    def holds(self) -> None:
        if hasattr(self, "machinery"):
            self.machinery.check()
            holders = [asked.server for asked in self.everyone if asked.lease is not None and not asked.lease.released]
            assert len(set(holders)) == len(holders), "one holder per server"

    def teardown(self) -> None:
        if not hasattr(self, "machinery"):
            return
        self.machinery.pool.close("over")
        self.other.close("over")
        self.is_clean()
        for asked in self.everyone:
            assert not asked.waits, "everybody hears"
            if asked.lease is not None:
                asked.lease.release()
        assert self.machinery.budget.servers == 0, "nothing leaks"
        assert len(self.machinery.budget.waiting) == 0


TestPool = PoolMachine.TestCase
TestPool.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
