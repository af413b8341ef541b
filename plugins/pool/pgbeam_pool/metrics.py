"""What Prometheus is told of pools."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from pgbeam_core import Identity, Metric
from pgbeam_pool.budget import Budget
from pgbeam_pool.waiting import Host

MOST_IDENTITIES = 100
"""Pairs of database and user that are told apart in one project; clients make them up, so there is a bound."""
_OTHER = "other"
Labels = dict[str, str]


def metrics(budgets: Mapping[str, Budget]) -> Sequence[Metric]:
    """Servers by pool and state, who waits, and what is out of reach."""
    pools = [(name, pool) for name, budget in budgets.items() for pool in budget.pools]
    servers = [sample for name, budget in budgets.items() for sample in _servers(name, budget.pools)]
    lost = Counter({name: sum(pool.lost for pool in budget.pools) for name, budget in budgets.items()})
    return [
        Metric("servers", "Servers by pool and state: opening, idle, active, returning", servers, "gauge"),
        _gauge("servers_max", "Servers that a project may have", budgets, lambda budget: budget.settings.max_active),
        _gauge("clients_waiting", "Clients that wait for a server", budgets, lambda budget: len(budget.waiting)),
        _gauge("longest_wait_seconds", "Of the client that waits longest now", budgets, _longest, "max"),
        _gauge("logins_waiting", "Clients that wait to log in", budgets, lambda budget: budget.logins.waiting),
        Metric("servers_lost", "Servers that went away by themselves", [_by_project(*item) for item in lost.items()]),
        Metric(
            "breaker_open",
            "1 for a target whose circuit breaker is open",
            [({"project": name, "target": pool.address}, float(pool.reaching.breaker.open)) for name, pool in pools],
            "gauge",
            "max",
        ),
    ]


def _by_project(project: str, value: float) -> tuple[Labels, float]:
    return {"project": project}, value


def _gauge(name: str, text: str, budgets: Mapping[str, Budget], value: object, merge: str = "sum") -> Metric:
    assert callable(value)
    samples = [_by_project(project, value(budget)) for project, budget in budgets.items()]
    return Metric(name, text, samples, "gauge", merge)


def _longest(budget: Budget) -> float:
    return max((waiter.pool.now() - waiter.since for waiter in budget.waiting), default=0.0)


def _servers(project: str, pools: Sequence[Host]) -> Iterator[tuple[Labels, float]]:
    counts: Counter[tuple[str, str, str, str]] = Counter()
    for pool in pools:
        for identity, state, count in states(pool):
            counts[pool.address, identity.database, identity.user, state] += count
    known = {(database, user) for _, database, user, _ in counts}
    shown = set(sorted(known)[:MOST_IDENTITIES])
    summed: Counter[tuple[str, str, str, str]] = Counter()
    for (address, database, user, state), count in counts.items():
        named = (database, user) if (database, user) in shown else (_OTHER, _OTHER)
        summed[address, *named, state] += count
    for (address, database, user, state), count in summed.items():
        yield {"project": project, "target": address, "database": database, "user": user, "state": state}, count


def states(pool: Host) -> Iterator[tuple[Identity, str, int]]:
    """How many servers of which identity are in which state."""
    servers = pool.servers
    yield from ((identity, "opening", 1) for identity in servers.opening.values())
    yield from ((server.identity, "active", 1) for server in servers.leased)
    yield from ((server.identity, "returning", 1) for server in servers.returning)
    yield from ((identity, "active", len(shared)) for identity, shared in servers.shared.items())
    yield from ((identity, "idle", len(idle)) for identity, idle in servers.idle.items())
