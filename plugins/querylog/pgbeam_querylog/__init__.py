"""The query log: slow queries and errors, with their shape and what became of them, as JSON lines."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Mapping
from typing import Any

from twisted.internet.task import LoopingCall

from pgbeam_core import Beam, Query, Result, Session, Table, hookimpl
from pgbeam_querylog.entries import entry
from pgbeam_querylog.journal import WRITE_EVERY_S, Journal
from pgbeam_querylog.settings import QueryLogSettings

FILE = "queries.jsonl"
"""In `state_dir`, unless the settings name another."""
REMEMBERED = 100
"""Entries that the console shows."""
_COLUMNS = (
    "time",
    "event",
    "project",
    "database",
    "user",
    "query_hash",
    "duration_ms",
    "wait_ms",
    "server_ms",
    "sqlstate",
    "query",
)
_EVENTS = ("slow", "error")


class QueryLog:
    """One process's part of it."""

    def __init__(self) -> None:
        self._beam: Beam
        self._settings = QueryLogSettings()
        self._slow_s = 0.0
        self._journal = Journal(os.getpid())
        self._writing = LoopingCall(self._write)
        self._latest: deque[dict[str, Any]] = deque(maxlen=REMEMBERED)
        self._counts: dict[str, int] = {}
        self._second = 0
        self._in_second = 0
        self._left_out = 0

    @hookimpl
    def settings_spec(self) -> type:
        return QueryLogSettings

    @hookimpl
    def startup(self, beam: Beam) -> None:
        """Open the file, and begin to count from nothing."""
        self._beam = beam
        self._journal = Journal(os.getpid())
        self._latest.clear()
        self._counts = dict.fromkeys((*_EVENTS, "left_out"), 0)
        self._left_out = self._in_second = self._second = 0
        self.reload(beam)
        self._writing = LoopingCall(self._write)
        self._writing.clock = beam.reactor
        self._writing.start(WRITE_EVERY_S, now=False)

    @hookimpl
    def reload(self, beam: Beam) -> None:
        """The file is opened anew, so that it may be moved away before."""
        self._settings = beam.settings_of(QueryLogSettings)
        self._slow_s = self._settings.slow_ms / 1000
        self._journal.open(self._settings.path or beam.settings.state_dir / FILE)

    @hookimpl
    def shutdown(self, beam: Beam) -> None:
        """Nothing that was seen is lost."""
        if self._writing.running:
            self._writing.stop()
        self._tell_left_out()
        self._journal.close()

    @hookimpl
    def result(self, session: Session, query: Query, result: Result) -> None:
        """Log it, if it is one of those. Of nearly all it is seen at once that they are not."""
        if result.duration < self._slow_s and result.error is None:
            return
        settings = self._settings
        if result.error is not None and settings.errors:
            event = "error"
        elif result.duration >= self._slow_s:
            event = "slow"
        else:
            return
        self._counts[event] += 1
        if settings.sample_rate < 1 and int.from_bytes(self._beam.random(4)) / 2**32 >= settings.sample_rate:
            return
        if not self._has_room():
            self._counts["left_out"] += 1
            self._left_out += 1
            return
        found = entry(session, query, result, event, data=settings.parameters)
        self._latest.append(found)
        self._journal.add(found)

    @hookimpl
    def stats(self) -> Mapping[str, Mapping[str, int]]:
        """What was slow, what failed, what of these was left out for being too many, written, and lost."""
        counts = {**self._counts, "entries": self._journal.number, "entries_lost": self._journal.lost}
        return {"querylog": counts}

    @hookimpl
    def console(self) -> Mapping[str, Table]:
        """`SHOW QUERY_LOG`: the latest entries, the last one first."""
        rows = [
            tuple(found.get("error", {}).get("sqlstate") if name == "sqlstate" else found[name] for name in _COLUMNS)
            for found in reversed(self._latest)
        ]
        return {"QUERY_LOG": Table(_COLUMNS, rows)}

    def _has_room(self) -> bool:
        """Whether one more entry fits in this second."""
        second = int(self._beam.now())
        if second != self._second:
            self._second, self._in_second = second, 0
            self._tell_left_out()
        self._in_second += 1
        return self._in_second <= self._settings.max_per_second

    def _tell_left_out(self) -> None:
        """The log says itself how much is missing from it."""
        if self._left_out:
            left_out, self._left_out = self._left_out, 0
            self._journal.add({"event": "left_out", "entries": left_out})

    def _write(self) -> None:
        if int(self._beam.now()) != self._second:
            self._tell_left_out()
        self._journal.write()


plugin = QueryLog()
