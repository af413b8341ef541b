"""What the TUI shows, as plain values: counters of the last seconds, taken from a running service."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from pgbeam_core.telemetry.stats import Histogram

WINDOW_S = 10.0
"""Rates and latencies are those of this many seconds."""


class Watched(Protocol):
    """What the TUI needs of a service."""

    @property
    def reactor(self) -> Any: ...
    @property
    def settings(self) -> Shown: ...
    @property
    def addresses(self) -> list[tuple[str, int]]: ...
    def stats(self) -> dict[str, Any]: ...
    def latencies(self) -> Mapping[str, list[int]]: ...
    def panels(self) -> Iterable[tuple[str, Any]]: ...


class Shown(Protocol):
    """The settings that matter to the TUI."""

    @property
    def projects(self) -> Mapping[str, Any]: ...
    @property
    def log_level(self) -> str: ...


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
    loop_gaps: int = 0
    """How often the loop was held since start, see `watchdog`."""
    panels: tuple[tuple[str, Any], ...] = ()
    """Plugin → what it gave rich to print."""
    log: tuple[str, ...] = ()
    """The last lines."""


CORE = ("projects", "pins", "plugin_errors", "loop", "supervisor")
"""What `stats` holds besides what plugins count."""


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
        self._began = service.reactor.seconds()
        self._samples: deque[Sample] = deque()

    def look(self, log: tuple[str, ...] = ()) -> View:
        """What is to be shown now."""
        service = self._service
        stats = service.stats()
        plugins = {name: value for name, value in stats.items() if name not in CORE}
        moment = service.reactor.seconds()
        now = self._remember(Sample(moment, stats["projects"], service.latencies(), lookups(plugins)))
        then = self._samples[0]
        traffic = [self._traffic(name, then, now) for name in service.settings.projects]
        hits, asked = (new - old for new, old in zip(now.lookups, then.lookups, strict=True))
        return View(
            addresses=tuple(service.addresses),
            up_s=getattr(service, "up_s", now.at - self._began),
            traffic=tuple(sorted(traffic, key=lambda one: (-one.queries, one.project))),
            servers=tuple(server_counts(plugins, service.settings.projects)),
            hit_ratio=hits / asked if asked > 0 else None,
            pins=dict(stats.get("pins", {})),
            plugin_errors=sum(stats["plugin_errors"].values()),
            loop_gaps=stats.get("loop", {}).get("gaps_held", 0),
            panels=tuple(service.panels()),
            log=log,
        )

    def _remember(self, sample: Sample) -> Sample:
        samples = self._samples
        samples.append(sample)
        while len(samples) > 2 and samples[1].at <= sample.at - WINDOW_S:
            samples.popleft()
        return sample

    def _traffic(self, name: str, then: Sample, now: Sample) -> Traffic:
        old, new, seconds = then.projects.get(name, {}), now.projects.get(name, {}), now.at - then.at

        def rate(counter: str) -> float:
            # What a worker that has died counted is missing: less than before is nothing.
            return max(0.0, new.get(counter, 0) - old.get(counter, 0)) / seconds if seconds > 0 else 0.0

        latency = _lately(now.latencies.get(name), then.latencies.get(name))
        return Traffic(
            name,
            int(new.get("clients", 0)),
            rate("queries"),
            rate("queries_answered"),
            rate("errors"),
            rate("sent_bytes"),
            *(latency.quantile(part) for part in (0.50, 0.95, 0.99)),
        )


def _lately(now: list[int] | None, then: list[int] | None) -> Histogram:
    """The latencies of what was counted since then."""
    latency = Histogram()
    if now is not None:
        latency.counts = now if then is None else [max(0, new - old) for new, old in zip(now, then, strict=True)]
    return latency


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
