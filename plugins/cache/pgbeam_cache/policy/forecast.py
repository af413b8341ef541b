"""What if: what a rule would have given on the traffic just seen."""

from __future__ import annotations

from typing import NamedTuple

from pgbeam_cache.policy.traffic import NEVER, WINDOW_S, RecentTraffic


class Forecast(NamedTuple):
    """Of one shape, for one rule. Counts are of the requests listed, those left out counted in by their share."""

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


def forecast(traffic: RecentTraffic, now: int, ttl: int, swr: int) -> Forecast:
    """Play the traffic through a cache that begins empty. Writes drop what was read from their tables."""
    rows = traffic.listed(now - WINDOW_S)
    share = traffic.mask + 1
    born: dict[int, tuple[int, int]] = {}
    calls = hits = asked = 0
    never = oldest = 0
    for second, key, written, count in rows:
        if key == NEVER:
            never += count
            continue
        calls += count
        before = born.get(key)
        age = second - before[0] if before is not None and before[1] == written else -1
        if 0 <= age < ttl or (age == 0 and swr > 0):
            hits += count
        elif 0 <= age < ttl + swr:
            hits += count
            asked += 1
            born[key] = (second, written)
        else:
            hits += count - 1
            asked += 1
            born[key] = (second, written)
            age = 0
        oldest = max(oldest, age)
    seconds = now - rows[0][0] if rows else 0
    return Forecast(max(seconds, 1) if rows else 0, calls * share + never, hits * share, asked * share + never, oldest)


def merged(parts: list[Forecast]) -> Forecast:
    """Of several workers: each would have had a cache of its own, and a second level beneath them."""
    return Forecast(
        max((part.seconds for part in parts), default=0),
        sum(part.calls for part in parts),
        sum(part.hits for part in parts),
        sum(part.asked for part in parts),
        max((part.oldest for part in parts), default=0),
    )
