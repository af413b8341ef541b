"""The last lines of the log, as fields."""

from __future__ import annotations

import json
import sys
from collections import deque
from typing import Any

from twisted.logger import LogEvent, globalLogPublisher

from pgbeam_core.telemetry.logs import Log, as_json
from pgbeam_core.web.parameters import only, whole_number
from pgbeam_core.web.replies import HttpReply, HttpRequest
from pgbeam_core.web.replies import as_json as reply
from pgbeam_core.web.source import Source

MOST = 200
LONGEST = 2_000
"""Characters of one line."""


class LogTail(Log):
    """Remembers events from `start` to `stop`; what the log hides is hidden here too."""

    def __init__(self, source: Source) -> None:
        super().__init__(sys.stderr, source.settings.log_level, "json")
        self._lines: deque[dict[str, Any]] = deque(maxlen=MOST)
        self._number = 0

    def start(self) -> None:
        globalLogPublisher.addObserver(self)

    def stop(self) -> None:
        globalLogPublisher.removeObserver(self)

    def write(self, event: LogEvent) -> None:
        """Keep its time, level, logger, text and worker; a traceback is for the log itself."""
        line = json.loads(as_json(event))
        self._number += 1
        kept = {name: line.get(name) for name in ("time", "level", "logger", "event", "worker")}
        self._lines.append({"number": self._number, **kept, "event": str(kept["event"])[:LONGEST]})

    def lines(self, since: int) -> dict[str, list[dict[str, Any]]]:
        """Those after number `since`, oldest first."""
        if since > self._number:  # of a PgBeam that ran before this one
            since = 0
        return {"lines": [line for line in self._lines if line["number"] > since]}

    def since(self, request: HttpRequest) -> HttpReply:
        """The same, for who asks over HTTP."""
        only(request, "since")
        return reply(self.lines(whole_number(request, "since", 0, least=0)))
