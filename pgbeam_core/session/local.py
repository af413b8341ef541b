"""Statements about `pgbeam.*` that PgBeam answers itself: they never reach a server."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pgbeam_core.api.results import Answer
from pgbeam_core.api.statement import Kind, SettingAction, Statement
from pgbeam_core.session import explaining, outcome
from pgbeam_core.session.explaining import DESCRIPTION as EXPLAINED
from pgbeam_core.session.explaining import is_explained
from pgbeam_core.session.explaining import parameters as parameters_in
from pgbeam_core.session.session import Session
from pgbeam_core.session.variables import PREFIX, VariableError, Variables
from pgbeam_core.wire import backend

if TYPE_CHECKING:
    from pgbeam_core.session.conversation import Conversation
    from pgbeam_core.session.extended import Step

_CURRENT_SETTING = re.compile(
    rb"""\s*select\s+(?:pg_catalog\s*\.\s*)?current_setting\s*
    \(\s*'pgbeam\.(\w+)'\s*(?:,\s*(true|false)\s*)?\)\s*;?\s*\Z""",
    re.IGNORECASE | re.VERBOSE,
)
_TEXT_OID = 25
ABORTED = "current transaction is aborted, commands ignored until end of transaction block"
LOCAL_WARNING = backend.notice_response("WARNING", "25P01", "SET LOCAL can only be used in transaction blocks")


def is_local(statement: Statement) -> bool:
    """Whether the statement is PgBeam's to answer."""
    if statement._local is None:
        statement._local = _is_local(statement)
    return statement._local


def _is_local(statement: Statement) -> bool:
    if statement.kind in (Kind.SET, Kind.SHOW, Kind.RESET):
        return any(change.name.startswith(PREFIX) for change in statement.settings)
    return statement.kind is Kind.SELECT and _CURRENT_SETTING.match(statement.text) is not None


def parameters(statement: Statement) -> bytes:
    """The ParameterDescription of a local statement: what is explained may have some, taken for texts."""
    count = parameters_in(statement) if is_explained(statement) else 0
    return backend.ParameterDescription((_TEXT_OID,) * count).to_bytes()


def shows(statement: Statement) -> bool:
    """Whether a local statement answers with a row."""
    return statement.kind in (Kind.SHOW, Kind.SELECT) or is_explained(statement)


def describe(statement: Statement) -> bytes:
    """The RowDescription of a local statement that shows, NoData for one that does not."""
    if is_explained(statement):
        return EXPLAINED
    if statement.kind is Kind.SELECT:
        return backend.row_description([("current_setting", _TEXT_OID, -1)])
    if statement.kind is Kind.SHOW:
        return backend.row_description([(statement.settings[0].name, _TEXT_OID, -1)])
    return backend.NO_DATA


def perform(statement: Statement, variables: Variables, *, in_transaction: bool) -> Answer:
    """Do it. Raises VariableError 42704 for an unknown variable, 22023 for a bad value."""
    if statement.kind is Kind.SELECT:
        return _current_setting(statement, variables)
    change = statement.settings[0]
    name = change.name.removeprefix(PREFIX)
    if change.action is SettingAction.SHOW:
        return _row(statement, variables.get(name), "SHOW")
    if not change.literal:
        raise VariableError(f'parameter "{change.name}" takes a constant', sqlstate="22023")
    variables.set(name, change.value, local=change.local, in_transaction=in_transaction)
    return Answer(None, b"", backend.command_complete("RESET" if change.action is SettingAction.RESET else "SET"))


def execute(conversation: Conversation, step: Step) -> bytes:
    """Do what an Execute asks of PgBeam itself, and give its reply. Raises VariableError."""
    prepared, bind = step.prepared, b"" if step.portal is None else step.portal.bind
    assert prepared is not None
    if is_explained(prepared.statement):
        _need_no_rollback(conversation.session)
        answer = explaining.answer(conversation, prepared.statement, bind, prepared.key[1])
        return answer.rows + answer.complete
    return reply(conversation.session, prepared.statement, describe=False)


def reply(session: Session, statement: Statement, *, describe: bool = True) -> bytes:
    """Do a statement about pgbeam.* and give its reply. Raises VariableError."""
    in_transaction = session.in_transaction
    _need_no_rollback(session)
    answer = perform(statement, session.variables, in_transaction=in_transaction)
    description = (answer.description or b"") if describe else b""
    return warning(statement, in_transaction=in_transaction) + description + answer.rows + answer.complete


def simple_reply(conversation: Conversation, statement: Statement) -> bytes:
    """The reply by the simple protocol; an error as ErrorResponse."""
    try:
        if is_explained(statement):
            _need_no_rollback(conversation.session)
            return outcome.simple_reply(explaining.answer(conversation, statement, None, b""))
        return reply(conversation.session, statement)
    except VariableError as error:
        return backend.error_response("ERROR", error.sqlstate, error.message, None, error.hint)


def _need_no_rollback(session: Session) -> None:
    if session.status == b"E":
        raise VariableError(ABORTED, sqlstate="25P02")


def warning(statement: Statement, *, in_transaction: bool) -> bytes:
    """The notice that PostgreSQL gives for SET LOCAL outside a transaction; else nothing."""
    if statement.settings and statement.settings[0].local and not in_transaction:
        return LOCAL_WARNING
    return b""


def _current_setting(statement: Statement, variables: Variables) -> Answer:
    match = _CURRENT_SETTING.match(statement.text)
    assert match is not None
    name, missing_ok = match.groups()
    try:
        value: str | None = variables.get(name.decode().lower())
    except VariableError:
        if missing_ok is None or missing_ok.lower() != b"true":
            raise
        value = None
    return _row(statement, value, "SELECT 1")


def _row(statement: Statement, value: str | None, tag: str) -> Answer:
    row = backend.data_row([None if value is None else value.encode()])
    return Answer(describe(statement), row, backend.command_complete(tag))
