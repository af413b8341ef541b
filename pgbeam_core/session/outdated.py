"""Errors by which a server tells that tables are not what they were when a statement was prepared.

PostgreSQL analyses a prepared statement anew when its tables have changed, and keeps the types of its parameters and
of its result: what a Parse would make of the same text may well do where the prepared one fails.
"""

from __future__ import annotations

from pgbeam_core.session.prepared import SERVER_PREFIX

_FEATURE, _CLASS = b"\x00C0A000\x00", b"\x00C42"
_PERMISSION = b"\x00C42501\x00"
_MISSING = b"\x00C26000\x00"
_ROUTINE = b"\x00RRevalidateCachedQuery\x00"
_ENGLISH = b"\x00Mcached plan must not change result type\x00"
_LONGEST = 1024 * 1024
"""Bytes; what is longer is what somebody has raised."""


def is_stale_plan(error: bytes) -> bool:
    """Whether the result of a prepared statement would have other columns than it had, in whatever language."""
    return len(error) <= _LONGEST and _FEATURE in error and (_ROUTINE in error or _ENGLISH in error)


def is_missing(error: bytes) -> bool:
    """Whether there is no such statement: code of users can drop what PgBeam has prepared."""
    return len(error) <= _LONGEST and _MISSING in error


def may_be(error: bytes) -> bool:
    """Whether the text might mean something else if it were parsed now: names, types or operators were not found; or
    the server has it no more."""
    if len(error) > _LONGEST:
        return False
    if is_missing(error):
        return SERVER_PREFIX in error
    return (_CLASS in error and _PERMISSION not in error) or is_stale_plan(error)
