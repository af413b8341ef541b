"""What several runs come to."""

from __future__ import annotations

import pytest

from bench.figures import Goal, Result, Sample, middle, percentile


def result(pgbeam: list[float], other: list[float], *goals: Goal) -> Result:
    """A work measured through PgBeam and PgBouncer."""
    samples = {"pgbeam": [Sample(rate=rate) for rate in pgbeam], "pgbouncer": [Sample(rate=rate) for rate in other]}
    return Result("select", "select", "transaction", goals, samples)


def test_a_figure_is_the_median_of_the_runs_that_have_it() -> None:
    """One run on a disturbed machine changes nothing."""
    found = middle([Sample(rate=10.0), Sample(rate=1.0, p50_ms=2.0), Sample(rate=11.0)])
    assert found is not None
    assert (found.rate, found.p50_ms, found.p99_ms) == (10.0, 2.0, None)


def test_no_runs_have_no_figures() -> None:
    """What was not measured is not zero."""
    assert middle([]) is None
    assert result([], [1.0]).ratio("pgbeam", "pgbouncer") is None


def test_a_ratio_compares_runs_of_the_same_round() -> None:
    """A machine that gets slower from round to round leaves the ratio alone."""
    assert result([200.0, 100.0, 50.0], [100.0, 50.0, 25.0]).ratio("pgbeam", "pgbouncer") == 2.0


def test_a_goal_may_be_a_factor_of_another_way_or_a_bound() -> None:
    """Rates are to be at least as high, memory at most as large."""
    measured = result([150.0], [100.0])
    assert measured.reached(Goal(1.5, "pgbouncer")) == (1.5, True)
    assert measured.reached(Goal(1.6, "pgbouncer")) == (1.5, False)
    assert measured.reached(Goal(1.0, "direct")) is None
    measured.samples["pgbeam"][0].bytes_each = 26_000
    assert measured.reached(Goal(25_000, None, "bytes_each")) == (26_000, False)


def test_the_spread_is_wanted_no_wider_than_the_others() -> None:
    """p99 / p50 is compared, not the latencies themselves: those follow from the rate."""
    measured = result([1.0], [1.0])
    for way, p99 in (("pgbeam", 3.0), ("pgbouncer", 4.0)):
        measured.samples[way][0].p50_ms, measured.samples[way][0].p99_ms = 2.0, p99
    assert measured.reached(Goal(1.0, "pgbouncer", "spread")) == (0.75, True)


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.99, 99), (1.0, 100), (0.001, 1)])
def test_a_percentile_is_a_value_that_was_measured(share: float, expected: int) -> None:
    """Of 1 to 100, the 99th percentile is 99."""
    assert percentile(list(range(100, 0, -1)), share) == expected


def test_one_value_is_every_percentile() -> None:
    """A short run has something to say as well."""
    assert (percentile([7.0], 0.5), percentile([7.0], 0.99)) == (7.0, 7.0)
