"""What the cache has done since it started."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields


@dataclass(slots=True)
class CacheCounts:
    """A bare plural is a number of queries, except where it says otherwise."""

    hits: int = 0
    stale_hits: int = 0
    misses: int = 0
    coalesced: int = 0
    """Answered by the server's reply to another client's same query."""
    refreshes: int = 0
    """Begun in the background."""
    refresh_failures: int = 0
    invalidations: int = 0
    """Entries dropped because their relations were written."""
    not_kept: int = 0
    """Replies that were too large, or held more than one plain result."""
    bypasses: Counter[str] = field(default_factory=Counter)
    """By reason."""

    def as_dict(self) -> dict[str, int | dict[str, int]]:
        counts = {name: getattr(self, name) for name in _NAMES}
        return {**counts, "bypasses": dict(self.bypasses)}


_NAMES = tuple(each.name for each in fields(CacheCounts))
