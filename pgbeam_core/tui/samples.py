"""What the TUI shows, as plain values: counters of the last seconds, taken from a running service."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from pgbeam_core.beam import Beam
from pgbeam_core.firing import Hooks
from pgbeam_core.stats import ProjectStats

WINDOW_S = 10.0
"""Rates and latencies are those of this many seconds."""


class Watched(Protocol):
    """What the TUI needs of a service."""

    @property
    def beam(self) -> Beam: ...
    @property
    def hooks(self) -> Hooks: ...
    @property
    def addresses(self) -> list[tuple[str, int]]: ...
    def stats(self) -> dict[str, Any]: ...


@dataclass(slots=True, frozen=True)
class Traffic:
    """One project. Counts are per second; p50, p95 and p99 are seconds, 0 where nothing was executed."""

    project: str
    clients: int
    queries: float = 0.0
    answered: float = 0.0
    """Queries that a plugin answered, without a server."""
    errors: float = 0.0
    sent_bytes: float = 0.0
    p50: float = 0.0
    p95: float = 0.0
    p99: float = 0.0


@dataclass(slots=True, frozen=True)
class View:
    """One look at a service."""

    addresses: tuple[tuple[str, int], ...] = ()
    up_s: float = 0.0
    traffic: tuple[Traffic, ...] = ()
    """The busiest project first."""
    servers: tuple[tuple[str, Mapping[str, float]], ...] = ()
    """Project → the counters that a plugin has about its servers: servers, servers_idle …"""
    hit_ratio: float | None = None
    """Hits among the queries that a cache looked up, 0..1; None where it looked up none, or there is no cache."""
    pins: Mapping[str, int] = field(default_factory=dict)
    """Why clients keep a server → how many do."""
    plugin_errors: int = 0
    """Exceptions of plugins since start."""
    panels: tuple[tuple[str, Any], ...] = ()
    """Plugin → what it gave rich to print."""
    log: tuple[str, ...] = ()
    """The last lines."""


@dataclass(slots=True, frozen=True)
class Sample:
    """The counters at one moment."""

    at: float
    projects: Mapping[str, Mapping[str, float]]
    latencies: Mapping[str, list[int]]
    lookups: tuple[float, float]
    """Queries that a cache answered, and all it looked up."""


class Window:
    """Looks at a service from time to time, and remembers for `WINDOW_S` what it saw."""

    def __init__(self, service: Watched) -> None:
        self._service = service
        self._began = service.beam.now()
        self._samples: deque[Sample] = deque()

    def look(self, log: tuple[str, ...] = ()) -> View:
        """What is to be shown now."""
        service = self._service
        stats = service.stats()
        plugins = {name: value for name, value in stats.items() if name not in ("projects", "pins", "plugin_errors")}
        now = self._remember(Sample(service.beam.now(), stats["projects"], self._latencies(), lookups(plugins)))
        then = self._samples[0]
        traffic = [self._traffic(name, then, now) for name in service.beam.settings.projects]
        hits, asked = (new - old for new, old in zip(now.lookups, then.lookups, strict=True))
        return View(
            addresses=tuple(service.addresses),
            up_s=now.at - self._began,
            traffic=tuple(sorted(traffic, key=lambda one: (-one.queries, one.project))),
            servers=tuple(server_counts(plugins, service.beam.settings.projects)),
            hit_ratio=hits / asked if asked > 0 else None,
            pins=dict(stats.get("pins", {})),
            plugin_errors=sum(stats["plugin_errors"].values()),
            panels=tuple(service.hooks.panel()),
            log=log,
        )

    def _remember(self, sample: Sample) -> Sample:
        samples = self._samples
        samples.append(sample)
        while len(samples) > 2 and samples[1].at <= sample.at - WINDOW_S:
            samples.popleft()
        return sample

    def _latencies(self) -> dict[str, list[int]]:
        return {name: list(stats.latency.counts) for name, stats in self._service.beam.project_stats.items()}

    def _traffic(self, name: str, then: Sample, now: Sample) -> Traffic:
        stats = self._service.beam.project_stats.get(name) or ProjectStats()
        old, new, seconds = then.projects.get(name, {}), now.projects.get(name, {}), now.at - then.at

        def rate(counter: str) -> float:
            return (new.get(counter, 0) - old.get(counter, 0)) / seconds if seconds > 0 else 0.0

        since = then.latencies.get(name)
        return Traffic(
            name,
            stats.clients,
            rate("queries"),
            rate("queries_answered"),
            rate("errors"),
            rate("sent_bytes"),
            *(stats.latency.quantile(part, since) for part in (0.50, 0.95, 0.99)),
        )


def server_counts(plugins: Mapping[str, Any], projects: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, float]]]:
    """Of all that plugins count, what is about the servers of a project: a table with `servers` under its name."""
    for path, table in _tables(plugins):
        if path and path[-1] in projects and "servers" in table:
            yield path[-1], {name: value for name, value in table.items() if isinstance(value, int | float)}


def lookups(plugins: Mapping[str, Any]) -> tuple[float, float]:
    """(queries that a cache answered, queries it looked up): of the tables that count `hits` and `misses`."""
    answered = asked = 0.0
    for _, table in _tables(plugins):
        if "hits" in table and "misses" in table:
            found = table["hits"] + table.get("stale_hits", 0)
            answered += found
            asked += found + table["misses"]
    return answered, asked


def _tables(tree: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]:
    yield path, tree
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _tables(value, (*path, name))
