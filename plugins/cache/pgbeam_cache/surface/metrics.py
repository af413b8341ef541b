"""What Prometheus is told of the cache."""

from __future__ import annotations

from collections.abc import Sequence

from pgbeam_cache.serving.cache import Cache
from pgbeam_core import Metric

_COUNTERS = (
    ("hits", "Queries answered by a fresh reply that was remembered"),
    ("stale_hits", "Queries answered by one that was refreshed meanwhile"),
    ("misses", "Queries that were looked up and went to a server"),
    ("coalesced", "Queries answered by the reply to the same query of another client"),
    ("refreshes", "Refreshes begun in the background"),
    ("refresh_failures", "Refreshes that failed"),
    ("invalidations", "Replies dropped because their tables were written"),
    ("not_kept", "Replies that were too large, or more than one plain result"),
)


def metrics(cache: Cache) -> Sequence[Metric]:
    """Counters since start, and what there is now."""
    counts = cache.counts
    found = [Metric(name, text, [({}, getattr(counts, name))]) for name, text in _COUNTERS]
    bypasses = [({"reason": reason}, count) for reason, count in counts.bypasses.items()]
    found.append(Metric("bypasses", "Queries that were not looked up, by reason", bypasses))
    found.append(Metric("evictions", "Replies dropped to make room", [({}, cache.store.evictions)]))
    for name, text, value, merge in (
        ("entries", "Replies in memory", len(cache.store), "sum"),
        ("memory_bytes", "Memory that they take", cache.store.bytes, "sum"),
        ("shapes", "Shapes of queries that are tracked", len(cache.shapes), "max"),
        ("rules", "Cache rules", len(cache.rules.current), "max"),
    ):
        found.append(Metric(name, text, [({}, value)], "gauge", merge))
    if cache.second is not None:
        for name, value in cache.second.stats().items():
            found.append(Metric(f"l2_{name}", f"Second level: {name}", [({}, value)]))
    return found
