"""Answers what begins, marks and ends a transaction, where no server has to be asked what comes of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pgbeam_core.api.query import Query
from pgbeam_core.api.results import Answer, Result
from pgbeam_core.api.statement import Kind, Statement
from pgbeam_core.session.reporting import report
from pgbeam_core.session.transaction import DEFAULT_ISOLATION
from pgbeam_core.wire import backend
from pgbeam_core.wire.frames import frame

if TYPE_CHECKING:
    from pgbeam_core.session.conversation import Conversation

_ENDS = (Kind.COMMIT, Kind.ROLLBACK)
_ROLLBACK = "ROLLBACK"
_QUERY = ord("Q")

_COMPLETED: dict[str, Answer] = {}

Reply = Callable[[Answer], bytes]


class Boundaries:
    """The BEGIN, COMMIT, ROLLBACK, SAVEPOINT, RELEASE and ROLLBACK TO of one conversation."""

    __slots__ = ("_conversation",)

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation

    def answers(self, statement: Statement) -> bool:
        """Whether PgBeam answers this one, as things stand."""
        if statement.boundary is None:
            return False
        conversation = self._conversation
        session, transaction = conversation.session, conversation.transaction
        if statement.kind is Kind.BEGIN:
            return session.status == b"I" and self._may_keep_back()
        if transaction.kept_back:
            return statement.kind in _ENDS or transaction.knows(statement)
        return statement.kind in _ENDS and transaction.may_end_unattended() and self._may_end_unattended()

    def _may_keep_back(self) -> bool:
        session = self._conversation.session
        project = session.project
        return (
            project.lazy_transactions != "off"
            and project.pool_mode == "transaction"
            and session.lease is None
            and not session.keeps_server
            and not session.pins
        )

    def _may_end_unattended(self) -> bool:
        conversation = self._conversation
        session = conversation.session
        return session.lease is not None and not session.pins and not conversation.leasing.must_ask

    def answer(
        self, statement: Statement, reply: Reply, *, simple: bool, then: Callable[[], None] | None = None
    ) -> None:
        """Answer it, unless a plugin refuses it. then: goes on with what its request holds behind it."""
        conversation = self._conversation
        query = conversation.requests.query(statement, simple=simple, answerable=False)
        query.needs_server = False
        conversation.dispatch.ask(query, lambda: self._done(query, reply, then), reply)

    def _done(self, query: Query, reply: Reply, then: Callable[[], None] | None) -> None:
        conversation, statement = self._conversation, query.statement
        if statement.kind is Kind.BEGIN:
            conversation.transaction.began_at = query.arrived
        if statement.kind is Kind.BEGIN or conversation.transaction.kept_back:
            query.facts["transaction"] = "lazy"
        tag = self._perform(statement)
        duration = conversation.runtime.now() - query.arrived
        result = Result("pgbeam", tag, duration=duration, committed=statement.kind in _ENDS)
        said = reply(_completed(tag)) + report(conversation, query, result)
        conversation.tell_of_ends()
        if then is None:
            conversation.client.write(said + conversation.ready_for_query())
            return
        conversation.client.write(said)
        then()

    def _perform(self, statement: Statement) -> str:
        """Do it, and give its tag."""
        conversation, kind, boundary = self._conversation, statement.kind, statement.boundary
        assert boundary is not None
        transaction = conversation.transaction
        if kind is Kind.BEGIN:
            level, reads = self._isolation(), conversation.session.project.lazy_transactions == "reads"
            transaction.keep_back(statement, boundary.isolation or level, reads=reads)
            return boundary.tag
        if kind not in _ENDS:
            transaction.mark(statement)
            return boundary.tag
        committed = kind is Kind.COMMIT and conversation.session.status == b"T"
        stats = conversation.stats
        stats.transactions += 1
        if transaction.kept_back:
            stats.transactions_lazy += 1
        else:
            stats.transaction_time += conversation.runtime.now() - transaction.since
            conversation.leasing.end_unattended(frame(_QUERY, statement.text + b"\0"))
        transaction.end_without_server(committed=committed)
        conversation.client_statements.portals.clear()
        conversation.tracker.ended_transactions.append(committed)
        return boundary.tag if committed else _ROLLBACK

    def _isolation(self) -> str | None:
        """The level of a transaction that names none; None if that is not known for certain."""
        session = self._conversation.session
        if session.settings.unknown:
            return None
        own = session.settings.now.get(DEFAULT_ISOLATION)
        return own.lower() if own is not None else self._conversation.runtime.default_isolation(session)


def _completed(tag: str) -> Answer:
    """The reply of that command tag; there are ten of them."""
    found = _COMPLETED.get(tag)
    if found is None:
        found = _COMPLETED[tag] = Answer(None, b"", backend.command_complete(tag))
    return found
