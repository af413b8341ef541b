"""What form a request of the extended protocol has: what may stand for its reply, and what its transaction needs."""

from __future__ import annotations

from pgbeam_core.api.query import Query
from pgbeam_core.api.results import Answer
from pgbeam_core.api.statement import Statement
from pgbeam_core.session.client_statements import Portal
from pgbeam_core.session.extended import (
    BIND,
    CLOSE,
    DESCRIBE,
    EXECUTE,
    FLUSH,
    PARSE,
    PORTAL,
    STATEMENT,
    SYNC,
    Plan,
    Step,
)
from pgbeam_core.session.prepared import NO_TYPES, Prepared
from pgbeam_core.session.steps import NO_PARAMETERS
from pgbeam_core.wire import backend
from pgbeam_core.wire.names import binds_nothing

_PASSED = frozenset((FLUSH, SYNC))
_ALL_AS_TEXT = bytes(8)
"""How a Bind ends that has no values and asks for text: the end of a name, and three times none."""
_FIXED = {PARSE: backend.PARSE_COMPLETE, BIND: backend.BIND_COMPLETE, CLOSE: backend.CLOSE_COMPLETE}


def leaves_portal(plan: Plan, execution: Step) -> bool:
    """Whether there is a portal with a name behind the request, that of an execution."""
    return bool(execution.name) and plan.new_portals.get(execution.name) is not None


def is_answerable(plan: Plan) -> bool:
    """Whether an Answer can stand for the whole reply: one execution, in one go, nothing unusual."""
    if len(plan.executions) != 1 or plan.steps[-1].tag != SYNC:
        return False
    portal = plan.executions[0].portal
    if sum(step.tag == EXECUTE for step in plan.steps) != 1:
        return False  # it is read in parts
    return all(not (step.local or step.name_taken or step.malformed) and _plain(step, portal) for step in plan.steps)


def only_prepares(plan: Plan) -> bool:
    """Whether it makes, describes or closes statements, and nothing else."""
    return not plan.executions and all(
        step.tag in (PARSE, FLUSH, SYNC) or (step.tag in (DESCRIBE, CLOSE) and step.kind == STATEMENT)
        for step in plan.steps
    )


def may_end_at_flush(plan: Plan) -> bool:
    """Whether a Flush leaves nothing pending of it: no portal, nor a statement that another request could not have."""
    return (
        plan.steps[-1].tag == FLUSH
        and only_prepares(plan)
        and all(step.prepared is None or step.prepared.statement.speaks_of is None for step in plan.steps)
    )


def runs_outside(plan: Plan, queries: list[Query]) -> bool:
    """Whether it, or a part of it, may run outside of a transaction that is kept back at READ COMMITTED."""
    return queries[0].lazily if len(queries) == 1 else only_prepares(plan)


def leading_boundary(plan: Plan) -> tuple[Statement, int] | None:
    """The BEGIN, COMMIT or the like that the request starts with, and where the rest of it begins; None if it
    does not start with one, or with something unusual about it."""
    if not plan.executions:
        return None
    first = plan.executions[0]
    assert first.prepared is not None
    if first.prepared.statement.boundary is None or first.name:
        return None  # a portal with a name stays to the end of its transaction, which has to be a real one
    if first.portal is None or not has_no_parameters(first.prepared, first.portal.bind):
        return None
    for place, step in enumerate(plan.steps):
        if step is first:
            return first.prepared.statement, place + 1
        by_name = step.tag == PARSE or (step.tag == DESCRIBE and step.kind == STATEMENT)
        about = step.prepared is first.prepared if by_name else step.portal is first.portal
        if step.tag not in (PARSE, BIND, DESCRIBE) or step.name_taken or step.malformed or not about:
            return None
    return None


def has_no_parameters(prepared: Prepared, bind: bytes) -> bool:
    """Whether a statement was declared to have none, and is bound to none."""
    return prepared.key[1] == NO_TYPES and binds_nothing(bind)


def learns_columns(plan: Plan) -> bool:
    """Whether it is one execution of which the client is about to learn the columns."""
    asked = any(step.tag == PARSE or (step.tag == DESCRIBE and step.kind == PORTAL) for step in plan.steps)
    return asked and len(plan.executions) == 1


def reply_around(plan: Plan, answer: Answer) -> bytes:
    """The whole reply but for ReadyForQuery, around a kept answer."""
    parts = []
    for step in plan.steps:
        if step.tag == EXECUTE:
            parts += [answer.rows, answer.complete]
        elif step.tag == DESCRIBE:
            if step.kind == STATEMENT:
                parts.append(NO_PARAMETERS)
            parts.append(answer.description or backend.NO_DATA)
        elif step.tag in _FIXED:
            parts.append(_FIXED[step.tag])
    return b"".join(parts)


def _plain(step: Step, portal: Portal | None) -> bool:
    """Whether a step is one that an answer's reply has a place for."""
    if step.tag in _PASSED:
        return True
    if step.tag == PARSE:
        return portal is not None and step.prepared is portal.prepared
    if step.tag == DESCRIBE and step.kind == STATEMENT:
        return portal is not None and step.prepared is portal.prepared and _is_described_alike(portal)
    if step.tag == CLOSE and step.kind == STATEMENT:
        return False
    return step.tag in (BIND, DESCRIBE, EXECUTE, CLOSE) and step.portal is portal


def _is_described_alike(portal: Portal) -> bool:
    """Whether a Describe of its statement gives what one of itself gives, and no parameters: postgres.js asks so."""
    text, types = portal.prepared.key
    return types == NO_TYPES and b"$" not in text and portal.bind.endswith(_ALL_AS_TEXT)
