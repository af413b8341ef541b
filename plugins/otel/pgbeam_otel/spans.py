"""What a span says of a query: names of OpenTelemetry's conventions for databases, and never a value of a query."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pgbeam_core import Query, Result, Session

LONGEST = 4_000
"""Characters of a text."""
_SQLSTATE = re.compile(r"[0-9A-Z]{5}\Z")
SERVER = "server"
Value = str | int | float | bool


def name_of(query: Query) -> str:
    """`SELECT shop`: what it does, and where."""
    return f"{query.statement.kind.value.upper()} {query.session.database}"


def attributes(session: Session, query: Query, result: Result) -> dict[str, Value]:
    """Text without its constants, who asked, what became of it, and where its time went."""
    statement = query.statement
    wait_s = max(result.duration - result.server_time, 0.0)
    found: dict[str, Value] = {
        "db.system.name": "postgresql",
        "db.namespace": session.database,
        "db.operation.name": statement.kind.value.upper(),
        "db.query.text": _cut(statement.shape),
        "db.response.returned_rows": result.rows,
        "pgbeam.project": session.project.name,
        "pgbeam.user": session.user,
        "pgbeam.query_hash": statement.query_hash,
        "pgbeam.answered_by": result.source,
        "pgbeam.in_transaction": query.in_transaction,
        "pgbeam.wait_ms": round(wait_s * 1000, 3),
        "pgbeam.server_ms": round(result.server_time * 1000, 3),
        "pgbeam.reply_bytes": result.size,
    }
    if result.source == SERVER and query.target is not None:
        found["server.address"] = query.target.host
        found["server.port"] = query.target.port
        found["pgbeam.role"] = query.target.role
    found.update(_facts(query.facts))
    if result.error is not None:
        sqlstate = result.error[0] if _SQLSTATE.match(result.error[0]) else "XX000"
        found["db.response.status_code"] = found["error.type"] = sqlstate
    return found


def _facts(facts: Mapping[str, str]) -> dict[str, Value]:
    """The words of the debug notice: cache=hit becomes pgbeam.cache = "hit"."""
    return {f"pgbeam.{word}": _cut(value) for word, value in facts.items()}


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[:LONGEST] + "…"
