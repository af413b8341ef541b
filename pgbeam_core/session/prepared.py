"""Prepared statements: what a client has prepared, and what a server has.

A client's statement is a name for a (text, parameter types) pair. A server holds such pairs under names of PgBeam's
own, so any server can stand in for any other: a pair that it lacks is prepared on it when it is first needed.
"""

from __future__ import annotations

from collections import OrderedDict
from struct import pack

from pgbeam_core.api.statement import Statement
from pgbeam_core.session.large_texts import size_of_text
from pgbeam_core.wire.large import rest_of
from pgbeam_core.wire.names import rename_parse

Key = tuple[bytes, bytes]
"""(text as the server sees it, the parameter type section of Parse as sent)."""

NO_TYPES = b"\0\0"
"""The parameter type section of a Parse that names none."""
SERVER_PREFIX = b"pgbeam_"
_OWN_OID = 16384 >> 8
"""Of the first identifier of what is made later than by initdb, all but the last byte."""

MOST_BYTES = 4 * 1024 * 1024
"""Bytes of text that are remembered for one server between two clients."""
LARGE_TEXT = 64 * 1024
"""A text of more bytes is not remembered as the unnamed statement."""


class Prepared:
    """A statement that a client has prepared."""

    __slots__ = ("_frame", "description", "key", "name", "parameter_description", "rest", "statement")

    def __init__(self, name: bytes, statement: Statement, types: bytes, frame: bytes | None = None) -> None:
        """`frame`: the head of its Parse, if that is a large message; the statement's text is not all of it then."""
        self.name = name
        self.statement = statement if types == NO_TYPES or not _of_users(types) else statement.with_own_parameter()
        self.key: Key = (statement.text, types)
        self.description: bytes | None = None
        """The RowDescription or NoData that the client was given for it, by a Describe of the statement."""
        self.parameter_description: bytes | None = None
        """The ParameterDescription ahead of that."""
        self._frame = frame
        self.rest: list[bytes] = [] if frame is None else rest_of(frame)
        """What is to be sent behind the Parse message."""

    def has_parameters(self, described: bytes) -> None:
        self.parameter_description = described

    def has_columns(self, described: bytes) -> None:
        self.description = described

    @property
    def speaks_of_nothing(self) -> str:
        """What PostgreSQL says if there is no statement of the name that its SQL is about."""
        name = (self.statement.speaks_of or b"").decode("utf-8", "surrogateescape")
        return f'prepared statement "{name}" does not exist'

    def parse_frame(self, name: bytes) -> bytes:
        """The Parse message that makes it, under that name; `rest` goes behind it."""
        if self._frame is not None:
            return rename_parse(self._frame, name)
        text, types = self.key
        header = pack("!cI", b"P", 6 + len(name) + len(text) + len(types))
        return b"".join((header, name, b"\x00", text, b"\x00", types))


def _of_users(types: bytes) -> bool:
    """Whether a Parse says of a parameter that it is of a type which initdb has not made."""
    return any(types[2::4]) or any(types[3::4]) or max(types[4::4], default=0) >= _OWN_OID


class ServerStatements:
    """What one server has prepared for PgBeam.

    `names` maps a key to its name, least recently used first; `unnamed` is the key of the unnamed statement, None
    when there is none.
    """

    __slots__ = ("_made", "client_names", "epochs", "limit", "names", "size", "stale", "unnamed")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.names: OrderedDict[Key, bytes] = OrderedDict()
        self.size = 0
        """Bytes of the texts that have a name, as they are on the server."""
        self.unnamed: Key | None = None
        self.stale: list[bytes] = []
        """Names that stand for nothing any more, to be closed."""
        self.client_names: dict[bytes, Key] = {}
        """Statements that stand under their client's own name, because its SQL speaks of them."""
        self.epochs: dict[Key, int] = {}
        """For which state of the tables those with a name were prepared."""
        self._made = 0

    def new_name(self) -> bytes:
        """A name that was not used on this server before."""
        self._made += 1
        return SERVER_PREFIX + b"%d" % self._made

    def add(self, key: Key, name: bytes, epoch: int) -> None:
        """The server has prepared it under that name; the one that it had is stale."""
        stale = self.names.pop(key, None)
        if stale is not None:
            self.stale.append(stale)
        else:
            self.size += size_of_text(key[0])
        self.names[key] = name
        self.epochs[key] = epoch

    def surplus(self, needed: set[Key]) -> list[bytes]:
        """Forget statements over the limit, oldest first, none of the needed ones; give their names, to be closed."""
        surplus: list[Key] = []
        excess = len(self.names) - self.limit
        for key in self.names:
            if len(surplus) >= excess:  # the rest need not be looked at
                break
            if key not in needed:
                surplus.append(key)
        return [self._drop(key) for key in surplus]

    def trim(self) -> None:
        """A client is done with the server: large texts, which few will want again, are not kept for the next one."""
        unnamed = self.unnamed
        if unnamed is not None and len(unnamed[0]) > LARGE_TEXT:
            self.unnamed = None
        while self.size > MOST_BYTES:
            self.stale.append(self._drop(next(iter(self.names))))

    def _drop(self, key: Key) -> bytes:
        self.size -= size_of_text(key[0])
        self.epochs.pop(key, None)
        return self.names.pop(key)

    @property
    def count(self) -> int:
        """How many the server has under names of PgBeam's."""
        return len(self.names) + len(self.stale)

    def mislaid(self) -> None:
        """The server lacks some of them, and it is not known which."""
        self.stale += self.forget()
        self.client_names.clear()

    def forget(self) -> list[bytes]:
        """Forget all that have a name; give the names, to be closed."""
        names = list(self.names.values())
        self.names.clear()
        self.epochs.clear()
        self.size = 0
        return names

    def outdated(self, key: Key) -> None:
        """What it has prepared of that may not be what a Parse would make of it now."""
        if key in self.names:
            self.stale.append(self._drop(key))
        if self.unnamed == key:
            self.unnamed = None

    def clear(self) -> None:
        """The server has dropped them all (DISCARD ALL, DEALLOCATE ALL)."""
        self.names.clear()
        self.epochs.clear()
        self.size = 0
        self.stale.clear()
        self.client_names.clear()
        self.unnamed = None
