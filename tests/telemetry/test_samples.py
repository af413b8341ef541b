"""What is made of a service's counters."""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock

from pgbeam_core.api.results import Result
from pgbeam_core.telemetry.samples import WINDOW_S, Window
from tests.tui.services import FakeService


def executed(service: FakeService, project: str, times: int, **how) -> None:
    """That many executions."""
    for _ in range(times):
        service.stats_of[project].executed(Result(**{"source": "server", "duration": 0.01, "size": 100, **how}))
    service.stats_of[project].sent_bytes += 100 * times


@pytest.fixture
def clock() -> Clock:
    """A clock that stands still."""
    return Clock()


def test_rates_are_of_the_last_seconds(clock):
    """A burst is seen while it is in the window and forgotten when it has left it."""
    service = FakeService(clock, "shop")
    window = Window(service)
    assert window.look().traffic[0].queries == 0
    executed(service, "shop", 100)
    clock.advance(1)
    assert window.look().traffic[0].queries == 100
    clock.advance(1)
    traffic = window.look().traffic[0]
    assert traffic.queries == 50
    assert traffic.sent_bytes == 5000
    for _ in range(int(WINDOW_S)):
        clock.advance(1)
        window.look()
    assert window.look().traffic[0].queries == 0


def test_latencies_are_of_the_last_seconds(clock):
    """One slow hour long ago does not colour the percentiles of now."""
    service = FakeService(clock, "shop")
    executed(service, "shop", 10_000, duration=5.0)
    window = Window(service)
    window.look()
    clock.advance(1)
    executed(service, "shop", 100, duration=0.002)
    traffic = window.look().traffic[0]
    assert traffic.p50 == pytest.approx(0.002, rel=0.25)
    assert traffic.p99 == pytest.approx(0.002, rel=0.25)


def test_errors_and_answers_are_told_apart(clock):
    """Errors, and queries that a plugin answered, have rates of their own."""
    service = FakeService(clock, "shop")
    window = Window(service)
    window.look()
    executed(service, "shop", 6, error=("22012", "division by zero"))
    executed(service, "shop", 4, source="cache")
    clock.advance(2)
    traffic = window.look().traffic[0]
    assert (traffic.queries, traffic.errors, traffic.answered) == (5, 3, 2)


def test_a_project_without_clients_is_there(clock):
    """A project of the settings has its line before the first client comes; the busiest comes first."""
    service = FakeService(clock, "shop", "blog")
    window = Window(service)
    service.stats_of.pop("shop")
    window.look()
    executed(service, "blog", 1)
    clock.advance(1)
    assert [one.project for one in window.look().traffic] == ["blog", "shop"]


@pytest.mark.parametrize("nested", [True, False], ids=["nested", "flat"])
def test_servers_are_those_of_the_plugin_that_counts_them(clock, nested):
    """Any plugin with a table `servers…` under a project's name has its counters shown; others do not."""
    service = FakeService(clock, "shop")
    counts = {"shop": {"servers": 3, "servers_idle": 1, "words": "none"}}
    service.plugins = {"mypool": {"pool": counts} if nested else counts, "other": {"shop": {"cats": 1}}}
    assert Window(service).look().servers == (("shop", {"servers": 3, "servers_idle": 1}),)


def test_hit_ratio_is_of_the_last_seconds(clock):
    """Fresh and stale hits count among what was looked up; without look-ups there is no ratio."""
    service = FakeService(clock, "shop")
    service.plugins = {"cache": {"hits": 1000, "stale_hits": 0, "misses": 0}}
    window = Window(service)
    assert window.look().hit_ratio is None
    service.plugins = {"cache": {"hits": 1002, "stale_hits": 1, "misses": 1}}
    clock.advance(1)
    assert window.look().hit_ratio == 0.75


def test_plugin_errors_panels_and_log_are_passed_on(clock):
    """How often plugins raised, what they show and what was logged is in the view."""
    service = FakeService(clock, "shop")
    service.shown = [("cache", "a panel")]
    clock.advance(5)
    window = Window(service)
    clock.advance(61)
    view = window.look(("a line",))
    assert view.plugin_errors == 2
    assert view.panels == (("cache", "a panel"),)
    assert view.log == ("a line",)
    assert view.up_s == 61
    assert view.addresses == (("127.0.0.1", 6432),)
