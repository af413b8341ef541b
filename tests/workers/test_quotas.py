"""The shares of workers in numbers that are set for PgBeam as a whole."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgbeam_core.settings import Settings
from pgbeam_core.workers.quotas import share, shared_out, too_small
from pgbeam_limits.settings import LimitsSettings
from pgbeam_pool.settings import PoolSettings


@dataclass(frozen=True)
class Spec:
    """Settings of a plugin."""

    servers: int = field(default=10, metadata={"total": True})
    rate: float = field(default=10.0, metadata={"total": True})
    timeout: int = 10


@given(st.integers(0, 10_000), st.integers(1, 256))
def test_the_shares_make_the_whole(total: int, workers: int) -> None:
    """No worker has more than one above another; nothing gets lost; each has at least 1, and 0 stays no limit."""
    quotas = [share(total, worker, workers) for worker in range(1, workers + 1)]
    assert sum(quotas) == (total if total >= workers or not total else workers)
    assert max(quotas) - min(quotas) <= 1
    assert quotas == sorted(quotas, reverse=True)


def test_only_what_says_so_is_shared_out() -> None:
    """A timeout is the same for everybody."""
    settings = Settings(workers=4, plugin={"mine": Spec()})
    shared = [shared_out(settings, worker, 4).plugin["mine"] for worker in (1, 2, 3, 4)]
    assert [(each.servers, each.rate, each.timeout) for each in shared] == [(3, 2.5, 10)] * 2 + [(2, 2.5, 10)] * 2


def test_what_does_not_give_each_worker_one_is_named() -> None:
    """So that nobody wonders about more servers than set."""
    settings = Settings(workers=4, plugin={"mine": Spec(servers=3, rate=1.0)})
    assert too_small(settings) == {"plugins.mine.servers": 3}
    assert too_small(replace(settings, workers=3)) == {}


@pytest.mark.parametrize(
    ("spec", "totals"),
    [
        (PoolSettings, {"max_active", "max_logins", "min_idle"}),
        (
            LimitsSettings,
            {"max_connections", "max_connections_per_user", "max_connections_per_database"}
            | {"queries_per_second", "burst", "queries_per_second_per_user", "burst_per_user"}
            | {"max_concurrent_queries", "max_concurrent_queries_per_user"},
        ),
    ],
)
def test_what_is_promised_to_the_database_is_shared_out(spec: type, totals: set[str]) -> None:
    """Servers, connections and rates are set for PgBeam, not for each of its processes."""
    fields = spec.__dataclass_fields__  # type: ignore[attr-defined]
    assert {name for name, each in fields.items() if each.metadata.get("total")} == totals
