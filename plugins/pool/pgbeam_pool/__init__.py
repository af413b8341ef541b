"""Pooling: which server a client's turns go to, how many there are, and how long they live."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from twisted.internet.task import LoopingCall

from pgbeam_core import Beam, Explanation, Metric, Project, Query, Server, Session, Table, Target, hookimpl
from pgbeam_pool.budget import Budget
from pgbeam_pool.metrics import metrics
from pgbeam_pool.pool import TargetPool
from pgbeam_pool.settings import PoolSettings
from pgbeam_pool.waiting import Host

TIDY_EVERY_S = 5.0
WATCH_EVERY_S = 0.05
"""Whoever stands behind a shared turn that takes longer than this, twice this at most, is sent elsewhere."""

_BREAKER_KEY = ("project", "address", "state")
"""Workers do not ask each other whether a target answers: each state that one of them has is shown."""


class Pools:
    """The pools of all projects of one PgBeam."""

    def __init__(self) -> None:
        self._budgets: dict[str, Budget] = {}
        self._calls: list[LoopingCall] = []
        self._beam: Beam | None = None
        self._empty_since: dict[str, float] = {}

    @hookimpl
    def settings_spec(self) -> type:
        return PoolSettings

    @hookimpl
    def startup(self, beam: Beam) -> None:
        """Begin to look after idle servers."""
        self._budgets.clear()
        self._beam = beam
        for call, seconds in ((self._tidy, TIDY_EVERY_S), (self._watch, WATCH_EVERY_S)):
            looping = LoopingCall(call)
            looping.clock = beam.reactor
            looping.start(seconds, now=False)
            self._calls.append(looping)

    @hookimpl
    def shutdown(self, beam: Beam) -> None:
        while self._calls:
            self._calls.pop().stop()

    @hookimpl
    def reload(self, beam: Beam) -> None:
        """Sizes and times as they are set now."""
        for budget in self._budgets.values():
            budget.set(beam.settings_of(PoolSettings))

    @hookimpl
    def pool(self, beam: Beam, project: Project, target: Target) -> TargetPool:
        """The pool of a target; all pools of a project share its budget."""
        budget = self._budgets.get(project.name)
        if budget is None:
            budget = self._budgets[project.name] = Budget(beam.settings_of(PoolSettings))
        pool = TargetPool(
            project, beam.opener(target), budget, beam.reactor, lambda: int.from_bytes(beam.random(4)) / 2**32
        )
        pool.address = target.address
        return pool

    @hookimpl
    def authenticated(self, session: Session) -> None:
        """Remember for whom servers are kept."""
        pools = session.notes["pool"] = self._pools_of(session)
        for pool in pools:
            clients = pool.upkeep.clients
            clients[session.identity] = clients.get(session.identity, 0) + 1

    @hookimpl
    def disconnect(self, session: Session) -> None:
        for pool in session.notes.pop("pool", ()):
            upkeep = pool.upkeep
            left = upkeep.clients.get(session.identity, 1) - 1
            if left:
                upkeep.clients[session.identity] = left
            else:
                upkeep.clients.pop(session.identity, None)
                upkeep.client_left(session.identity)

    @hookimpl
    def stats(self) -> Mapping[str, Any]:
        """Servers by state and clients waiting, per project."""
        return {"pool": {name: _counts(budget) for name, budget in self._budgets.items()}}

    @hookimpl
    def metrics(self) -> Sequence[Metric]:
        return metrics(self._budgets)

    @hookimpl
    def console(self) -> Mapping[str, Table]:
        """SHOW BREAKERS: which targets count as reachable."""
        rows = []
        for target, pool in [] if self._beam is None else list(self._beam.pools.items()):
            if isinstance(pool, TargetPool):
                breaker = pool.reaching.breaker
                retry = breaker.retry_s
                retry_s = None if retry is None else round(retry, 1)
                rows.append((target.project, target.address, breaker.state, breaker.failures, retry_s))
        columns = ("project", "address", "state", "failures", "retry_s")
        types = ("text", "text", "text", "int4", "float8")
        return {"BREAKERS": Table(columns, rows, types, _BREAKER_KEY, {"failures": "max", "retry_s": "min"})}

    @hookimpl
    def explain(self, session: Session, query: Query) -> Sequence[Explanation] | None:
        """Where a server for it would come from, should one be asked."""
        target = query.target
        pool = None if self._beam is None or target is None else self._beam.pools.get(target)
        if target is None or not isinstance(pool, TargetPool):
            return None
        if (query.in_transaction and not query.lazily) or session.pins:
            return [Explanation("pool", "its own", "the session keeps one")]
        if pool.reaching.breaker.open:
            why = f"the circuit breaker of {target.address} is open, only servers that are there are used"
            return [Explanation("pool", "breaker open", why)]
        value, why = pool.console.expects(session.identity)
        return [Explanation("pool", value, why)]

    def _pools_of(self, session: Session) -> list[Host]:
        budget = self._budgets.get(session.project.name)
        return [] if budget is None else list(budget.pools)

    def _watch(self) -> None:
        assert self._beam is not None
        now = self._beam.now()
        for budget in self._budgets.values():
            for pool in budget.pools:
                pool.watch()
            budget.watch(now)

    def _tidy(self) -> None:
        assert self._beam is not None
        now = self._beam.now()
        for name, budget in self._budgets.items():
            budget.tidy()
            if any(pool.upkeep.clients for pool in budget.pools):
                self._empty_since.pop(name, None)
                continue
            since = self._empty_since.setdefault(name, now)
            if budget.settings.park_after_s and now - since >= budget.settings.park_after_s:
                for pool in budget.pools:
                    pool.upkeep.close_all_idle("project without clients for park_after_s")


def _counts(budget: Budget) -> dict[str, int]:
    servers = [server for pool in budget.pools for server in pool.servers.open]
    idle = sum(len(servers) for pool in budget.pools for servers in pool.servers.idle.values())
    return {
        "servers": len(servers),
        "servers_idle": idle,
        "servers_active": sum(_is_active(server) for server in servers),
        "servers_in_transaction": sum(server.status != b"I" for server in servers),
        "clients_waiting": len(budget.waiting) + sum(len(pool.upkeep.orders.paused_waiters) for pool in budget.pools),
        "logins": budget.logins.places,
        "logins_waiting": budget.logins.waiting,
        "servers_lost": sum(pool.lost for pool in budget.pools),
        "breakers_open": sum(pool.reaching.breaker.open for pool in budget.pools),
    }


def _is_active(server: Server) -> bool:
    return bool(server.sharers) or (server.lease is not None and server.status == b"I")


plugin = Pools()
