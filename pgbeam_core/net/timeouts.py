"""Lifts the timeouts that a client has given a server, where PgBeam is about to do something of its own there.

Even setting another timeout runs under the one before, and one of a few milliseconds can end it. So it is said more
than once: whichever time succeeds makes the next ones safe.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

NAMES = ("statement_timeout", "lock_timeout", "transaction_timeout")
TRIES = 3
"""How often it is said. The last time has to succeed."""
_SHORT_MS = 1_000
"""What PgBeam does of its own takes less than a millisecond, where nothing keeps the server from running."""
_UNITS_MS = {"": 1.0, "us": 0.001, "ms": 1.0, "s": 1e3, "min": 6e4, "h": 3.6e6, "d": 8.64e7}
_AMOUNT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*")


def all_set(settings: Mapping[str, str], at_login: Mapping[str, str]) -> tuple[str, ...]:
    """The timeouts of a session's `settings` and of its login's parameters: a server may not know the others."""
    options = at_login.get("options", "").lower().replace("-", "_")
    return tuple(name for name in NAMES if name in settings or name in at_login or name in options)


def short_ones(settings: Mapping[str, str], at_login: Mapping[str, str]) -> tuple[str, ...]:
    """Those that may cut short even a little; what `options` says is taken to be such a one."""
    return tuple(name for name in all_set(settings, at_login) if _is_short(settings.get(name, at_login.get(name, ""))))


def lifting(names: Iterable[str]) -> bytes:
    """The SQL that lifts these. Not all servers know all of them."""
    parts = (
        f"CASE WHEN pg_catalog.current_setting('{name}', true) IS NOT NULL"
        f" THEN pg_catalog.set_config('{name}', '0', false) END"
        for name in names
    )
    return f"SELECT {', '.join(parts)}".encode()


def _is_short(value: str) -> bool:
    """Whether a timeout is one of less than a second; what does not read as a time may be one."""
    amount = _AMOUNT.fullmatch(value)
    if amount is None or amount[2] not in _UNITS_MS:
        return True
    return 0 < float(amount[1]) * _UNITS_MS[amount[2]] < _SHORT_MS
