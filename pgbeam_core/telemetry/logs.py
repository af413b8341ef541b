"""Where log events go: lines for people on a terminal, one JSON object a line elsewhere.

An event's text and fields come from its `Logger` call. Bytes among the fields are never written, only their number:
whatever bytes PgBeam holds may be part of somebody's password or rows.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TextIO

from twisted.logger import ILogObserver, LogEvent, Logger, LogLevel, formatEvent, globalLogBeginner, globalLogPublisher
from zope.interface import implementer

from pgbeam_core.telemetry.masking import mask_words

log = Logger(__name__)

LEVELS = {"debug": LogLevel.debug, "info": LogLevel.info, "warn": LogLevel.warn, "error": LogLevel.error}
ORDER = [LogLevel.debug, LogLevel.info, LogLevel.warn, LogLevel.error, LogLevel.critical]
Send = Callable[[dict[str, Any]], None]
QUIET = ("twisted.", "log_legacy")  # "Starting factory …" is news to nobody


@implementer(ILogObserver)
class Log:
    """Writes events of at least `level` (debug, info, warn, error) to `stream`.

    `form` is human, json, or auto: human if the stream is a terminal. `worker`, if there are several, is in each line.
    """

    def __init__(self, stream: TextIO, level: str = "info", form: str = "auto", worker: int | None = None) -> None:
        self.stream = stream
        self.level = level
        self.worker = worker
        self.line = human if form == "human" or (form == "auto" and stream.isatty()) else as_json

    def __call__(self, event: LogEvent) -> None:
        """Write one event; a stream that is gone is no reason to fail."""
        if not self.wants(event):
            return
        if self.worker is not None:
            event = {**event, "worker": self.worker}
        self.write(without_bytes(event))

    def write(self, event: LogEvent) -> None:
        try:
            self.stream.write(self.line(event) + "\n")
            self.stream.flush()
        except (OSError, ValueError):
            return

    def wants(self, event: LogEvent) -> bool:
        """Whether the event is important enough."""
        least = LEVELS[self.level]
        if str(event.get("log_namespace") or "").startswith(QUIET):
            least = max(least, LogLevel.warn, key=ORDER.index)
        return ORDER.index(event.get("log_level") or LogLevel.info) >= ORDER.index(least)


class Sent(Log):
    """Gives its events to another process, to be written there with `received`."""

    def __init__(self, level: str, worker: int | None, send: Send) -> None:
        super().__init__(sys.stderr, level, worker=worker)
        self._send = send

    def write(self, event: LogEvent) -> None:
        """As what JSON can hold, in words."""
        failure = _traceback(event)
        text = _text(event) + (f"\n{failure}" if failure else "")
        source = str(event.get("log_namespace") or "")
        self._send({"level": _level(event), "source": source, "time": event.get("log_time"), "text": text})


def received(event: Mapping[str, Any], worker: int) -> None:
    """Log what a `Sent` of another process has sent."""
    globalLogPublisher(
        {
            "log_level": LogLevel.levelWithName(event["level"]),
            "log_namespace": event["source"],
            "log_time": event["time"],
            "log_format": "{text}",
            "text": event["text"],
            "worker": worker,
        }
    )


def start(
    level: str, form: str, stream: TextIO | None = None, *, worker: int | None = None, send: Send | None = None
) -> Log:
    """Begin logging, to stderr unless told otherwise. Once per process; a reload changes the Log it gives."""
    log = Log(stream or sys.stderr, level, form, worker) if send is None else Sent(level, worker, send)
    globalLogBeginner.beginLoggingTo([log], redirectStandardIO=False, discardBuffer=False)
    return log


def without_bytes(event: LogEvent) -> LogEvent:
    """The event with its bytes replaced by their number, and the passwords of URLs by stars."""
    return {key: _safe(value) for key, value in event.items()}


def _safe(value: Any) -> Any:
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} bytes>"
    if isinstance(value, str):
        return mask_words(value)
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
    if (worker := event.get("worker")) is not None:
        source = f"{source}[{worker}]"
    text = f"{moment} {level:<5} {source}: {_text(event)}"
    traceback = _traceback(event)
    return f"{text}\n{traceback}" if traceback else text


def as_json(event: LogEvent) -> str:
    """One JSON object: time, level, logger, event, the fields of the event, traceback."""
    line: dict[str, Any] = {
        "time": _moment(event).isoformat(timespec="milliseconds"),
        "level": _level(event),
        "logger": event.get("log_namespace"),
        "event": _text(event),
    }
    for key, value in event.items():
        if not key.startswith("log_") and key not in line and key not in ("isError", "message"):
            line[key] = value if isinstance(value, str | int | float | bool | None) else mask_words(str(value))
    if traceback := _traceback(event):
        line["traceback"] = traceback
    return json.dumps(line, ensure_ascii=False)


def _text(event: LogEvent) -> str:
    return mask_words(formatEvent(event))


def _moment(event: LogEvent) -> datetime:
    return datetime.fromtimestamp(event.get("log_time") or 0.0, UTC)


def _level(event: LogEvent) -> str:
    level = event.get("log_level")
    return level.name if level is not None else "info"


def _traceback(event: LogEvent) -> str:
    failure = event.get("log_failure")
    return mask_words(failure.getTraceback().rstrip()) if failure is not None else ""
