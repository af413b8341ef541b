"""Traces: a span for each query that is chosen, below the one that the application tells in a comment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred

from pgbeam_core import Beam, Query, Result, Session, hookimpl
from pgbeam_otel.chance import Chance
from pgbeam_otel.exporting import Exporting, Threads, otlp_exporter
from pgbeam_otel.parents import Parent, parent_of
from pgbeam_otel.settings import OtelSettings
from pgbeam_otel.spans import attributes, name_of


class Traces:
    """Chooses which queries of this process become spans, and hands those on to be sent."""

    def __init__(
        self,
        make_exporter: Callable[[OtelSettings], Any] = otlp_exporter,
        make_threads: Callable[[Any], Threads] = Threads,
    ) -> None:
        self._make_exporter = make_exporter
        self._make_threads = make_threads
        self._beam: Beam
        self._chance: Chance
        self._settings = OtelSettings()
        self._exporting: Exporting | None = None
        self._counts = {"spans": 0, "left_out": 0}
        self._second = self._in_second = 0

    @hookimpl
    def settings_spec(self) -> type:
        return OtelSettings

    @hookimpl
    def startup(self, beam: Beam) -> None:
        """Get ready to send. Raises PgBeamError where OpenTelemetry is not installed."""
        self._beam = beam
        self._counts = dict.fromkeys(self._counts, 0)
        self._second = self._in_second = 0
        self.reload(beam)
        self._exporting = Exporting(self._settings, self._make_threads(beam.reactor), self._make_exporter)

    @hookimpl
    def reload(self, beam: Beam) -> None:
        self._settings = beam.settings_of(OtelSettings)
        self._chance = Chance(beam.random, self._settings.sample_rate)

    @hookimpl
    def shutdown(self, beam: Beam) -> Deferred[None] | None:
        """Send the spans that wait, as long as that takes no more than LAST_SPANS_S."""
        exporting, self._exporting = self._exporting, None
        return None if exporting is None else exporting.stop()

    @hookimpl
    def result(self, session: Session, query: Query, result: Result) -> None:
        """Make a span of it, if it is one of those. Of nearly all it is seen at once that they are not."""
        chance = self._chance
        if chance.passed_over and b"traceparent" not in query.statement.text:
            chance.passed_over -= 1
            return
        statement, parent = query.statement, None
        if self._settings.follow_parent and b"traceparent" in statement.text:
            parent = parent_of(statement.sql)
        if (chance.hits() if parent is None else parent.sampled) and self._exporting is not None:
            self._make(self._exporting, session, query, result, parent)

    def _make(
        self, exporting: Exporting, session: Session, query: Query, result: Result, parent: Parent | None
    ) -> None:
        if not self._has_room():
            self._counts["left_out"] += 1
            return
        self._counts["spans"] += 1
        failed = result.error is not None
        told = attributes(session, query, result)
        exporting.add(name_of(query), parent, told, result.duration, failed=failed)

    @hookimpl
    def stats(self) -> Mapping[str, Mapping[str, int]]:
        """Spans that were made, and those left out for being too many."""
        return {"otel": dict(self._counts)}

    def _has_room(self) -> bool:
        """Whether one more fits in this second."""
        second = int(self._beam.now())
        if second != self._second:
            self._second, self._in_second = second, 0
        self._in_second += 1
        return self._in_second <= self._settings.max_per_second


plugin = Traces()
