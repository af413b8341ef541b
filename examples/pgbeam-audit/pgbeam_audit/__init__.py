"""A PgBeam plugin that writes one JSON line per query."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pgbeam_audit.writer import LineWriter
from pgbeam_core import Beam, Query, Result, Session, Statement, hookimpl

_CONSTANT = re.compile(r"'.*'|\$\w*\$.*\$\w*\$|(?<![\w$.\"])\d[\w.]*", re.DOTALL)
"""A quoted text with all up to the last one, or a number: shapes of utility statements may still hold some."""


@dataclass(frozen=True)
class AuditSettings:
    """What `[plugins.audit]` may hold."""

    path: str | None = field(default=None, metadata={"help": "file that lines are appended to; without it, stderr"})
    queue_size: int = field(default=10_000, metadata={"help": "lines that may wait to be written", "min": 1})


class Audit:
    """The hooks."""

    def __init__(self) -> None:
        self._writer: LineWriter | None = None

    @hookimpl
    def settings_spec(self) -> type:
        """Where to, and how many may wait."""
        return AuditSettings

    @hookimpl
    def startup(self, beam: Beam) -> None:
        """Open the file: one that cannot be opened stops the start."""
        settings = beam.settings_of(AuditSettings)
        stream = open(settings.path, "a", encoding="utf-8") if settings.path else sys.stderr  # noqa: SIM115, PTH123
        self._writer = LineWriter(stream, settings.queue_size, close=settings.path is not None)

    @hookimpl
    def shutdown(self) -> None:
        """Write what waits, and close the file."""
        if self._writer is not None:
            self._writer.close()

    @hookimpl
    def result(self, session: Session, query: Query, result: Result) -> None:
        """One line."""
        if self._writer is not None:
            self._writer.put(record(session, query.statement, result, datetime.now(UTC)))

    @hookimpl
    def stats(self) -> Mapping[str, int]:
        """What became of the lines."""
        writer = self._writer
        if writer is None:
            return {}
        return {"written": writer.written, "dropped": writer.dropped, "failed": writer.failed}


def record(session: Session, statement: Statement, result: Result, now: datetime) -> dict[str, object]:
    """What one line says. No value and no constant of the query is in it."""
    return {
        "time": now.isoformat(timespec="milliseconds"),
        "user": session.user,
        "database": session.database,
        "kind": statement.kind.value,
        "shape": shape_of(statement),
        "query_hash": statement.query_hash,
        "duration_ms": round(result.duration * 1000, 3),
        "rows": result.rows,
        "source": result.source,
        "error": None if result.error is None else result.error[0],
    }


def shape_of(statement: Statement) -> str:
    """The statement's shape, without what constants are left in it; worked out once per text."""
    shape: str | None = statement.notes.get("audit")
    if shape is None:
        shape = statement.notes["audit"] = _CONSTANT.sub("?", statement.shape)
    return shape


plugin = Audit()
