"""SHOW STATS and its kin: what was counted for each database, in PgBouncer's columns. Times are microseconds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from pgbeam_core.api.console import Table
from pgbeam_core.console.places import label

if TYPE_CHECKING:
    from pgbeam_core.beam import Beam
    from pgbeam_core.telemetry.stats import ProjectStats

PERIOD_S = 60.0
"""Averages are over one to two of these."""
_COUNTS = (
    *("server_assignment_count", "xact_count", "query_count", "bytes_received", "bytes_sent", "xact_time"),
    *("query_time", "wait_time", "client_parse_count", "server_parse_count", "bind_count"),
)
_TOTALS = (
    *("total_server_assignment_count", "total_xact_count", "total_query_count", "total_received", "total_sent"),
    *("total_xact_time", "total_query_time", "total_wait_time", "total_client_parse_count"),
    *("total_server_parse_count", "total_bind_count"),
)
_AVERAGES = (
    *("avg_server_assignment_count", "avg_xact_count", "avg_query_count", "avg_recv", "avg_sent", "avg_xact_time"),
    *("avg_query_time", "avg_wait_time", "avg_client_parse_count", "avg_server_parse_count", "avg_bind_count"),
)
_OVERALL = (
    *("server_assignment_count", "xact_count", "query_count", "client_bytes", "server_bytes", "xact_time"),
    *("query_time", "wait_time", "ps_client_parse_count", "ps_server_parse_count", "ps_bind_count"),
)
"""As SHOW TOTALS has them, behind total_ and avg_."""
_IN_AVERAGES = (*_COUNTS[:8], "avg_client_parse_count", "avg_server_parse_count", "avg_bind_count")
_PER = {5: 1, 6: 2, 7: 0}
"""Places of times → places of the counts that their average is over; all others are per second."""
Counts = tuple[int, ...]
_NOTHING: Counts = (0,) * len(_COUNTS)


def counts(stats: ProjectStats) -> Counts:
    """In the order of PgBouncer's columns."""
    return (
        stats.assignments,
        stats.transactions,
        stats.queries,
        stats.received_bytes,
        stats.sent_bytes,
        int(stats.transaction_time * 1e6),
        int(stats.query_time * 1e6),
        int(stats.wait_time * 1e6),
        stats.client_parses,
        stats.server_parses,
        stats.binds,
    )


class Periods:
    """What was counted up to the beginning of the last period but one: averages are over the time since then."""

    def __init__(self, now: float) -> None:
        self._older: dict[tuple[str, str], Counts] = {}
        self._newer: dict[tuple[str, str], Counts] = {}
        self._began = now - 1.0
        self._next = now

    def end_period(self, beam: Beam) -> None:
        self._older = self._newer
        self._newer = {place: counts(stats) for place, stats in beam.counted.by_database.items()}
        self._began, self._next = self._next, beam.now()

    def before(self, place: tuple[str, str]) -> Counts:
        """What had been counted there."""
        return self._older.get(place, _NOTHING)

    def seconds(self, now: float) -> float:
        return now - self._began


def table(beam: Beam) -> Table:
    """What one process has counted, in all and up to the beginning of the period: what the others are made of."""
    periods, now = beam.console.periods, beam.now()
    rows = [
        (label(beam, project, database), *counts(stats), *periods.before((project, database)), periods.seconds(now))
        for (project, database), stats in sorted(beam.counted.by_database.items())
        if database or any(counts(stats))
    ]
    columns = ("database", *_COUNTS, *(f"before_{name}" for name in _COUNTS), "seconds")
    return Table(columns, rows, key=("database",), merge={"seconds": "max"})


def stats(traffic: Table) -> Table:
    columns = ("database", *_TOTALS, *_AVERAGES)
    return _of_each(traffic, columns, lambda total, average: (*total, *average))


def stats_totals(traffic: Table) -> Table:
    return _of_each(traffic, ("database", *_COUNTS), lambda total, _: total)


def stats_averages(traffic: Table) -> Table:
    return _of_each(traffic, ("database", *_IN_AVERAGES), lambda _, average: average)


def totals(traffic: Table) -> Table:
    """SHOW TOTALS: all databases together."""
    total, before, seconds = _NOTHING, _NOTHING, 0.0
    for row in traffic.rows:
        of_row, before_row, seconds_row = _split(row)
        total, before = _added(total, of_row), _added(before, before_row)
        seconds = max(seconds, seconds_row)
    rows = list(zip((f"total_{name}" for name in _OVERALL), total, strict=True))
    rows += zip((f"avg_{name}" for name in _OVERALL), _average(total, before, seconds), strict=True)
    return Table(("name", "value"), rows, ("text", "numeric"))


def _of_each(traffic: Table, columns: Sequence[str], choose: Callable[[Counts, Counts], Counts]) -> Table:
    rows = []
    for row in traffic.rows:
        total, before, seconds = _split(row)
        rows.append((row[0], *choose(total, _average(total, before, seconds))))
    return Table(columns, rows, ("text", *["numeric"] * (len(columns) - 1)))


def _split(row: Sequence[object]) -> tuple[Counts, Counts, float]:
    numbers: list[int] = list(row[1:-1])  # type: ignore[arg-type]
    return tuple(numbers[: len(_COUNTS)]), tuple(numbers[len(_COUNTS) :]), float(str(row[-1]))


def _added(one: Counts, other: Counts) -> Counts:
    return tuple(a + b for a, b in zip(one, other, strict=True))


def _average(total: Counts, before: Counts, seconds: float) -> Counts:
    since = tuple(a - b for a, b in zip(total, before, strict=True))
    if seconds <= 0:
        return _NOTHING
    return tuple(
        since[place] // max(since[_PER[place]], 1) if place in _PER else int(since[place] / seconds)
        for place in range(len(since))
    )
