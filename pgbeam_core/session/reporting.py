"""Counts executions that have ended, tells the plugins, and gathers the notices that they add to the reply."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgbeam_core.api.pool import Lease
from pgbeam_core.api.query import Query
from pgbeam_core.api.results import Result
from pgbeam_core.session import counting, outcome

if TYPE_CHECKING:
    from pgbeam_core.session.conversation import Conversation
    from pgbeam_core.session.session import Session
    from pgbeam_core.session.turns import Turn


def report(conversation: Conversation, query: Query, result: Result) -> bytes:
    """An execution has ended, however it was answered. Gives the notices, as frames."""
    conversation.stats.executed(result)
    session, hooks = conversation.session, conversation.runtime.hooks
    _used(session, query, query, result)
    said = hooks.result.of_three(session, query, result)
    return outcome.notices(said, hooks) if said else b""


def report_server(conversation: Conversation, query: Query, result: Result, lease: Lease) -> bytes:
    """The same for one that a server has answered."""
    _note_server(query, lease)
    return report(conversation, query, result)


def report_batch(conversation: Conversation, queries: list[Query], results: list[Result], lease: Lease) -> bytes:
    """The same for some of one request, in their order: one result for each."""
    if len(queries) == 1:
        return report_server(conversation, queries[0], results[0], lease)
    for query in queries:
        _note_server(query, lease)
    counting.executions(conversation.stats, results)
    session, hooks = conversation.session, conversation.runtime.hooks
    _used(session, queries[0], queries[-1], results[-1])
    said = hooks.result_batch(session, queries, results)
    return b"" if said is None else b"".join([outcome.notices(some, hooks) for some in said])


def report_unexecuted(conversation: Conversation, turn: Turn, status: bytes, now: float) -> None:
    """What was read or planned, and may have run code of users. An error, wherever it was, has undone that."""
    error = None if turn.error is None else outcome.error_of(turn.error)
    committed = status == b"I" and error is None
    for query in turn.unexecuted:
        report(conversation, query, Result("server", "", 0, error, now - query.arrived, committed=committed))


def _note_server(query: Query, lease: Lease) -> None:
    query.facts["upstream"] = lease.server.address
    if lease.shared:
        query.facts["shared"] = "true"


def _used(session: Session, first: Query, last: Query, result: Result) -> None:
    """When the session was active, and since when it is in a transaction. `result`: of the last."""
    session.active_at = last.arrived + result.duration
    if session.status == b"I":
        session.transaction_at = 0.0
    elif session.transaction_at == 0.0:
        session.transaction_at = first.arrived
