"""What if: what a rule would have given on the traffic just seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pgbeam_cache.policy.traffic import NEVER, WINDOW_S, Came, RecentTraffic

_HOT = 2
"""Requests that come so often that each of them alone is much of the traffic: taken to be so many if none is listed."""


class Forecast(NamedTuple):
    """Of one shape, for one rule."""

    seconds: int
    """How long the traffic is that was looked at."""
    calls: float
    hits: float
    """Answered without waiting for a server, stale replies included."""
    asked: float
    """Executions on a server, refreshes included."""
    oldest: int
    """Seconds; the age of the oldest reply that would have been given."""

    @property
    def ratio(self) -> float | None:
        return self.hits / self.calls if self.calls else None


class _Played:
    """A cache that begins empty, and what it did."""

    def __init__(self, ttl: int, swr: int) -> None:
        self.ttl, self.swr = ttl, swr
        self.calls = self.hits = self.asked = self.never = self.oldest = 0
        self._born: dict[int, tuple[int, int]] = {}

    def play(self, came: Came) -> None:
        """Writes drop what was read from their tables."""
        if came.key == NEVER:
            self.never += came.calls
            return
        before = self._born.get(came.key)
        age = came.second - before[0] if before is not None and before[1] == came.written else -1
        misses = came.changes + (not 0 <= age < self.ttl + self.swr)
        refreshed = age >= self.ttl and age > 0 and misses == came.changes
        self.calls += came.calls
        self.hits += came.calls - misses
        self.asked += misses + refreshed
        if misses < came.calls and misses == came.changes:
            self.oldest = max(self.oldest, age)
        if misses or refreshed:
            self._born[came.key] = (came.second, came.last)


def forecast(traffic: RecentTraffic, now: int, ttl: int, swr: int) -> Forecast:
    """Play the traffic through a cache. What is not listed is counted in by its share."""
    rows = traffic.listed(now - WINDOW_S)
    if not rows:
        return Forecast(0, 0, 0, 0, 0)
    played = _Played(ttl, swr)
    for came in rows:
        played.play(came)
    seconds = max(now - rows[0].second, 1)
    calls, hits, asked = _whole(played, rows, traffic, seconds)
    return Forecast(seconds, calls + played.never, hits, asked + played.never, played.oldest)


def _whole(played: _Played, rows: Sequence[Came], traffic: RecentTraffic, seconds: int) -> tuple[float, float, float]:
    """Calls, hits and executions of all requests, from those of the listed ones.

    Where only some requests are listed, those that come most often may all be missing among them, or none. What is
    missing, or too much, is theirs: they hit but for one miss after each write, and after each end of their time.
    """
    share = traffic.mask + 1
    if share == 1:
        return played.calls, played.hits, played.asked
    calls, asked = float(traffic.calls(rows[0].second)), float(played.asked * share)
    missing = calls - played.calls * share
    if missing > 0:
        writes = len({written for came in rows for written in (came.written, came.last)})
        asked += min(missing, _HOT * (writes + seconds / max(played.ttl + played.swr, 1)))
    asked = min(asked, calls)
    misses = min(calls, played.calls * share - played.hits * share + max(0.0, asked - played.asked * share))
    return calls, max(0.0, calls - misses), asked


def merged(parts: Sequence[Forecast]) -> Forecast:
    """Of several workers, as if each had a cache of its own and none beneath."""
    return Forecast(
        max((part.seconds for part in parts), default=0),
        sum(part.calls for part in parts),
        sum(part.hits for part in parts),
        sum(part.asked for part in parts),
        max((part.oldest for part in parts), default=0),
    )
