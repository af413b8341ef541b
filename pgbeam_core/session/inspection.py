"""Asks a server what session state a client has left on it, where the client's texts do not tell.

After DO, CALL, functions of the users' own and texts that could not be parsed, only the server knows. The question goes
out behind the client's reply, so the client does not wait for it; the lease does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from itertools import islice

from pgbeam_core.session.settings import literal
from pgbeam_core.session.turns import Turn
from pgbeam_core.session.unattended import Unattended
from pgbeam_core.wire import backend
from pgbeam_core.wire.frames import split

_DATA_ROW = ord("D")
_MOST_BYTES = 4 * 1024 * 1024
"""A longer answer is not looked at, and what it was about stays in doubt."""

_STATE = """\
SELECT 'set', name, pg_catalog.current_setting(name) FROM pg_catalog.pg_settings
 WHERE source = 'session' AND name NOT LIKE 'transaction\\_%' AND name <> 'seed'
UNION ALL SELECT 'pin', 'listen', '' WHERE EXISTS (SELECT FROM pg_catalog.pg_listening_channels())
UNION ALL SELECT 'pin', 'advisory_lock', '' WHERE EXISTS (SELECT FROM pg_catalog.pg_locks
 WHERE locktype = 'advisory' AND pid = pg_catalog.pg_backend_pid())
UNION ALL SELECT 'pin', 'prepare', '' WHERE EXISTS (SELECT FROM pg_catalog.pg_prepared_statements WHERE from_sql)
UNION ALL SELECT 'pin', 'with_hold', '' WHERE EXISTS (SELECT FROM pg_catalog.pg_cursors WHERE is_holdable)
UNION ALL SELECT 'pin', 'temp_table', '' WHERE EXISTS (SELECT FROM pg_catalog.pg_class
 WHERE relnamespace = pg_catalog.pg_my_temp_schema() AND relnamespace <> 0)"""


_NAMED = re.compile(rb"(?:'(?=[\w$.]+')|\bset\s+(?:session\s+)?)([a-z_][\w$]*\.[a-z_][\w$.]*)", re.IGNORECASE)
_MOST_NAMES = 100
"""Names that are looked at in one text: what is asked of the server must not grow with what a client sends."""
_READ_BYTES = 64 * 1024
"""Longer texts are not looked at."""


def mentioned(text: bytes) -> frozenset[str]:
    """Names of parameters with a dot that a function or the body of a DO may have set: no catalog shows those.

    In question is what stands behind SET, or is a string by itself. The name "" is among them when there may be more.
    """
    if len(text) > _READ_BYTES:
        return frozenset({""})
    names = [name[1].decode("utf-8", "replace").lower() for name in islice(_NAMED.finditer(text), _MOST_NAMES)]
    return frozenset(names if len(names) < _MOST_NAMES else [*names, ""])


def question(names: Iterable[str]) -> bytes:
    """The SQL; `names` are parameters that were set to what only the server knows."""
    own = [
        f"UNION ALL SELECT 'set', {literal(name)}, pg_catalog.current_setting({literal(name)}, true)"
        for name in names
        if "." in name
    ]
    return "\n".join([_STATE, *own]).encode("utf-8", "surrogateescape")


class Inspection(Unattended):
    """Owns the turn of the question. `told` gets (settings made in the session, reasons to pin) if it succeeds."""

    def __init__(self, told: Callable[[dict[str, str], set[str]], None]) -> None:
        self._told = told
        self._data: list[bytes] = []
        self._size = 0

    def deliver(self, data: bytes) -> None:
        """Bytes of the answer."""
        self._size += len(data)
        if self._size > _MOST_BYTES:
            self._data.clear()
        else:
            self._data.append(data)

    def turn_over(self, turn: Turn, ready: bytes) -> None:
        """The answer is complete. An error leaves everything as careful as it was."""
        if turn.error is not None or self._size > _MOST_BYTES:
            return
        values: dict[str, str] = {}
        pins: set[str] = set()
        data = b"".join(self._data)
        for tag, start, end in split(data):
            if tag == _DATA_ROW:
                what, name, value = (
                    None if field is None else field.decode("utf-8", "surrogateescape")
                    for field in backend.DataRow.from_bytes(data[start:end]).values
                )
                if what == "pin" and name is not None:
                    pins.add(name)
                elif name is not None and value is not None:
                    values[name] = value
        self._told(values, pins)

    def turn_lost(self, turn: Turn, reason: str) -> None:
        """The server is gone, and its state with it."""
