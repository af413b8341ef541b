"""What a request is about: the executions in it, which plugins are asked about, and what PgBeam answers itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pgbeam_core.api.query import Query
from pgbeam_core.api.results import Answer
from pgbeam_core.api.statement import READ_BYTES, Kind, Statement
from pgbeam_core.session import counting, forms, local, outcome, query_size
from pgbeam_core.session.extended import Plan
from pgbeam_core.session.prepared import Prepared
from pgbeam_core.session.state import Phase
from pgbeam_core.wire.large import HEAD_BYTES, is_text, size_of

if TYPE_CHECKING:
    from pgbeam_core.session.conversation import Conversation

_IDLE: Final = Phase.IDLE
_BIND, _SYNC = b"BS"
_BEGIN_AND_ONE = 2
"""Executions of a request that is BEGIN and one more statement, as JDBC sends it."""


class RequestHandler:
    """Acts on the requests of one conversation, and on the parts of long ones."""

    __slots__ = ("_conversation",)

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation

    # The simple protocol.

    def handle_query(self, frame: bytes) -> None:
        """Act on a Query message."""
        conversation = self._conversation
        end = len(frame) - 1
        conversation.ended = True
        if not (frame.find(0, 5) == end if end < HEAD_BYTES else is_text(frame)):  # for the server to judge
            conversation.finder.find_server([], lambda: conversation.sender.send_raw(frame, []))
            return
        if end > conversation.input.most_text and size_of(frame) - 6 > conversation.input.most_text:
            self.refuse_long(size_of(frame) - 6, ended=True)
            return
        # Of a text that is too long to be read, so much that everybody sees it is.
        statement = conversation.fast_path.statement(frame[5 : min(end, 6 + READ_BYTES)])
        conversation.client_statements.statements.pop(b"", None)
        if local.is_local(statement):
            conversation.session.active_at = conversation.runtime.now()
            conversation.client.write(local.simple_reply(conversation, statement) + conversation.ready_for_query())
            return
        if conversation.phase is _IDLE and conversation.boundaries.answers(statement):
            conversation.boundaries.answer(statement, outcome.simple_reply, simple=True)
            return
        self._ask(frame, statement, answerable=conversation.phase is _IDLE)

    def function_call(self, frame: bytes) -> None:
        """Act on a FunctionCall message."""
        self._ask(frame, self._conversation.runtime.function_call, answerable=False)

    def refuse_long(self, size: int, *, ended: bool) -> None:
        """A text of so many bytes is too long; `ended`: its request is over with it."""
        conversation = self._conversation
        conversation.ended = ended
        conversation.stats.errors += 1
        conversation.dispatch.refuse([], "pgbeam", query_size.refusal(size, conversation.input.most_text))

    def _ask(self, frame: bytes, statement: Statement, *, answerable: bool) -> None:
        conversation = self._conversation
        conversation.ended = True
        query = self.query(statement, simple=True, answerable=answerable)
        conversation.dispatch.ask(query, lambda: conversation.sender.send_query(frame, query), outcome.simple_reply)

    # The extended protocol.

    def handle_extended(self, frames: list[bytes]) -> None:
        """Act on messages up to a Sync or Flush, or on a part of these."""
        conversation = self._conversation
        sender, dispatch = conversation.extended_sender, conversation.dispatch
        is_open = conversation.phase is Phase.OPEN
        plan = Plan(sender.plan if is_open else None)
        plan.read(frames, conversation.client_statements, conversation.fast_path.statement)
        counting.messages(conversation.stats, frames)
        ended = conversation.ended = frames[-1][0] == _SYNC
        if is_open:
            queries = self._queries(plan)
            dispatch.ask_all(queries, lambda: sender.send_more(plan, queries), self._unexecuted(plan))
            return
        if not plan.needs_server and not conversation.session.begun:
            self._without_server(plan, ended=ended)
            return
        if self._is_answered(plan, frames):
            return
        if not ended and self._may_end_at_flush(plan):
            plan.end_at_flush()
        queries = self._queries(plan)
        unexecuted = self._unexecuted(plan)
        if len(queries) == 1 and ended and not unexecuted:

            def reply(answer: Answer) -> bytes:
                self._remember(plan)
                return forms.reply_around(plan, answer)

            dispatch.ask(queries[0], lambda: sender.send(plan, queries), reply)
        else:
            dispatch.ask_all(queries, lambda: sender.send(plan, queries), unexecuted)

    def _may_end_at_flush(self, plan: Plan) -> bool:
        """Whether what comes behind that Flush can be a request of its own, with an answer or a server of its own.

        asyncpg and postgres.js learn a statement's columns in this way before they execute it.
        """
        conversation = self._conversation
        status = conversation.session.status
        return (
            (status == b"I" or (status == b"T" and conversation.transaction.reads))
            and not conversation.input.inbox.holds  # else it does not wait for this reply
            and forms.may_end_at_flush(plan)
        )

    def _without_server(self, plan: Plan, *, ended: bool) -> None:
        """A request that is all about pgbeam.*, or a Sync alone."""
        conversation = self._conversation
        said, failed = conversation.extended_sender.answer_alone(plan)
        if failed and (not ended or conversation.session.in_transaction):
            # Direct, everything up to Sync would be skipped; a server keeps that account.
            conversation.finder.find_server([], lambda: conversation.extended_sender.send(plan, []))
            return
        if ended:
            conversation.client_statements.portals.clear()
            said += conversation.ready_for_query()
            conversation.session.active_at = conversation.runtime.now()
        conversation.client.write(said)

    def _is_answered(self, plan: Plan, frames: list[bytes]) -> bool:
        """Whether it is, or starts with, a BEGIN, COMMIT or the like that PgBeam answers; then it does."""
        conversation = self._conversation
        boundaries = conversation.boundaries
        found = forms.leading_boundary(plan)
        if found is None or plan.steps[-1].tag != _SYNC or not boundaries.answers(found[0]):
            return False
        statement, behind = found
        rest, head = frames[behind:], Plan()
        head.read(frames[:behind], conversation.client_statements, conversation.fast_path.statement)

        def reply(answer: Answer) -> bytes:
            self._remember(head)
            return forms.reply_around(head, answer)

        if len(rest) == 1:
            boundaries.answer(statement, reply, simple=False)
            return True
        if statement.kind is not Kind.BEGIN or len(plan.executions) != _BEGIN_AND_ONE:
            return False
        boundaries.answer(statement, reply, simple=False, then=lambda: self.handle_extended(rest))
        return True

    def _remember(self, plan: Plan) -> None:
        statements = self._conversation.client_statements.statements
        statements.update({name: made for name, made in plan.new_statements.items() if made})

    def _queries(self, plan: Plan) -> list[Query]:
        conversation, session = self._conversation, self._conversation.session
        phase = conversation.phase
        alone = forms.is_answerable(plan) and (phase is _IDLE or conversation.extended_sender.is_outside)
        now = session.active_at = conversation.runtime.now()
        several = len(plan.executions) > 1 or not conversation.ended or phase is Phase.OPEN
        in_transaction = several or session.in_transaction
        queries = []
        for step in plan.executions:
            prepared = step.prepared
            assert prepared is not None
            bind = plan.binding_of(step)
            # A portal with a name stays to the end of its transaction, which has to be a real one.
            holds = forms.leaves_portal(plan, step) and conversation.transaction.kept_back
            if alone and bind is not None and not holds:
                query = self.query(prepared.statement, simple=False, answerable=True)
            else:
                query = Query(session, prepared.statement, False, in_transaction, False, now)
            query.bound(bind, prepared.key[1], described=plan.needs_description, max_rows=max(step.max_rows, 0))
            queries.append(query)
        return queries

    def _unexecuted(self, plan: Plan) -> list[Query]:
        """Fill in the plan's. To plugins they are executions: what code of users does is done."""
        conversation = self._conversation
        session, view, now = conversation.session, conversation.tracker.catalog_view, conversation.runtime.now()
        on_reading = view.checks_types(now)
        last: Prepared | None = None
        for step in plan.steps:
            prepared = step.prepared
            if prepared is None or prepared is last or step.local or not (step.tag == _BIND or on_reading):
                continue
            last = prepared
            if any(execution.prepared is prepared for execution in plan.executions):
                continue
            if view.catalog is None:
                runs = prepared.statement.calls_unknown and step.tag == _BIND
            else:
                runs = view.may_leave(prepared.statement, now)
            if runs:
                query = Query(session, prepared.statement, False, session.in_transaction, False, now)
                plan.unexecuted.append(query)
        return plan.unexecuted

    def query(self, statement: Statement, *, simple: bool, answerable: bool) -> Query:
        """One execution, as it is to be asked about."""
        conversation, session = self._conversation, self._conversation.session
        in_transaction = session.status != b"I"
        now = session.active_at = conversation.runtime.now()
        query = Query(session, statement, simple, in_transaction, answerable and not in_transaction, now)
        if in_transaction and answerable and conversation.transaction.may_read(statement):
            conversation.outside.consider(query)
        return query
