"""What a command answers, as frames of the protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pgbeam_core.api.console import Table
from pgbeam_core.console import values
from pgbeam_core.console.language import ConsoleCommand
from pgbeam_core.console.values import NoSuchValue
from pgbeam_core.errors import PgBeamError
from pgbeam_core.wire import backend

_CHANGED = "cached plan must not change result type"


@dataclass(slots=True)
class ConsoleReply:
    """The command tag; the rows, if it shows any; and notices ahead of them."""

    tag: str
    table: Table | None = None
    notices: Sequence[bytes] = ()

    def simple(self) -> bytes:
        """All of it by the simple protocol."""
        parts = list(self.notices)
        if self.table is not None:
            types = values.types_of(self.table)
            parts.append(_described(self.table, types, ()))
            parts += [backend.data_row(values.as_text(value) for value in row) for row in self.table.rows]
        parts.append(backend.command_complete(self.tag))
        return b"".join(parts)


@dataclass(slots=True)
class PreparedCommand:
    """A command that is prepared. Its columns are those that the client has been told, once it has."""

    command: ConsoleCommand | None
    columns: tuple[str, ...] | None = None
    types: tuple[str, ...] = ()

    def described(self, reply: ConsoleReply) -> bytes:
        """What the client is told of it."""
        if reply.table is None:
            return backend.NO_DATA
        self.columns, self.types = tuple(reply.table.columns), values.types_of(reply.table)
        return _described(reply.table, self.types, ())


@dataclass(slots=True)
class ConsolePortal:
    """A command that is bound, and what it has answered."""

    prepared: PreparedCommand
    formats: Sequence[int]
    reply: ConsoleReply | None = None
    types: tuple[str, ...] = ()
    place: int = field(default=0)
    """Rows that have been given."""

    def keep(self, reply: ConsoleReply) -> ConsoleReply:
        """It has answered that. Raises PgBeamError if the client has been told of other columns."""
        table = reply.table
        if table is not None:
            self.types = self.prepared.types
            if self.prepared.columns is None:
                self.types = values.types_of(table)
            elif tuple(table.columns) != self.prepared.columns:
                raise PgBeamError(_CHANGED, sqlstate="0A000")
        self.reply = reply
        return reply

    def rows(self, reply: ConsoleReply, most: int) -> bytes:
        """The next rows, `most` of them at most if it is not 0; then the tag, or that there are more."""
        table = reply.table
        if table is None:
            return b"".join([*reply.notices, backend.command_complete(reply.tag)])
        notices = reply.notices if not self.place else ()
        start, end = self.place, len(table.rows)
        if most and end - start >= most:
            end = start + most
        formats = values.formats_for(len(table.columns), self.formats)
        frames = [*notices, *(self._row(row, formats) for row in table.rows[start:end])]
        self.place = end
        suspended = most and end - start == most
        frames.append(backend.PORTAL_SUSPENDED if suspended else backend.command_complete(reply.tag))
        return b"".join(frames)

    def _row(self, row: Sequence[object], formats: Sequence[int]) -> bytes:
        try:
            return backend.data_row(
                values.as_binary(value, name) if how else values.as_text(value)
                for value, name, how in zip(row, self.types, formats, strict=True)
            )
        except NoSuchValue as error:
            raise PgBeamError(_CHANGED, sqlstate="0A000", hint=str(error)) from error


def description(reply: ConsoleReply, portal: ConsolePortal) -> bytes:
    """The RowDescription of a portal."""
    if reply.table is None:
        return backend.NO_DATA
    return _described(reply.table, portal.types, portal.formats)


def _described(table: Table, types: Sequence[str], formats: Sequence[int]) -> bytes:
    columns = []
    for name, kind, how in zip(table.columns, types, values.formats_for(len(types), formats), strict=True):
        found = values.TYPES[kind]
        columns.append(backend.Column(name.encode(), 0, 0, found.oid, found.size, -1, how))
    return backend.RowDescription(tuple(columns)).to_bytes()
