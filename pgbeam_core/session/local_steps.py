"""Messages of the extended protocol about statements that PgBeam answers itself, among those that a server answers."""

from __future__ import annotations

from collections.abc import Callable

from pgbeam_core.session import extended, local
from pgbeam_core.session.client_statements import ClientStatements
from pgbeam_core.session.explaining import is_explained
from pgbeam_core.session.extended import Step
from pgbeam_core.session.prepared import NO_TYPES
from pgbeam_core.session.steps import Owed, say
from pgbeam_core.session.variables import VariableError
from pgbeam_core.wire import backend
from pgbeam_core.wire.names import value_count

Perform = Callable[[Step], bytes]
"""Does what an Execute asks for, and gives its reply. Raises VariableError."""


def answer(step: Step, client_statements: ClientStatements, perform: Perform, *, failed: bool) -> Owed:
    """What is said in place of the server's reply. Raises VariableError: then an error is.

    failed: the transaction is a failed one, in which PostgreSQL parses and binds nothing, nor describes what has rows.
    """
    if step.tag == extended.CLOSE:
        return say(backend.CLOSE_COMPLETE, client_statements.effect_of_close(step.name))
    prepared = step.prepared
    assert prepared is not None
    if failed and (
        step.tag in (extended.PARSE, extended.BIND)
        or (step.tag == extended.DESCRIBE and local.shows(prepared.statement))
    ):
        raise VariableError(local.ABORTED, sqlstate="25P02")
    if step.tag == extended.PARSE:
        if step.name_taken:
            name = step.name.decode("utf-8", "replace")
            raise VariableError(f'prepared statement "{name}" already exists', sqlstate="42P05")
        return say(backend.PARSE_COMPLETE, client_statements.effect_of_parse(prepared))
    if step.tag == extended.BIND:
        return _answer_bind(step, client_statements)
    if step.tag == extended.DESCRIBE:
        described = local.describe(prepared.statement)
        if step.kind == extended.STATEMENT:
            described = local.parameters(prepared.statement) + described
        return say(described)
    return say(perform(step))


def _answer_bind(step: Step, client_statements: ClientStatements) -> Owed:
    portals, portal, name = client_statements.portals, step.portal, step.portal_name
    assert portal is not None
    given = value_count(step.frame)
    if given and portal.prepared.key[1] == NO_TYPES and not is_explained(portal.prepared.statement):
        named = step.name.decode("utf-8", "replace")
        reason = f'bind message supplies {given} parameters, but prepared statement "{named}" requires 0'
        raise VariableError(reason, sqlstate="08P01")

    def bound(_ok: bool) -> None:
        portals[name] = portal

    return say(backend.BIND_COMPLETE, bound)
