"""Counters and latency histograms, per project. No locks, no per-row work: one update per execution."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from pgbeam_core.api.results import Result

BOUNDS = tuple(0.0001 * 1.25**step for step in range(60))
"""Upper bounds of the histogram's buckets in seconds: 0.1 ms to about 53 s, each a quarter more than the last."""


class Histogram:
    """How long things took. A quantile is exact to a quarter of its value."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.total = 0.0

    @classmethod
    def of(cls, counts: Iterable[Iterable[int]]) -> Histogram:
        """One histogram of what others counted; how long all took together is not known."""
        summed = cls()
        summed.counts = [sum(column) for column in zip(summed.counts, *counts, strict=True)]
        return summed

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds

    def quantile(self, part: float) -> float:
        """Seconds below which `part` (0..1) of all lie; 0 if there are none."""
        wanted = part * sum(self.counts)
        seen = 0
        for place, count in enumerate(self.counts):
            seen += count
            if count and seen >= wanted:
                return BOUNDS[min(place, len(BOUNDS) - 1)]
        return 0.0


def quantiles(latency: Histogram) -> dict[str, float]:
    """As `stats` shows them, in milliseconds."""
    return {f"latency_p{part}_ms": latency.quantile(part / 100) * 1000 for part in (50, 95, 99)}


@dataclass(slots=True)
class ProjectStats:
    """Counters of one project since start. Names end in their unit; a bare plural is a count."""

    clients: int = 0
    """Now connected."""
    clients_total: int = 0
    logins_failed: int = 0
    queries: int = 0
    queries_answered: int = 0
    """Answered by a plugin, without a server."""
    errors: int = 0
    transactions: int = 0
    transactions_lazy: int = 0
    """Ended without a server that had heard of them."""
    transactions_begun: Counter[str] = field(default_factory=Counter)
    """Kept back at first and made real, by the reason."""
    sent_bytes: int = 0
    """To clients, as replies."""
    servers_lost: int = 0
    latency: Histogram = field(default_factory=Histogram)
    """From a request's arrival to the end of its reply."""

    def executed(self, result: Result) -> None:
        self.queries += 1
        if result.error is not None:
            self.errors += 1
        elif result.source != "server":
            self.queries_answered += 1
        if result.committed:
            self.transactions += 1
        self.sent_bytes += result.size
        self.latency.add(result.duration)

    def begun(self, reason: str) -> None:
        """A transaction that was kept back is made real."""
        self.transactions_begun[reason] += 1

    def as_dict(self) -> dict[str, float | int | dict[str, int]]:
        return {
            "clients": self.clients,
            "clients_total": self.clients_total,
            "logins_failed": self.logins_failed,
            "queries": self.queries,
            "queries_answered": self.queries_answered,
            "errors": self.errors,
            "transactions": self.transactions,
            "transactions_lazy": self.transactions_lazy,
            "transactions_begun": dict(self.transactions_begun),
            "sent_bytes": self.sent_bytes,
            "servers_lost": self.servers_lost,
            **quantiles(self.latency),
        }
