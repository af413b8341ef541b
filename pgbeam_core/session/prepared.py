"""Prepared statements: what a client has prepared, and what a server has.

A client's statement is a name for a (text, parameter types) pair. A server holds such pairs under names of PgBeam's
own, so any server can stand in for any other: a pair that it lacks is prepared on it when it is first needed.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import islice
from struct import pack

from pgbeam_core.query import Statement

Key = tuple[bytes, bytes]
"""(text as the server sees it, the parameter type section of Parse as sent)."""

SERVER_PREFIX = b"pgbeam_"


class Prepared:
    """A statement that a client has prepared."""

    __slots__ = ("description", "key", "name", "statement")

    def __init__(self, name: bytes, statement: Statement, types: bytes) -> None:
        self.name = name
        self.statement = statement
        self.key: Key = (statement.text, types)
        self.description: bytes | None = None
        """The RowDescription that the client was given for it, by a Describe of the statement."""

    def parse_frame(self, name: bytes) -> bytes:
        """The Parse message that makes it, under that name."""
        text, types = self.key
        return pack("!cI", b"P", 6 + len(name) + len(text) + len(types)) + name + b"\x00" + text + b"\x00" + types


class ServerStatements:
    """What one server has prepared for PgBeam.

    `named` maps a key to its name, least recently used first; `unnamed` is the key of the unnamed statement, None
    when there is none.
    """

    __slots__ = ("_made", "epochs", "lent", "limit", "named", "stale", "unnamed")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.named: OrderedDict[Key, bytes] = OrderedDict()
        self.unnamed: Key | None = None
        self.stale: list[bytes] = []
        """Names that stand for nothing any more, to be closed."""
        self.lent: dict[bytes, Key] = {}
        """Statements that stand under their client's own name, because its SQL speaks of them."""
        self.epochs: dict[Key, int] = {}
        """For which state of the tables those with a name were prepared."""
        self._made = 0

    def new_name(self) -> bytes:
        """A name that was not used on this server before."""
        self._made += 1
        return SERVER_PREFIX + b"%d" % self._made

    def surplus(self, needed: set[Key]) -> list[bytes]:
        """Forget statements over the limit, oldest first, none of the needed ones; give their names, to be closed."""
        names: list[bytes] = []
        excess = len(self.named) - self.limit
        if excess > 0:
            for key in list(islice((key for key in self.named if key not in needed), excess)):
                names.append(self.named.pop(key))
                self.epochs.pop(key, None)
        return names

    def forget(self) -> list[bytes]:
        """Forget all that have a name; give the names, to be closed."""
        names = list(self.named.values())
        self.named.clear()
        self.epochs.clear()
        return names

    def clear(self) -> None:
        """The server has dropped them all (DISCARD ALL, DEALLOCATE ALL)."""
        self.named.clear()
        self.epochs.clear()
        self.stale.clear()
        self.lent.clear()
        self.unnamed = None
