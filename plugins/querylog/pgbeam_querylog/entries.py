"""What is said of one query: its shape, what became of it and why, and never its data unless that was asked for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pgbeam_core import Query, Result, Session

LONGEST = 4_000
"""Characters of a text, a message, or a value; longer ones are cut."""
_QUOTED = re.compile(r'"[^"]*"|\'[^\']*\'|«[^»]*»|„[^“]*“|“[^”]*”')
_NAMES_ONLY = frozenset(
    {"08", "0A", "23", "25", "26", "28", "2B", "34", "3B", "3D", "3F", "40", "42", "53", "54", "55", "57", "58"}
)
"""Classes of errors whose messages hold names and no data."""
_SYNTAX_ERROR = "42601"
CUT = "…"


def entry(session: Session, query: Query, result: Result, event: str, *, data: bool) -> dict[str, Any]:
    """One entry, but for its number. `data`: with texts, parameters and messages in full."""
    statement = query.statement
    found: dict[str, Any] = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "event": event,
        "project": session.project.name,
        "database": session.database,
        "user": session.user,
        "client": session.peer,
        "application_name": cut(session.settings.now.get("application_name", "")),
        "session": session.id,
        "query_hash": statement.query_hash,
        "query": cut(statement.shape),
        "kind": statement.kind.value,
        "protocol": "simple" if query.simple else "extended",
        "in_transaction": query.in_transaction,
        "plan": plan(query.facts, result.source),
        "duration_ms": _ms(result.duration),
        "wait_ms": _ms(max(result.duration - result.server_time, 0.0)),
        "server_ms": _ms(result.server_time),
        "rows": result.rows,
        "bytes": result.size,
    }
    if result.error is not None:
        sqlstate, message = result.error
        found["error"] = {"sqlstate": sqlstate, "message": cut(message if data else without_data(sqlstate, message))}
    if data:
        found["text"] = cut(statement.sql.encode("utf-8", "replace").decode())
        found["parameters"] = None if query.bound_size > LONGEST else [_shown(each) for each in query.parameters.values]
    return found


def plan(facts: Mapping[str, str], source: str) -> dict[str, str]:
    """What PgBeam did with it: who answered, and the words of the debug notice."""
    return {"answered_by": source, **{word: value for word, value in facts.items() if word != "waited"}}


def without_data(sqlstate: str, message: str) -> str:
    """A message of an error without what may be somebody's data: PostgreSQL quotes it, functions say what they like."""
    if sqlstate[:2] in _NAMES_ONLY and sqlstate != _SYNTAX_ERROR:
        return message
    if sqlstate[:2] == "22" or sqlstate == _SYNTAX_ERROR:
        return _QUOTED.sub(CUT, message.partition(": ")[0])
    return ""


def cut(text: str) -> str:
    """It, or the beginning of it."""
    return text if len(text) <= LONGEST else text[:LONGEST] + CUT


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)


def _shown(value: bytes | None) -> str | None:
    """A parameter: text as it is, what is binary in hexadecimal digits."""
    if value is None:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return "\\x" + value.hex()
