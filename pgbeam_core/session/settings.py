"""Run-time parameters (GUCs): what a client has set, and what a server has been told.

Only explicit values are kept, relative to the startup parameters, so RESET returns to what the client started with.
A lease on a server whose values differ costs one more message ahead of the client's own.

Values are never changed in place: whoever has them has them for good, and that they are the same object says without a
look that they are equal.
"""

from __future__ import annotations

from collections.abc import Iterable

from pgbeam_core.query import SettingChange

Values = dict[str, str]

_AUTHORIZATION = ("session_authorization", "role")
"""Told last and in this order: each decides what may still be set."""
HIDDEN = ""
"""The name in a server's values that stands for parameters which nobody knows and no catalog shows."""
MOST = 200
"""Parameters that follow a session from server to server, each of which has to be told all of them anew. With more the
session keeps its server."""
MOST_BYTES = 64 * 1024
"""Of their names and values together, likewise."""
UNSEEN = frozenset(_AUTHORIZATION)
"""Parameters that pg_settings does not show."""


class Settings:
    """The values that one client has set, with the transaction behaviour of SET.

    `now` is what a statement would see, SET LOCAL aside. `unknown` names those that were set to something that only
    the server knows. `too_many`: there are more than can follow the session; those beyond are not in `now`.
    """

    __slots__ = ("_base", "_before", "_savepoints", "now", "too_many", "unknown")

    def __init__(self, base: Values) -> None:
        """`base` holds what RESET returns to where that is not the server's own startup value."""
        self._base = dict(base)
        self.now = self._base
        self.too_many = False
        self.unknown: frozenset[str] = frozenset()
        self._before: tuple[Values, frozenset[str]] | None = None
        self._savepoints: list[tuple[str, Values, frozenset[str]]] = []

    def change(self, changes: Iterable[SettingChange]) -> None:
        """A statement with these changes has succeeded."""
        wanted = [change for change in changes if not change.local and change.action != "show"]
        if not wanted:
            return
        before = self.now
        if self._before is None:
            self._before = (before, self.unknown)
        self.now = dict(before)
        for change in wanted:
            self._apply(change)
        if sum(len(name) + len(value) for name, value in self.now.items()) > MOST_BYTES:
            self.too_many = True
            changed = {change.name for change in wanted}
            self.now = {name: value for name, value in before.items() if name not in changed}

    def _apply(self, change: SettingChange) -> None:
        name = change.name
        if name == "all":
            kept = {name: value for name, value in self.now.items() if name in _AUTHORIZATION}
            self.now = {**self._base, **kept}
            self.unknown = self.unknown & frozenset(_AUTHORIZATION)
        elif name.startswith("transaction_"):
            return
        elif change.action == "reset" or (change.literal and change.value is None):
            self._reset(name)
        elif change.literal and change.value is not None:
            self._set(name, change.value)
        elif name in self.unknown or len(self.unknown) < MOST:
            self.unknown |= {name}
        else:
            self.too_many = True
        if name == "session_authorization":
            self.now.pop("role", None)

    def _set(self, name: str, value: str) -> None:
        if name in self.now or len(self.now) < MOST:
            self.now[name] = value
        else:
            self.too_many = True
        self.unknown -= {name}

    def _reset(self, name: str) -> None:
        if name in self._base:
            self._set(name, self._base[name])
        else:
            self.now.pop(name, None)
        self.unknown -= {name}

    def savepoint(self, name: str) -> None:
        """A savepoint was set."""
        self._savepoints.append((name, self.now, self.unknown))

    def release(self, name: str) -> None:
        """A savepoint was released, and with it all that were set after it."""
        for place in range(len(self._savepoints) - 1, -1, -1):
            if self._savepoints[place][0] == name:
                del self._savepoints[place:]
                return

    def rollback_to(self, name: str) -> None:
        """The transaction went back to a savepoint; it stays."""
        for place in range(len(self._savepoints) - 1, -1, -1):
            if self._savepoints[place][0] == name:
                del self._savepoints[place + 1 :]
                _, self.now, self.unknown = self._savepoints[place]
                return

    def over(self, *, committed: bool) -> None:
        """The transaction, explicit or of one statement, has ended."""
        if self._before is not None and not committed:
            self.now, self.unknown = self._before
        self._before = None
        self._savepoints.clear()

    def discard_all(self) -> None:
        """DISCARD ALL: back to the startup parameters."""
        self.now = self._base
        self.unknown = frozenset()
        self.too_many = False
        self._before = None


def roles_in_doubt(told: Values) -> Values:
    """What a server was told, once names of roles may have come to stand for others: such a server is told anew."""
    return {**told, HIDDEN: ""} if any(name in told for name in _AUTHORIZATION) else told


def difference(has: Values, wanted: Values) -> bytes | None:
    """The SQL that makes a server with the values `has` one with the values `wanted`; None if they are equal."""
    if has is wanted or has == wanted:
        return None
    parts: list[str] = []
    if HIDDEN in has:
        parts += ["RESET ROLE", "RESET SESSION AUTHORIZATION", "RESET ALL"]
        has = {}
    elif any(has.get(name) != wanted.get(name) for name in _AUTHORIZATION):
        # Whoever the server is now may not be allowed to set the rest.
        parts += ["RESET ROLE", "RESET SESSION AUTHORIZATION"]
        has = {name: value for name, value in has.items() if name not in _AUTHORIZATION}
    parts += [f"RESET {_identifier(name)}" for name in has if name not in wanted]
    order = sorted(wanted, key=lambda name: _AUTHORIZATION.index(name) if name in _AUTHORIZATION else -1)
    parts += [
        f"SELECT pg_catalog.set_config({literal(name)}, {literal(wanted[name])}, false)"
        for name in order
        if has.get(name) != wanted[name]
    ]
    return ";".join(parts).encode("utf-8", "surrogateescape")


def literal(text: str) -> str:
    """An SQL string constant that means the same whatever standard_conforming_strings and client_encoding say."""
    quoted = text.replace("'", "''")
    return " E'" + quoted.replace("\\", "\\\\") + "'" if "\\" in quoted else "'" + quoted + "'"


def _identifier(name: str) -> str:
    return ".".join('"' + part.replace('"', '""') + '"' for part in name.split("."))
