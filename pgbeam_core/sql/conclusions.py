"""What follows from the facts found in a text, drawn once and shared by all texts of the same template."""

from __future__ import annotations

from pgbeam_core.api.statement import Kind, Name, Statement
from pgbeam_core.sql.volatility import BUILTIN

_EFFECTS = frozenset(
    {
        Kind.COMMIT,
        Kind.ROLLBACK,
        Kind.SAVEPOINT,
        Kind.RELEASE,
        Kind.ROLLBACK_TO,
        Kind.TWO_PHASE,
        Kind.DISCARD,
        Kind.CLOSE,
        Kind.DEALLOCATE,
        Kind.UNLISTEN,
        Kind.DDL,
        Kind.DO,
        Kind.CALL,
        Kind.MULTI,
        Kind.UNKNOWN,
    }
)
_TELL_ONLY = frozenset(
    {"clock_timestamp", "current_database", "current_schema", "current_schemas", "now", "pg_backend_pid"}
    | {"statement_timestamp", "timeofday", "transaction_timestamp", "version"}
)
"""Functions whose result changes and which change nothing."""
_ROWS = frozenset({Kind.SELECT, Kind.INSERT, Kind.UPDATE, Kind.DELETE, Kind.MERGE})
_LOCAL = frozenset({Kind.SET, Kind.SHOW, Kind.RESET})
_CURRENT_SETTING = "current_setting"
_UNLOCK = frozenset({"pg_advisory_unlock", "pg_advisory_unlock_shared"})
"""Whether that was the last lock, the server knows."""
_FUNCTION = frozenset({"function"})
"""What calls functions of the users' own may change the session in ways that only the server knows."""


def conclude(statement: Statement) -> Statement:
    """Fill in what is derived: `pure`, `calls_unknown`, `shareable`, `has_effects`, `rows_only`; `local` if certain."""
    for part in statement.parts or (statement,):
        if any(_may_change_session(name) for name in part.functions):
            part.makes |= _FUNCTION
    functions = statement.functions
    statement.pure = statement.stable and all(BUILTIN.is_immutable(name) for name in functions)
    statement.calls_unknown = not all(BUILTIN.is_builtin(name) for name in functions)
    statement.shareable = statement.reads and statement.kind is Kind.SELECT and statement.pure
    statement.only_reads = statement.reads and all(_only_tells(name) for name in functions)
    statement.has_effects = statement.kind in _EFFECTS or bool(statement.settings or statement.makes or statement.drops)
    if statement.kind not in _LOCAL and not shows_a_setting(statement):
        statement._local = False
        statement.rows_only = statement.kind in _ROWS and not statement.has_effects
    return statement


def shows_a_setting(statement: Statement) -> bool:
    """Whether it calls current_setting(), which PgBeam may have to answer itself, depending on the argument."""
    return any(name == _CURRENT_SETTING for _, name in statement.functions)


def _only_tells(name: Name) -> bool:
    return BUILTIN.is_immutable(name) or (name[0] in (None, "pg_catalog") and name[1] in _TELL_ONLY)


def _may_change_session(name: Name) -> bool:
    return name[1] in _UNLOCK or not BUILTIN.is_builtin(name)
