"""What requests do with the unnamed portal, as long as their transaction is kept back.

A read that runs as if outside of it leaves no portal behind. No driver goes on with it after a Sync; who does is told
by the server that there is none.
"""

from __future__ import annotations

from collections.abc import Sequence

from pgbeam_core.api.query import Query
from pgbeam_core.api.statement import Kind
from pgbeam_core.session.extended import BIND, DESCRIBE, EXECUTE, PORTAL, Plan

_NO_QUERY = (Kind.EMPTY, Kind.UNKNOWN)
"""A FunctionCall is of unknown kind."""


def takes_unnamed(plan: Plan | None, queries: Sequence[Query]) -> bool:
    """Whether a request replaces what is in the unnamed portal before it uses it. plan: None for a Query."""
    if plan is None:
        return bool(queries) and queries[0].statement.kind not in _NO_QUERY
    for step in plan.steps:
        if step.tag == BIND and not step.portal_name:
            return True
        if not step.name and (step.tag == EXECUTE or (step.tag == DESCRIBE and step.kind == PORTAL)):
            return False
    return False
