"""Run-time parameters (GUCs): what a client has set, and what a server has been told.

Only explicit values are kept, relative to the startup parameters, so RESET returns to what the client started with.
A lease on a server whose values differ costs one more message ahead of the client's own.

Values are never changed in place: whoever has them has them for good, and that they are the same object says without a
look that they are equal.
"""

from __future__ import annotations

from collections.abc import Iterable

from pgbeam_core.api.statement import SettingAction, SettingChange

Values = dict[str, str]

_AUTHORIZATION = ("session_authorization", "role")
_ORDER = {"session_authorization": 1, "role": 2, "statement_timeout": 3, "lock_timeout": 3, "transaction_timeout": 3}
"""Those told last: these decide what may still be set, and how long that may take; the rest comes at 0."""
HIDDEN = ""
"""The name in a server's values that stands for parameters which nobody knows and no catalog shows."""
MOST = 200
"""Parameters that follow a session from server to server, each of which has to be told all of them anew. With more the
session keeps its server."""
MOST_BYTES = 64 * 1024
"""Of their names and values together, likewise."""
_NOT_OF_SESSION = frozenset(
    {"transaction_isolation", "transaction_read_only", "transaction_deferrable", "transaction_snapshot", "seed"}
)
"""They end with the transaction, whichever way they are set; `seed` is the server's, which knows no RESET of it."""
_REPORTED = {
    "datestyle": "DateStyle",
    "intervalstyle": "IntervalStyle",
    "timezone": "TimeZone",
    "client_encoding": "client_encoding",
    "standard_conforming_strings": "standard_conforming_strings",
}
"""Parameters of which every server tells the value that it has made of a SET: that of a DateStyle depends on the one
before. With the names by which it does."""
_OTHER_NAMES = {"sort_mem": "work_mem", "vacuum_mem": "maintenance_work_mem"}
"""Names that PostgreSQL takes for others."""
_CERTAIN = frozenset(
    {"application_name", "client_min_messages", "datestyle", "intervalstyle", "timezone", "client_encoding"}
    | {"extra_float_digits", "bytea_output", "standard_conforming_strings", "search_path", "row_security"}
    | {"statement_timeout", "lock_timeout", "transaction_timeout", "idle_in_transaction_session_timeout"}
    | {"idle_session_timeout", "default_transaction_isolation", "default_transaction_read_only"}
    | {"default_transaction_deferrable", "synchronous_commit", "work_mem", "jit", "plan_cache_mode"}
)
"""Parameters that anybody may set on any server to what they were set to on another."""


class SessionSettings:
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
        wanted = [change for change in changes if not change.local and change.action is not SettingAction.SHOW]
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
        name = _OTHER_NAMES.get(change.name, change.name)
        if name == "all":
            kept = {name: value for name, value in self.now.items() if name in _AUTHORIZATION}
            self.now = {**self._base, **kept}
            self.unknown = self.unknown & frozenset(_AUTHORIZATION)
        elif name in _NOT_OF_SESSION:
            return
        elif change.action is SettingAction.RESET or (change.literal and change.value is None):
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

    @property
    def in_question(self) -> frozenset[str]:
        """Parameters that a server has to be asked for by name: no catalog shows them."""
        return self.unknown | frozenset(name for name in self.now if "." in name)

    def without(self, changes: Iterable[SettingChange]) -> Values:
        """The values but for those that these changes replace or reset anyway."""
        names = {_OTHER_NAMES.get(change.name, change.name) for change in changes if not change.local}
        if "session_authorization" in names:
            names.add("role")
        if "all" in names:
            return {name: value for name, value in self.now.items() if name in _AUTHORIZATION and name not in names}
        return {name: value for name, value in self.now.items() if name not in names}

    def set_by_server(self, values: Values) -> None:
        """The server has told all that is set in the session, but for parameters with a dot that it was not asked for.

        One with a dot that is empty was mostly never set: reading it as empty or as nothing is all the same.
        """
        kept = {name: value for name, value in self.now.items() if "." in name and name not in values}
        found = {
            name: value
            for name, value in values.items()
            if (value or "." not in name or name in self.now)
            and (name != "role" or value != "none" or name in self.now)
        }
        self.now = {}
        for name, value in {**kept, **found}.items():
            self._set(name, value)
        self.unknown = frozenset()

    def respell(self, reported: Values) -> bool:
        """No transaction is open: take over what the server has reported. True if that is something else."""
        now = {
            name: reported.get(_REPORTED[name], value) if name in _REPORTED else value
            for name, value in self.now.items()
        }
        if now == self.now:
            return False
        self.now = now
        return True

    def savepoint(self, name: str) -> None:
        self._savepoints.append((name, self.now, self.unknown))

    def release_savepoint(self, name: str) -> None:
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

    def end_transaction(self, *, committed: bool) -> None:
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


def is_role_set(values: Values) -> bool:
    """Whether it is another role than that of the login that acts."""
    return "role" in values or "session_authorization" in values


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
    order = sorted(wanted, key=lambda name: _ORDER.get(name, 0))
    parts += [
        f"SELECT pg_catalog.set_config({literal(name)}, {literal(wanted[name])}, false)"
        for name in order
        if has.get(name) != wanted[name]
    ]
    return ";".join(parts).encode("utf-8", "surrogateescape")


def is_certain(has: Values, wanted: Values) -> bool:
    """Whether what `difference` gives cannot fail, so that the next request need not wait to see that it has not."""
    if HIDDEN in has:
        has = {}
    return all(
        name in _CERTAIN or (name in _AUTHORIZATION and wanted.get(name, "none") == "none")
        for name in has.keys() | wanted.keys()
        if has.get(name) != wanted.get(name)
    )


def folded(name: str) -> str:
    """A parameter's name in the one case that it is kept in: PostgreSQL folds A to Z and nothing else."""
    return name.translate(_FOLD)


_FOLD = {ord(letter): ord(letter.lower()) for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}


def literal(text: str) -> str:
    """An SQL string constant that means the same whatever standard_conforming_strings and client_encoding say."""
    quoted = text.replace("'", "''")
    return " E'" + quoted.replace("\\", "\\\\") + "'" if "\\" in quoted else "'" + quoted + "'"


def _identifier(name: str) -> str:
    return ".".join('"' + part.replace('"', '""') + '"' for part in name.split("."))
