"""Short ways to build what servers and clients say; everything else is in `pgbeam_core.wire`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pgbeam_core.api.results import Answer
from pgbeam_core.wire import backend, frontend
from pgbeam_core.wire.message import raw
from pgbeam_core.wire.startup import StartupMessage

_TEXT = 25
"""The OID of the type text."""


def table(columns: Sequence[str], rows: Iterable[Sequence[str | None]] = (), tag: str | None = None) -> bytes:
    """A server's reply with rows of text: RowDescription, DataRows, CommandComplete (`SELECT n` unless given)."""
    found = answer(columns, rows, tag)
    return (found.description or b"") + found.rows + found.complete


def answer(columns: Sequence[str], rows: Iterable[Sequence[str | None]] = (), tag: str | None = None) -> Answer:
    """The same as an Answer, as `execute` may give it."""
    lines = [backend.data_row(row) for row in rows]
    description = backend.row_description([(name, _TEXT, -1) for name in columns])
    return Answer(description, b"".join(lines), done(tag or f"SELECT {len(lines)}"))


def done(tag: str) -> bytes:
    """A server's reply without rows: CommandComplete."""
    return backend.command_complete(tag)


def error(sqlstate: str, message: str, severity: str = "ERROR") -> bytes:
    """An ErrorResponse, as a FakePostgres may give it in place of a reply."""
    return backend.error_response(severity, sqlstate, message)


def startup(user: str, database: str, **parameters: str) -> bytes:
    """A StartupMessage of protocol 3.0, with these run-time parameters."""
    return StartupMessage(3, 0, {"user": user, "database": database, **parameters}).to_bytes()


def query(sql: str) -> bytes:
    """A request of the simple protocol."""
    return frontend.Query(raw(sql)).to_bytes()


def bound_query(sql: str, values: Sequence[str | None] = ()) -> bytes:
    """A request of the extended protocol, as drivers send it: Parse, Bind, Describe, Execute, Sync; all unnamed."""
    given = tuple(None if value is None else raw(value) for value in values)
    messages = (
        frontend.Parse(b"", raw(sql)),
        frontend.Bind(b"", b"", values=given),
        frontend.Describe(frontend.PORTAL, b""),
        frontend.Execute(b"", 0),
    )
    return b"".join(message.to_bytes() for message in messages) + frontend.SYNC
