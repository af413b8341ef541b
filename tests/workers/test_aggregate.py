"""What several workers counted, as one account."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgbeam_core.api.results import Result
from pgbeam_core.telemetry.stats import ProjectStats
from pgbeam_core.workers import aggregate


def busy(*seconds: float) -> ProjectStats:
    """A project whose queries took so long."""
    stats = ProjectStats(clients=1)
    for duration in seconds:
        stats.executed(Result(source="server", duration=duration, size=10))
    return stats


def test_numbers_add_up() -> None:
    """In tables of tables; what only one worker has is kept."""
    one = {"cache": {"hits": 3, "by": {"ttl": 1}}, "pool": {"waited": 0.5}}
    two = {"cache": {"hits": 4, "by": {"swr": 2}}, "pool": {"waited": 0.25}}
    assert aggregate.total([one, two]) == {"cache": {"hits": 7, "by": {"ttl": 1, "swr": 2}}, "pool": {"waited": 0.75}}


@pytest.mark.parametrize(
    ("values", "total"),
    [(["up", "up"], "up"), (["up", "out"], ["up", "out"]), ([True, True], True), ([None, 3], [None, 3]), ([7], 7)],
)
def test_what_is_no_number_is_not_added(values: list[object], total: object) -> None:
    """Where workers agree it is said once, where they do not, each says its own."""
    assert aggregate.total(values) == total


def test_a_quantile_is_that_of_all_latencies() -> None:
    """Ninety quick queries of one worker, ten slow ones of another: the median is quick, the 95th percentile slow."""
    quick, slow = busy(*[0.001] * 90), busy(*[1.0] * 10)
    trees = [{"projects": {"shop": each.as_dict()}, "pins": {}, "plugin_errors": {}} for each in (quick, slow)]
    summed = aggregate.latencies({"shop": each.latency.counts} for each in (quick, slow))
    shop = aggregate.stats(trees, summed)["projects"]["shop"]
    assert (shop["clients"], shop["queries"]) == (2, 100)
    assert shop["latency_p50_ms"] == pytest.approx(1, rel=0.25)
    assert shop["latency_p95_ms"] == pytest.approx(1000, rel=0.25)


def test_no_worker_counts_nothing() -> None:
    """Before the first answer there is an account all the same."""
    assert aggregate.stats([], {}) == {"projects": {}, "pins": {}, "plugin_errors": {}}


@given(st.lists(st.lists(st.floats(0.0001, 10), max_size=20), min_size=1, max_size=4))
def test_the_sum_is_what_one_process_would_have_counted(parts: list[list[float]]) -> None:
    """However queries are spread over workers, their stats are those of one that did them all."""
    each = [busy(*part) for part in parts]
    trees = [{"projects": {"shop": one.as_dict()}, "pins": {}, "plugin_errors": {}} for one in each]
    summed = aggregate.latencies({"shop": one.latency.counts} for one in each)
    alone = busy(*(duration for part in parts for duration in part))
    alone.clients = len(parts)
    assert aggregate.stats(trees, summed)["projects"]["shop"] == alone.as_dict()
