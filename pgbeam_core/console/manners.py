"""What drivers say to any server, before and around what somebody wants: it is answered, so that they work."""

from __future__ import annotations

import re
from collections.abc import Callable

from pgbeam_core.api.console import Table
from pgbeam_core.console.language import ConsoleCommand
from pgbeam_core.console.places import NAME
from pgbeam_core.console.process import program

SERVER_VERSION = "17.0"
"""What drivers go by: the console speaks the protocol of that PostgreSQL."""
PARAMETERS = {
    "server_version": f"{SERVER_VERSION} ({program()})",
    "client_encoding": "UTF8",
    "server_encoding": "UTF8",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "TimeZone": "GMT",
    "integer_datetimes": "on",
    "standard_conforming_strings": "on",
    "is_superuser": "on",
    "default_transaction_read_only": "off",
    "in_hot_standby": "off",
}
"""What a client of the console is told by ParameterStatus."""
_SHOWN = {
    **{name.lower(): value for name, value in PARAMETERS.items()},
    "default_transaction_isolation": "read committed",
    "transaction_isolation": "read committed",
    "transaction isolation level": "read committed",
    "extra_float_digits": "2",
    "search_path": "public",
    "time zone": PARAMETERS["TimeZone"],
}
_OF_DRIVERS = frozenset(
    {
        *_SHOWN,
        *(
            "application_name",
            "bytea_output",
            "client_min_messages",
            "search_path",
            "statement_timeout",
            "lock_timeout",
        ),
        *("idle_in_transaction_session_timeout", "row_security", "jit", "escape_string_warning", "names", "time"),
        *("transaction", "session", "default_transaction_deferrable"),
    }
)
_SCOPES = ("session", "local")
_CATALOGS = ("pg_", "information_schema.")
_PARAMETER = re.compile(r"\$[1-9][0-9]{0,3}", re.ASCII)


def _savepoint(command: ConsoleCommand) -> str:
    return "ROLLBACK" if command.verb == "rollback" else command.verb.upper()


def _all(command: ConsoleCommand) -> str:
    words = [word.key for word in command.arguments]
    suffix = " ALL" if words == ["all"] and command.verb in ("discard", "deallocate") else ""
    return {"close": "CLOSE CURSOR ALL"}.get(command.verb, command.verb.upper() + suffix)


ACCEPTED: dict[str, Callable[[ConsoleCommand], str]] = {
    "savepoint": _savepoint,
    "release": _savepoint,
    **dict.fromkeys(("discard", "reset", "deallocate", "close", "unlisten", "listen"), _all),
}
"""Commands that have nothing to do here → their tags."""


def assignment(command: ConsoleCommand) -> tuple[str, str | None]:
    """The key and the value of a SET; no value if it is none of `key = value`."""
    words = list(command.arguments)
    if len(words) > 1 and words[0].key in _SCOPES and words[1].key not in ("=", "to", "characteristics"):
        words = words[1:]
    if not words:
        return "", None
    key = words[0].text
    if len(words) >= 3 and words[1].key in ("=", "to"):
        return key, "".join(word.text for word in words[2:])
    return key, None


def is_of_drivers(key: str) -> bool:
    """Whether drivers set it without being asked: to PgBeam it says nothing."""
    return key.lower() in _OF_DRIVERS


def asks_catalog(command: ConsoleCommand | None) -> bool:
    """Whether it is a question about the system catalogs: there is nothing in them here."""
    if command is None or command.verb != "select":
        return False
    words = [word.key for word in command.arguments]
    behind = words[words.index("from") + 1 :] if "from" in words else []
    return any(word.startswith(_CATALOGS) for word in behind)


def parameters_in(command: ConsoleCommand | None) -> int:
    """How many parameters a command has: only questions about the catalogs may."""
    if command is None:
        return 0
    numbers = [int(word.text[1:]) for word in command.words if not word.quoted and _PARAMETER.fullmatch(word.text)]
    return max(numbers, default=0)


def shown(command: ConsoleCommand, user: str) -> Table | None:
    """What SHOW or SELECT of something that every server has gives; None if it is nothing of the kind."""
    if asks_catalog(command):
        return Table(("?column?",), [], ("text",))
    words = [word.key for word in command.arguments]
    name = " ".join(words)
    if command.verb == "show":
        value = _SHOWN.get(name)
        column = {"time zone": "TimeZone", "transaction isolation level": "transaction_isolation"}.get(name, name)
        return None if value is None else Table((column,), [(value,)])
    called = name.replace(" ", "").removeprefix("pg_catalog.")
    column = called.partition("(")[0]
    if called == "1":  # how connection pools look whether somebody is there
        return Table(("?column?",), [(1,)], ("int4",))
    answers = {
        "version()": f"PostgreSQL {SERVER_VERSION} ({program()})",
        "current_schema()": "public",
        "current_schema": "public",
        "current_database()": NAME,
        "current_user": user,
        "session_user": user,
        "user": user,
        "pg_is_in_recovery()": False,
        "pg_advisory_unlock_all()": "",
    }
    return Table((column,), [(answers[called],)]) if called in answers else None
