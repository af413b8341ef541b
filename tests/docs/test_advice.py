"""Each of PgBeam's own errors leads somewhere: it has a hint, and a section of docs/errors.md says what to do."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from pgbeam_core import errors
from pgbeam_core.advice import ADVICE, PAGE, advice_for, fits, hint_of
from pgbeam_core.wire import backend

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / PAGE).read_text("utf-8")

FOR_OPERATORS = {
    *("control", "workers", "cli", "web", "console", "settings", "embedded", "testing", "tui", "telemetry"),
    "plugins.py",
}
"""Folders and files whose errors no client of a project gets: they are answers to those who start and run PgBeam."""
NO_CLIENT_HEARS = {
    "no password is asked of operators here",
    "a user and a password are needed",
    "the password could not be checked…",
    "given up",  # the client has left
    "cannot listen on …",
    "unix_socket_group = …",
    "plugin … could not start: …",
    "the plugin otel needs OpenTelemetry: …",
    "… is no query hash of 16 hex digits",
    "enabled is true or false, ttl and swr are whole numbers of seconds",
    "there are … rules already",
    "there is no rule for …",
    "there is no project …",
    "the rule for … is for all projects",
    "sort is one of …",
    "… is a whole number from 0 to …",
    "the rules in … cannot be changed: …",
    "no settings of one plugin that is on are known as …",
    "… must be between 0 and … seconds",
    "the session has other settings now",
    "it says more than … bytes",
    "the answer is larger than … bytes",
    "authentication method … is not one that a stored password answers",
    "no server",
}
"""The same, elsewhere; and what is caught before anybody is told."""
AS_POSTGRESQL_SAYS = {
    ("57014", "canceling statement due to user request"),
    ("57P01", "terminating connection due to administrator command"),
    ("25P02", "current transaction is aborted, commands ignored until end of transaction block"),
    ("42P05", "prepared statement … already exists"),
    ("0A000", "cached plan must not change result type"),
    ("0A000", "client …"),
    ("0A000", "unsupported frontend protocol …"),
    ("28000", "SCRAM channel binding …"),
    ("28000", "no PostgreSQL user name specified in startup packet"),
    ("28000", "Peer authentication failed for user …"),
    ("28000", "certificate authentication failed for user …"),
    ("28000", "connection requires a valid client certificate"),
    ("28P01", "…"),
    ("42601", "…"),
    ("08P01", "…"),
}
"""See the section of that name."""
CALLS = {"Refusal": (0, 1), "error_response": (1, 2)}
"""Where these have SQLSTATE and message; errors have the message first."""


class Error(NamedTuple):
    """One that the code can raise: … stands for what is put in."""

    sqlstate: str
    message: str
    where: str


def sources() -> Iterator[Path]:
    for folder in ("pgbeam_core", "plugins"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if not set(path.relative_to(ROOT).parts) & FOR_OPERATORS:
                yield path


class Constants(dict[str, str]):
    """Texts by the names that modules give them."""

    def __init__(self) -> None:
        for path in sources():
            for node in ast.parse(path.read_text("utf-8")).body:
                if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                    text = written(node.value, {})
                    if text is not None:
                        self[node.targets[0].id] = text


def written(node: ast.expr | None, names: dict[str, str]) -> str | None:
    """The text that an expression stands for, as far as it is written out."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Attribute):
        return names.get(node.attr)
    return None


def errors_in(path: Path, constants: dict[str, str]) -> Iterator[Error]:
    """Those whose message is written out in that file."""
    for function in ast.walk(ast.parse(path.read_text("utf-8"))):
        if not isinstance(function, ast.FunctionDef | ast.Module):
            continue
        names = dict(constants)
        own = list(ast.walk(function)) if isinstance(function, ast.FunctionDef) else function.body
        for node in own:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                text = written(node.value, names)
                if text is not None:
                    names[node.targets[0].id] = text
        for statement in own:
            for node in ast.walk(statement):
                if isinstance(node, ast.Call) and (found := error_of(node, names)) is not None:
                    yield Error(*found, f"{path.relative_to(ROOT)}:{node.lineno}")


def error_of(call: ast.Call, names: dict[str, str]) -> tuple[str, str] | None:
    """SQLSTATE and message, if the call makes an error and they are written out."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if name in CALLS:
        at, message_at = CALLS[name]
        if len(call.args) <= message_at:
            return None
        sqlstate, message = written(call.args[at], names), written(call.args[message_at], names)
    else:
        kind = getattr(errors, name, None) or (errors.PgBeamError if name == "VariableError" else None)
        if not isinstance(kind, type) or not issubclass(kind, errors.PgBeamError) or not call.args:
            return None
        if kind in (errors.SettingsError, errors.Unanswered):
            return None  # the first stops the start; the second is for the log, its client is told nothing
        given = {each.arg: written(each.value, names) for each in call.keywords}
        sqlstate, message = given.get("sqlstate", kind.sqlstate), written(call.args[0], names)
    if sqlstate is None or message is None or not message.strip("…: "):
        return None
    return sqlstate, message


CONSTANTS = Constants()
ERRORS = sorted({error for path in sources() for error in errors_in(path, CONSTANTS)})


def test_there_are_many() -> None:
    """The walk finds what it is to find, in the core and in plugins."""
    found = {error.message for error in ERRORS}
    assert len(found) > 60
    assert {"query rate limit exceeded", "invalid message length", "timed out waiting for a server connection"} <= found


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: f"{error.sqlstate} {error.message}"[:60])
def test_each_error_has_a_hint_and_a_place_in_the_documentation(error: Error) -> None:
    """Whoever meets one is told what to do and where to read on: add it to pgbeam_core/advice.py and docs/errors.md."""
    if any(fits(pattern, error.message) for pattern in NO_CLIENT_HEARS):
        return
    if any(error.sqlstate == sqlstate and fits(pattern, error.message) for sqlstate, pattern in AS_POSTGRESQL_SAYS):
        return
    assert advice_for(error.sqlstate, error.message) is not None, error


def anchors() -> set[str]:
    titles = re.findall(r"^#+ (.*)$", TEXT, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("advice", ADVICE, ids=lambda advice: f"{advice.sqlstate} {advice.message}"[:60])
def test_each_advice_leads_to_a_section(advice: object) -> None:
    """The address in a hint is one that there is, and the hint is a sentence."""
    assert advice.section in anchors()  # type: ignore[attr-defined]
    assert re.fullmatch(r"[A-Z].*\.", advice.hint)  # type: ignore[attr-defined]


def test_no_advice_is_out_of_date() -> None:
    """Each is about an error that the code can raise, or that stands in the list."""
    listed = re.findall(r"^\| (\w{5}) \| `([^`]+)` \|", TEXT, re.MULTILINE)
    known = [(error.sqlstate, error.message) for error in ERRORS] + listed
    for advice in ADVICE:
        assert any(advice.sqlstate == sqlstate and fits(advice.message, message) for sqlstate, message in known), advice


def test_every_error_of_the_list_is_one_that_can_be_met() -> None:
    """The list in docs/errors.md has a hint for each of its rows, but for those that PostgreSQL would say."""
    for sqlstate, message in re.findall(r"^\| (\w{5}) \| `([^`]+)` \|", TEXT, re.MULTILINE):
        as_postgresql = any(sqlstate == state and fits(pattern, message) for state, pattern in AS_POSTGRESQL_SAYS)
        assert as_postgresql or advice_for(sqlstate, message) is not None, message


def test_the_client_gets_it() -> None:
    """The hint is in the message, behind one that the error has of its own; others' errors are left as they are."""
    fields = backend.error_fields(backend.error_response("ERROR", "53400", "query rate limit exceeded"))
    assert fields["H"].endswith(" See docs/errors.md#rates.")
    fields = backend.error_fields(backend.error_response("ERROR", "XX000", 'plugin "a" failed', None, "Say so."))
    assert fields["H"] == "Say so. See docs/errors.md#a-plugin-that-failed."
    assert hint_of("42P01", 'relation "t" does not exist', "As it was.") == "As it was."
    assert hint_of("53400", "too many rows", None) is None
