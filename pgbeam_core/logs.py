"""Where log events go: lines for people on a terminal, one JSON object a line elsewhere.

An event's text and fields come from its `Logger` call. Bytes among the fields are never written, only their number:
whatever bytes PgBeam holds may be part of somebody's password or rows.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TextIO

from twisted.logger import ILogObserver, LogEvent, Logger, LogLevel, formatEvent, globalLogBeginner
from zope.interface import implementer

log = Logger()

LEVELS = {"debug": LogLevel.debug, "info": LogLevel.info, "warn": LogLevel.warn, "error": LogLevel.error}
ORDER = [LogLevel.debug, LogLevel.info, LogLevel.warn, LogLevel.error, LogLevel.critical]
QUIET = ("twisted.", "log_legacy")  # "Starting factory …" is news to nobody


@implementer(ILogObserver)
class Log:
    """Writes events of at least `level` (debug, info, warn, error) to `stream`.

    `form` is human, json, or auto: human if the stream is a terminal.
    """

    def __init__(self, stream: TextIO, level: str = "info", form: str = "auto") -> None:
        self.stream = stream
        self.level = level
        self.line = human if form == "human" or (form == "auto" and stream.isatty()) else as_json

    def __call__(self, event: LogEvent) -> None:
        """Write one event; a stream that is gone is no reason to fail."""
        if not self.wants(event):
            return
        try:
            self.stream.write(self.line(without_bytes(event)) + "\n")
            self.stream.flush()
        except (OSError, ValueError):
            return

    def wants(self, event: LogEvent) -> bool:
        """Whether the event is important enough."""
        least = LEVELS[self.level]
        if str(event.get("log_namespace") or "").startswith(QUIET):
            least = max(least, LogLevel.warn, key=ORDER.index)
        return ORDER.index(event.get("log_level") or LogLevel.info) >= ORDER.index(least)


def start(level: str, form: str, stream: TextIO | None = None) -> Log:
    """Begin logging, to stderr unless told otherwise. Once per process; a reload changes the Log it gives."""
    log = Log(stream or sys.stderr, level, form)
    globalLogBeginner.beginLoggingTo([log], redirectStandardIO=False, discardBuffer=False)
    return log


def without_bytes(event: LogEvent) -> LogEvent:
    """The event with its bytes replaced by their number."""
    return {key: _safe(value) for key, value in event.items()}


def _safe(value: Any) -> Any:
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} bytes>"
    if isinstance(value, list | tuple):
        return [_safe(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _safe(item) for key, item in value.items()}
    return value


def human(event: LogEvent) -> str:
    """`12:30:59 warn  pool: text`, a traceback behind it."""
    moment = _moment(event).astimezone().strftime("%H:%M:%S")
    level = _level(event)
    source = str(event.get("log_namespace") or "").removeprefix("pgbeam_core.").removeprefix("pgbeam_")
    text = f"{moment} {level:<5} {source}: {formatEvent(event)}"
    traceback = _traceback(event)
    return f"{text}\n{traceback}" if traceback else text


def as_json(event: LogEvent) -> str:
    """One JSON object: time, level, logger, event, the fields of the event, traceback."""
    line: dict[str, Any] = {
        "time": _moment(event).isoformat(timespec="milliseconds"),
        "level": _level(event),
        "logger": event.get("log_namespace"),
        "event": formatEvent(event),
    }
    for key, value in event.items():
        if not key.startswith("log_") and key not in line and key not in ("isError", "message"):
            line[key] = value if isinstance(value, str | int | float | bool | None) else str(value)
    if traceback := _traceback(event):
        line["traceback"] = traceback
    return json.dumps(line, ensure_ascii=False)


def _moment(event: LogEvent) -> datetime:
    return datetime.fromtimestamp(event.get("log_time") or 0.0, UTC)


def _level(event: LogEvent) -> str:
    level = event.get("log_level")
    return level.name if level is not None else "info"


def _traceback(event: LogEvent) -> str:
    failure = event.get("log_failure")
    return failure.getTraceback().rstrip() if failure is not None else ""
