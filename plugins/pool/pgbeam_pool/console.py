"""What the console shows of a pool, and what an operator tells it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from pgbeam_core import Identity, PoolMember, PoolSizes, PoolWaiter
from pgbeam_pool.budget import Budget
from pgbeam_pool.waiting import Host, Waiter

_PGBOUNCER_NAMES = MappingProxyType(
    {
        "default_pool_size": "plugins.pool.max_active",
        "min_pool_size": "plugins.pool.min_idle",
        "server_lifetime": "plugins.pool.max_lifetime_s",
        "server_idle_timeout": "plugins.pool.idle_timeout_s",
        "query_wait_timeout": "plugins.pool.wait_timeout_s",
    }
)


class TargetPoolConsole:
    """See `pgbeam_core.PoolConsole`; of one pool."""

    def __init__(self, pool: Host, budget: Budget) -> None:
        self._pool = pool
        self._budget = budget

    @property
    def sizes(self) -> PoolSizes:
        settings = self._budget.settings
        return PoolSizes(settings.max_active, settings.min_idle, settings.max_lifetime_s)

    @property
    def pgbouncer_names(self) -> Mapping[str, str]:
        return _PGBOUNCER_NAMES

    # Orders.

    def pause(self, database: str | None) -> None:
        """Nobody gets a server there any more: who waits for one goes on waiting, without a timeout."""
        budget, orders = self._budget, self._pool.upkeep.orders
        orders.pause(database)
        waiting = [waiter for waiter in budget.waiting if waiter.pool is self._pool and waiter.opening is None]
        for waiter in [*waiting, *budget.logins.of_pool(self._pool)]:
            if orders.takes(waiter):
                budget.forget(waiter)

    def resume(self, database: str | None) -> None:
        """Those are served in order of asking."""
        for waiter in self._pool.upkeep.orders.resume(database):
            if not waiter.done:
                self._pool.wait(waiter)

    def reconnect(self, database: str | None) -> None:
        self._pool.upkeep.orders.reconnect(database)

    # What there is.

    def members(self) -> list[PoolMember]:
        """By state, as plugins/pool/README.md has them."""
        servers = self._pool.servers
        by_state: tuple[tuple[str, Any], ...] = (
            ("active", servers.leased),
            ("tested", servers.returning),
            *(("active", some) for some in servers.shared.values()),
            *(("idle", some) for some in servers.idle.values()),
        )
        found = [PoolMember(server.identity, state, server) for state, some in by_state for server in some]
        return found + [PoolMember(identity, "new") for identity in servers.opening.values()]

    def waiters(self) -> list[PoolWaiter]:
        budget, pool = self._budget, self._pool
        logins = [*budget.logins.of_pool(pool), *budget.logins.opening_of(pool)]
        waiting = [waiter for waiter in budget.waiting if waiter.pool is pool]
        paused = list(pool.upkeep.orders.paused_waiters)
        return [
            PoolWaiter(waiter.identity, waiter.deferred, waiter.since, self._why(waiter))
            for waiter in [*waiting, *logins, *paused]
            if not waiter.done
        ]

    def expects(self, identity: Identity) -> tuple[str, str]:
        """Where its next server would come from, and why."""
        budget, pool = self._budget, self._pool
        most, waiting = budget.settings.max_active, len(budget.waiting)
        if pool.upkeep.orders.holds(identity):
            return "waits", self._paused(identity)
        idle = len(pool.servers.idle.get(identity, ()))
        if idle:
            return (
                "idle",
                f"{idle} of its user and database are idle; {budget.servers} of {most} (max_active) are there",
            )
        if budget.has_room:
            return "new", f"none of its user and database is idle; {budget.servers} of {most} (max_active) are there"
        return "waits", f"all {most} servers of the project are there (max_active); {waiting} clients wait already"

    def _paused(self, identity: Identity) -> str:
        everything = None in self._pool.upkeep.orders.paused
        return "all databases are paused" if everything else f'database "{identity.database}" is paused'

    def _why(self, waiter: Waiter) -> str:
        """In words for who looks at it."""
        upkeep, settings = self._pool.upkeep, self._budget.settings
        if upkeep.orders.holds(waiter.identity):
            return self._paused(waiter.identity)
        if waiter.opening is not None:
            return "a server is being opened for it"
        if waiter.relay is not None and self._budget.logins.places >= settings.login_places:
            return f"{settings.login_places} servers are being logged in on (max_logins)"
        if waiter.identity in upkeep.needs_client:
            return "all servers of its user are in use, and only a login of that user could open another one"
        if not self._budget.has_room:
            return f"all {settings.max_active} servers of the project are in use (max_active)"
        return "others have asked before it"
