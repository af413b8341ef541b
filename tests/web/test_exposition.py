"""What Prometheus is served, and what several processes counted as one account."""

from __future__ import annotations

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from pgbeam_core.api.metrics import Metric
from pgbeam_core.api.results import Result
from pgbeam_core.telemetry import metrics
from pgbeam_core.telemetry.stats import ProjectStats

from .sites import Stage


def counted(*results: Result) -> list[metrics.Family]:
    """What a process tells whose project has had these."""
    stats = ProjectStats()
    for result in results:
        stats.executed(result)
    return metrics.merged([metrics.of_projects({"shop": stats})])


SERVER = Result("server", duration=0.004, server_time=0.003, size=100)
CACHE = Result("cache", duration=0.0002, size=100)


def samples(stage: Stage, accept: str = "") -> dict[tuple[str, ...], float]:
    """(name, label values …) → number, as Prometheus's own parser reads it."""
    reply = stage.ask("GET", "/metrics", token=None, headers={"accept": accept})
    assert reply.status == 200
    text = reply.body.decode()
    families = read_openmetrics(text) if "openmetrics" in reply.content_type else read_text(text)
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for each in families
        for sample in each.samples
    }


@pytest.mark.parametrize("accept", ["", "application/openmetrics-text; version=1.0.0"])
def test_both_formats_say_the_same(accept: str) -> None:
    """Counters, gauges and histograms arrive as they were counted, whichever format a scraper asks for."""
    stage = Stage()
    stage.beam.families = counted(SERVER, SERVER, CACHE)
    found = samples(stage, accept)
    assert found["pgbeam_queries_total", "shop"] == 3
    assert found["pgbeam_queries_answered_total", "shop"] == 1
    assert found["pgbeam_query_duration_seconds_count", "shop", "server"] == 2
    assert found["pgbeam_query_duration_seconds_count", "shop", "cache"] == 1
    assert found["pgbeam_query_duration_seconds_sum", "shop", "server"] == pytest.approx(0.008)
    assert found["pgbeam_query_duration_seconds_bucket", "+Inf", "shop", "server"] == 2
    assert found["pgbeam_server_duration_seconds_count", "shop"] == 2
    assert found["pgbeam_ready",] == 1


def test_buckets_hold_what_is_not_longer_than_they_say() -> None:
    """Quantiles that Prometheus computes are those of the queries."""
    stage = Stage()
    stage.beam.families = counted(*(Result("server", duration=seconds) for seconds in (0.00005, 0.004, 100.0)))
    found = {
        float(key[1]): value
        for key, value in samples(stage).items()
        if key[0] == "pgbeam_query_duration_seconds_bucket"
    }
    assert len(found) == 21
    assert all(count == sum(seconds <= bound for seconds in (0.00005, 0.004, 100.0)) for bound, count in found.items())


def test_workers_add_up() -> None:
    """Numbers of several processes are summed by name and labels; where the greatest matters, that is taken."""
    one = [*counted(SERVER, CACHE), *metrics.of_loop({"gaps": 1, "gaps_held": 0, "longest_held_ms": 20})]
    two = [*counted(SERVER), *metrics.of_loop({"gaps": 2, "gaps_held": 1, "longest_held_ms": 70})]
    stage = Stage()
    stage.beam.families = metrics.merged([one, two])
    found = samples(stage)
    assert found["pgbeam_queries_total", "shop"] == 3
    assert found["pgbeam_query_duration_seconds_count", "shop", "server"] == 2
    assert found["pgbeam_loop_gaps_total",] == 3
    assert found["pgbeam_loop_longest_held_seconds",] == pytest.approx(0.07)


def test_what_a_dead_worker_counted_stays() -> None:
    """A counter that becomes less would look to Prometheus like a burst of new queries; a gauge must go."""
    kept = {each["name"] for each in metrics.lasting(counted(SERVER))}
    assert {"pgbeam_queries", "pgbeam_query_duration_seconds"} <= kept
    assert "pgbeam_clients" not in kept


def test_a_plugins_metrics_are_under_its_name() -> None:
    """Nobody's numbers are taken for another's, and odd plugin names make no odd metrics."""
    (found,) = metrics.of_plugin("my-audit", [Metric("rows", "Rows", [({"project": "shop"}, 3)], "gauge")])
    assert found["name"] == "pgbeam_my_audit_rows"


@pytest.mark.parametrize(
    "metric",
    [
        Metric("Rows", "capital", []),
        Metric("rows", "kind", [], kind="summary"),
        Metric("rows", "value", [({}, "3")]),  # type: ignore[list-item]
        Metric("rows", "label", [({"a-b": "x"}, 3)]),
    ],
    ids=lambda metric: metric.help,
)
def test_what_prometheus_would_not_take_is_an_error_of_the_plugin(metric: Metric) -> None:
    """One bad metric does not spoil the scrape of all others: its plugin is named and passed over."""
    with pytest.raises(ValueError, match=r"rows|Rows"):
        list(metrics.of_plugin("audit", [metric]))


def test_a_plugin_cannot_flood_prometheus() -> None:
    """Labels that clients make up would be a series for each; beyond a bound they are left out, and counted."""
    flood = Metric("users", "Users", [({"user": str(number)}, 1) for number in range(metrics.MOST_SAMPLES + 7)])
    users, left_out = metrics.of_plugin("audit", [flood])
    assert len(users["samples"]) == metrics.MOST_SAMPLES
    assert left_out["samples"] == [[{"plugin": "audit", "name": "users"}, 7]]


def test_numbers_without_a_kind_are_shown_as_gauges() -> None:
    """A plugin that only has stats is seen too, with the path of each number as a label."""
    found = metrics.of_stats("audit", {"shop": {"rows": 3, "word": "x"}, "on": True})
    assert found["samples"] == [
        [{"plugin": "audit", "name": "shop.rows"}, 3],
        [{"plugin": "audit", "name": "on"}, True],
    ]
