"""Asks a server what session state a client has left on it, where the client's texts do not tell.

`remains` says after what. The question goes out behind the client's reply, so the client does not wait for it; the
lease does. It runs in a transaction of its own, under timeouts of its own, and everything in it is called by its full
name: neither the client's settings nor what it has put in front of PostgreSQL's operators and functions count.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from itertools import islice
from typing import NamedTuple

from pgbeam_core.catalog.catalog_query import NAMED
from pgbeam_core.errors import ProtocolViolation
from pgbeam_core.internal.owner import Row, RowCollector
from pgbeam_core.session.prepared import SERVER_PREFIX
from pgbeam_core.session.settings import folded, literal
from pgbeam_core.session.turns import Turn
from pgbeam_core.wire import backend

_MOST_BYTES = 4 * 1024 * 1024
"""A longer answer is not looked at: then the server counts as one that could not be asked."""
_PATIENCE = "10s"
_TIMEOUTS = ("statement_timeout", "lock_timeout", "transaction_timeout")
_NOT_OF_SESSION = ("transaction_isolation", "transaction_read_only", "transaction_deferrable", "seed")


def _same(one: str, other: str, sign: str = "=") -> str:
    return f"{one} OPERATOR(pg_catalog.{sign}) {other}"


def _own_timeout(name: str) -> str:
    return (
        f"CASE WHEN pg_catalog.current_setting('{name}', true) IS NOT NULL"
        f" THEN pg_catalog.set_config('{name}', '{_PATIENCE}', true) END"
    )


_OWN_TIMEOUTS = (
    "SELECT 'timeouts', "
    + ", ".join(f"pg_catalog.current_setting('{name}', true)" for name in _TIMEOUTS)
    + ", "
    + ", ".join(_own_timeout(name) for name in _TIMEOUTS)
)
"""What they are, and then for the rest of the transaction they are PgBeam's. Not all servers know all of them."""
_IS_SETUP = "pg_catalog.pg_replication_origin_session_is_setup()"
_SETUP = "'pg_catalog.pg_replication_origin_session_setup(text)'"
_ME = "pg_catalog.pg_backend_pid()"
_TEMP = "pg_catalog.pg_my_temp_schema()"
_IS_TIMEOUT = " OR ".join(_same("name", f"'{name}'") for name in _TIMEOUTS)
_IS_OF_SESSION = " AND ".join(_same("name", f"'{name}'", "<>") for name in _NOT_OF_SESSION)
_IS_TIED = f"""{_same("context", "'superuser'")}
 AND NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE {_same("rolname", "SESSION_USER")})"""
"""Code of a superuser has set it for somebody who could not set it on another server."""
_SETTINGS = f"""\
SELECT CASE WHEN {_IS_TIMEOUT} THEN 'reset' WHEN {_IS_TIED} THEN 'tied' ELSE 'set' END, name,
 CASE WHEN {_IS_TIMEOUT} THEN reset_val ELSE pg_catalog.current_setting(name) END
 FROM pg_catalog.pg_settings WHERE {_same("source", "'session'")} AND {_IS_OF_SESSION}
UNION ALL SELECT 'set', 'role', pg_catalog.current_setting('role')
UNION ALL SELECT 'user', 'session_authorization', CAST(SESSION_USER AS pg_catalog.text)
UNION ALL SELECT 'kept', '', CAST(pg_catalog.count(*) AS pg_catalog.text) FROM pg_catalog.pg_prepared_statements
 WHERE pg_catalog.starts_with(name, '{SERVER_PREFIX.decode()}') AND NOT from_sql"""


def _pin(reason: str, source: str, *where: str) -> str:
    condition = f"EXISTS (SELECT FROM pg_catalog.{source} WHERE {' AND '.join(where)})"
    return f"UNION ALL SELECT 'pin', '{reason}', '' WHERE {condition}"


_PINS = "\n".join(
    (
        _pin("listen", "pg_listening_channels()", "true"),
        _pin("advisory_lock", "pg_locks", _same("locktype", "'advisory'"), _same("pid", _ME)),
        _pin("prepare", "pg_prepared_statements", "from_sql"),
        _pin("with_hold", "pg_cursors", "is_holdable"),
        # Whatever can be made in a schema: types, functions, operators, text search configurations …
        _pin(
            "temp_table",
            "pg_depend",
            _same("refclassid", "'2615'"),
            _same("refobjid", _TEMP),
            _same(_TEMP, "'0'", "<>"),
        ),
        _pin("slot", "pg_replication_slots", "temporary", _same("active_pid", _ME)),
    )
)

_MENTIONED = "pg_catalog.strpos(prosrc, 'pg_replication_origin_session_setup')"
_ORIGIN = {
    True: f"UNION ALL SELECT 'pin', 'origin', '' WHERE {_IS_SETUP}",
    # Others may not ask. One may have been set up for them while they, or the owner of a function, had more rights.
    # Origins of subscriptions, pg_1234, are not for clients.
    False: _pin(
        "origin",
        "pg_replication_origin",
        "NOT pg_catalog.starts_with(roname, 'pg_')",
        f"(pg_catalog.has_function_privilege(SESSION_USER, {_SETUP}, 'EXECUTE')"
        f" OR pg_catalog.has_function_privilege({_SETUP}, 'EXECUTE')"
        " OR EXISTS (SELECT FROM pg_catalog.pg_proc WHERE prosecdef"
        f" AND {_same(_MENTIONED, '0', '>')}))",
    ),
}
"""Whether a replication origin is set up, as a superuser may ask it, and as others."""
_NAMED_BY_CODE = f"UNION ALL SELECT 'set', name, pg_catalog.current_setting(name, true) FROM ({NAMED}) AS named"
"""Parameters with a dot that code in the catalog names."""
FIRST = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ ONLY, NOT DEFERRABLE"
"""What the question begins with: by default the client may wait until it is safe to read, or lock what is read."""
_NAMED = re.compile(rb"""(?:'(?=[\w$.]+')|\bset\s+(?:session\s+)?)("?[a-z_][\w$]*"?\."?[a-z_][\w$.]*)""", re.IGNORECASE)
_MOST_NAMES = 100
"""Names that are looked at in one text: what is asked of the server must not grow with what a client sends."""
_READ_BYTES = 64 * 1024
"""Longer texts are not looked at."""
_UNITS = {"": 1, "ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}
_AMOUNT = re.compile(r"(\d+)(\w*)")


def mentioned(text: bytes) -> frozenset[str]:
    """Names of parameters with a dot that a function or the body of a DO may have set: no catalog shows those.

    In question is what stands behind SET, or is a string by itself. The name "" is among them when there may be more.
    """
    if len(text) > _READ_BYTES:
        return frozenset({""})
    found = islice(_NAMED.finditer(text), _MOST_NAMES)
    names = [folded(name[1].replace(b'"', b"").decode("utf-8", "replace")) for name in found]
    return frozenset(names if len(names) < _MOST_NAMES else [*names, ""])


def inspection_query(names: Iterable[str], *, superuser: bool, searches: bool) -> bytes:
    """The SQL; `names` are parameters that were, or may have been, set to what only the server knows.

    superuser: whether it is one who asks. searches: the server is to look for names in its
    catalog too, which PgBeam has not read since a definition was changed.

    Several statements in one Query are one transaction, which ends with it, whichever way.
    """
    own = [
        f"UNION ALL SELECT 'set', {literal(name)}, pg_catalog.current_setting({literal(name)}, true)"
        for name in sorted(names)
        if "." in name
    ]
    parts = (
        FIRST,
        _OWN_TIMEOUTS,
        "\n".join([_SETTINGS, *own, *([_NAMED_BY_CODE] if searches else []), _PINS, _ORIGIN[superuser]]),
    )
    return ";\n".join(parts).encode("utf-8", "surrogateescape")


_ANSWERS = 2
"""Columns of a row behind that which says what the row is about."""


class InspectionResult(NamedTuple):
    """What a server has told: the parameters set in the session, its session user, what pins, and how many statements
    it has prepared for PgBeam."""

    values: dict[str, str]
    user: str
    pins: set[str]
    kept: int | None = None


class Inspection(RowCollector):
    """Owns the turn of the question. `told` is called once: with what was found, or None for an error and the like."""

    def __init__(self, told: Callable[[InspectionResult | None, str], None]) -> None:
        super().__init__(_MOST_BYTES)
        self._told = told

    def turn_over(self, turn: Turn, ready: bytes) -> None:
        if turn.error is not None:
            self._told(None, backend.error_fields(turn.error).get("M", ""))
        elif self.is_too_large:
            self._told(None, "it has too much to say")
        else:
            self._told(*self._understood())

    def _understood(self) -> tuple[InspectionResult | None, str]:
        try:
            return _found(self.rows("surrogateescape")), ""
        except ProtocolViolation as error:
            return None, error.message

    def turn_lost(self, turn: Turn, reason: str) -> None:
        """The server is gone, and its state with it."""
        self._told(None, reason)


def _found(rows: list[Row]) -> InspectionResult:
    found = InspectionResult({}, "", set())
    timeouts: dict[str, str | None] = {}
    for row in rows:
        what, rest = row[0] if row else None, list(row[1:])
        if what == "timeouts":
            timeouts = dict(zip(_TIMEOUTS, rest, strict=False))
            continue
        if len(rest) < _ANSWERS:
            raise ProtocolViolation("it answers otherwise than it was asked")
        name, value = rest[0] or "", rest[1]
        if what == "pin":
            found.pins.add(name)
        elif what == "user":
            found = found._replace(user=value or "")
        elif what == "kept":
            found = found._replace(kept=_number(value))
        elif what in ("set", "tied") and value is not None:
            found.values[folded(name)] = value
            if what == "tied":
                found.pins.add("setting")
        elif what == "reset":
            here = timeouts.get(name)
            if here is not None and not _is_as_long(here, value or ""):
                found.values[name] = here
    return found


def _number(value: str | None) -> int:
    if value is None or not (value.isascii() and value.isdigit()):
        raise ProtocolViolation("it counts otherwise than in numbers")
    return int(value)


def _is_as_long(shown: str, milliseconds: str) -> bool:
    """Whether a time as SHOW has it, with a unit, is that number of milliseconds."""
    amount = _AMOUNT.fullmatch(shown)
    return amount is not None and str(int(amount[1]) * _UNITS.get(amount[2], 0)) == milliseconds
