"""Counters and latency histograms, per project. No locks, no per-row work: one update per execution."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

from pgbeam_core.api.results import Result

if TYPE_CHECKING:
    from pgbeam_core.session.session import Session

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

    def join(self, other: Histogram) -> None:
        """Count what another one has counted, too."""
        self.counts = [sum(pair) for pair in zip(self.counts, other.counts, strict=True)]
        self.total += other.total

    def add(self, seconds: float, times: int = 1) -> None:
        self.counts[bisect_left(BOUNDS, seconds)] += times
        self.total += seconds * times

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
    """Counters of a project, or of one of its databases. Names end in their unit; a bare plural is a count."""

    clients: int = 0
    """Now connected."""
    clients_total: int = 0
    logins_failed: Counter[str] = field(default_factory=Counter)
    """By reason."""
    queries: int = 0
    queries_answered: int = 0
    """Answered by a plugin, without a server."""
    errors: int = 0
    transactions: int = 0
    """Ended, however; a statement outside of one is one. What PgBeam refuses is none."""
    transactions_lazy: int = 0
    """Ended without a server that had heard of them."""
    transactions_begun: Counter[str] = field(default_factory=Counter)
    """Kept back at first and made real, by the reason."""
    received_bytes: int = 0
    """From clients, once they have logged in."""
    sent_bytes: int = 0
    """To clients, once they have logged in."""
    client_parses: int = 0
    """Parse messages of clients."""
    server_parses: int = 0
    """Statements of clients that servers were made to parse."""
    binds: int = 0
    """Bind messages of clients."""
    assignments: int = 0
    """How often a client got a server."""
    query_time: float = 0.0
    """Seconds that servers took for requests."""
    transaction_time: float = 0.0
    """Seconds that clients had a server in a transaction, be it of one statement."""
    wait_time: float = 0.0
    """Seconds that clients waited for a server."""
    servers_lost: int = 0
    latencies: dict[str, Histogram] = field(default_factory=dict)
    """From a request's arrival to the end of its reply, by who replied: `server`, or a plugin."""
    server: Histogram = field(default_factory=Histogram)
    """How long servers took, of what they were asked."""
    waits: Histogram = field(default_factory=Histogram)
    """How long those waited for a server who had to."""

    @property
    def latency(self) -> Histogram:
        """Of all that was executed, whoever replied."""
        summed = Histogram.of([each.counts for each in self.latencies.values()])
        summed.total = sum(each.total for each in self.latencies.values())
        return summed

    def executed(self, result: Result, times: int = 1) -> None:
        """So many executions have ended in that way."""
        self.queries += times
        if result.error is not None:
            self.errors += times
        elif result.source != "server":
            self.queries_answered += times
        latency = self.latencies.get(result.source)
        if latency is None:
            latency = self.latencies[result.source] = Histogram()
        latency.add(result.duration, times)
        if result.server_time > 0.0:
            self.server.add(result.server_time, times)

    def leased(self, waited: float) -> None:
        """A client got a server, after that many seconds."""
        self.assignments += 1
        if waited > 0.0:
            self.wait_time += waited
            self.waits.add(waited)

    def begun(self, reason: str) -> None:
        """A transaction that was kept back is made real."""
        self.transactions_begun[reason] += 1

    def as_dict(self) -> dict[str, float | int | dict[str, int]]:
        return {
            "clients": self.clients,
            "clients_total": self.clients_total,
            "logins_failed": self.logins_failed.total(),
            "logins_failed_by": dict(self.logins_failed),
            "queries": self.queries,
            "queries_answered": self.queries_answered,
            "errors": self.errors,
            "transactions": self.transactions,
            "transactions_lazy": self.transactions_lazy,
            "transactions_begun": dict(self.transactions_begun),
            "received_bytes": self.received_bytes,
            "sent_bytes": self.sent_bytes,
            "client_parses": self.client_parses,
            "server_parses": self.server_parses,
            "binds": self.binds,
            "assignments": self.assignments,
            "query_time": self.query_time,
            "transaction_time": self.transaction_time,
            "wait_time": self.wait_time,
            "servers_lost": self.servers_lost,
            **quantiles(self.latency),
        }

    def add(self, other: ProjectStats) -> None:
        """Count what another one has counted, too."""
        for each in fields(self):
            mine, others = getattr(self, each.name), getattr(other, each.name)
            if isinstance(mine, Histogram):
                mine.join(others)
            elif each.name == "latencies":
                for source, latency in others.items():
                    mine.setdefault(source, Histogram()).join(latency)
            elif isinstance(mine, Counter):
                mine.update(others)
            else:
                setattr(self, each.name, mine + others)


MOST_DATABASES = 1_000
"""Databases of which each has counters of its own; what is done in others counts for their project only."""


class StatsByDatabase:
    """What is counted, by project and database; the name "" stands for no database in particular."""

    def __init__(self) -> None:
        self.by_database: dict[tuple[str, str], ProjectStats] = {}
        self.unseen = ProjectStats()
        """Takes what counts for no database: what clients are told before they are logged in."""

    def of(self, project: str, database: str = "") -> ProjectStats:
        """Where to count what is done in a database of a project."""
        place = (project, database)
        stats = self.by_database.get(place)
        if stats is None:
            if database and len(self.by_database) >= MOST_DATABASES:
                return self.of(project)
            stats = self.by_database[place] = ProjectStats()
        return stats

    def for_client(self, session: Session) -> ProjectStats:
        """Where to count a client itself: those of the console are not seen."""
        return self.unseen if session.at_console else self.of(session.project.name)

    def by_project(self) -> dict[str, ProjectStats]:
        """The sums over the databases of each project."""
        found: dict[str, ProjectStats] = {}
        for (project, _), stats in self.by_database.items():
            found.setdefault(project, ProjectStats()).add(stats)
        return found
