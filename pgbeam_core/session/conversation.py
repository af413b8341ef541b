"""The way of a request from a client to a server and back.

A conversation does one request at a time: the transaction status that decides over the next one is known only when a
reply has ended. What the client sends meanwhile stays in its inbox, and the client is not read when that is full.
What the phases mean stands in `state`; `dispatch` asks the plugins, `leasing` finds the server, `sending` writes to
it.
"""

from __future__ import annotations

from typing import Any, Final

from twisted.internet.defer import Deferred

from pgbeam_core.api.pool import Lease, Server
from pgbeam_core.api.query import Query
from pgbeam_core.api.results import Answer, Refusal
from pgbeam_core.api.statement import READ_BYTES, Kind, Statement
from pgbeam_core.errors import ProtocolViolation
from pgbeam_core.session import counting, ending, forms, local, outcome, query_size
from pgbeam_core.session.boundaries import Boundaries
from pgbeam_core.session.completion import TurnCompletion
from pgbeam_core.session.copying import Copying
from pgbeam_core.session.dispatch import HookDispatch
from pgbeam_core.session.extended import ClientStatements, Plan
from pgbeam_core.session.fast_path import completion as fast_completion
from pgbeam_core.session.fast_path.recognition import FastPath
from pgbeam_core.session.large_messages import LARGE_BYTES
from pgbeam_core.session.leasing import Leasing
from pgbeam_core.session.outside import Outside
from pgbeam_core.session.pace import PART_BYTES, Pace
from pgbeam_core.session.reporting import report
from pgbeam_core.session.requests import EXTENDED, Inbox
from pgbeam_core.session.runtime import Client, Nobody, Runtime
from pgbeam_core.session.sending import Sender
from pgbeam_core.session.session import Session
from pgbeam_core.session.state import Phase, State
from pgbeam_core.session.tracker import SessionTracker
from pgbeam_core.session.transaction import Transaction
from pgbeam_core.session.turns import Owner, Turn
from pgbeam_core.wire import backend
from pgbeam_core.wire.large import HEAD_BYTES, is_text, size_of

_INBOX_HIGH = 256 * 1024
"""Bytes a client may send ahead before it is not read any more: about what two socket buffers would hold."""

_MOST_SAID = 1000
"""Executions whose notices are kept for the end of a reply; those of longer requests come in between."""

_IDLE: Final = Phase.IDLE  # a look at a member of an enum takes longer than most lines here
_QUERY, _FUNCTION_CALL, _SYNC, _FLUSH, _TERMINATE = b"QFSHX"
_COPY = frozenset(b"dcf")
_BEHIND_A_BATCH = frozenset(b"QFdcf")
"""What ends the part of a request that is held back, beside Sync and Flush."""
_BEGIN_AND_ONE = 2
"""Executions of a request that is BEGIN and one more statement, as JDBC sends it."""
_NEVER_SKIPPED = frozenset((_SYNC, _TERMINATE))
_MOST_TOLD = 1_000
"""Parameters that are remembered as told: one server reports no more."""


class Conversation:
    """One client that has logged in."""

    def __init__(self, session: Session, client: Client, runtime: Runtime) -> None:
        self.session = session
        self.client = client
        self.runtime = runtime
        self.state = State()
        self.client_statements = ClientStatements(lambda: self.leasing.may_have_prepared)
        self.tracker = SessionTracker(session, self.client_statements, runtime)
        self.sender = Sender(self)
        self.leasing = Leasing(self)
        self.transaction = Transaction(session)
        self.boundaries = Boundaries(self)
        self.outside = Outside(self)
        self.dispatch = HookDispatch(self)
        self.pending: Any = None
        """The Deferred that ASKING or WAITING waits for."""
        self.ended = True
        """The request that is being asked about ends with ReadyForQuery."""
        self.skipping = False
        """An error of PgBeam's own came before the end of a request: the rest of it is passed over, up to its Sync."""
        self.most_text = query_size.bound(runtime.settings.max_query_bytes)
        """Bytes that a text may have."""
        self.client_is_full = False
        self.server_is_full = False
        self.stats = runtime.stats(session)
        self.inbox = Inbox(runtime.settings.max_message_bytes)
        self._batch: list[bytes] = []
        self._batch_size = 0
        self.completion = TurnCompletion(self)
        self.copying = Copying(self)
        self._fast_path = FastPath(self)
        self.turn: Turn | None = None
        """What a server owes this client."""
        self.pace = Pace(self)
        self._reading = True
        self._has_large = False
        self._advancing = False

    @property
    def phase(self) -> Phase:
        return self.state.phase

    @property
    def prepare_once(self) -> bool:
        """Whether statements that are parsed again and again stay prepared on the server."""
        return self.runtime.settings.prepare_once

    @property
    def epoch(self) -> int:
        """The state of the tables, as far as PgBeam has seen them change."""
        return self.runtime.epoch

    @property
    def busy(self) -> bool:
        """In a transaction, or in the middle of a request."""
        return self.phase is not _IDLE or self.session.in_transaction

    @property
    def has_begun_to_ask(self) -> bool:
        """There are messages of the client's that nothing has been done about yet."""
        return bool(self._batch) or self.inbox.holds

    def take(self, lease: Lease) -> None:
        """The server of the login."""
        self.leasing.take(lease)

    def begin(self) -> None:
        """The client has been told that it is logged in; the server of the login goes where the pool mode says."""
        self.leasing.begin()
        self.session.active_at = self.runtime.now()
        if self.session.project.lazy_transactions == "reads" and not self.session.keeps_server:
            self.runtime.catalog(self.session)  # it will be needed for the first read

    # From the client.

    def received(self, data: bytes) -> None:
        """The client sent bytes. Raises ProtocolViolation."""
        self.stats.received_bytes += len(data)
        phase = self.phase
        if (  # nothing is under way, nothing came before: it may be all of a request
            phase is _IDLE
            and not (self._batch or self.skipping or self.client_is_full or self.inbox.holds)
            and self._reading
            and self.session.status != b"E"
            and self._fast_path.take(data)
        ):
            return
        self.inbox.add(data)
        if phase is _IDLE or phase is Phase.OPEN or phase is Phase.COPYING:
            self.advance()
        self._mind_the_inbox()

    def _mind_the_inbox(self) -> None:
        """Stop reading a client that is too far ahead; a message that is still growing must be let in."""
        waiting = self.client_is_full or self.pace.waits or self.phase in (Phase.ASKING, Phase.WAITING, Phase.BUSY)
        size = len(self.inbox)
        reading = not self.server_is_full and not (waiting and size > _INBOX_HIGH)
        if size > LARGE_BYTES or self._has_large:
            reading = self._may_read_large(size) and reading
        if reading is not self._reading and self.phase is not Phase.GONE:
            self._reading = reading
            (self.client.resume if reading else self.client.pause)()

    def _may_read_large(self, size: int) -> bool:
        if self.phase is Phase.GONE:
            size = 0
        self._has_large = size > LARGE_BYTES
        return self.runtime.large_messages.may_read(self, size if self._has_large else 0)

    @property
    def listens(self) -> bool:
        """It reads what the client sends."""
        return self._reading

    def read_on(self) -> None:
        """There may be room for more of a large message."""
        self._mind_the_inbox()

    def advance(self) -> None:
        """Take messages for as long as nothing is owed, and others need not wait too long."""
        pace = self.pace
        if self._advancing or pace.waits:
            return  # what was waited for had come before the wait began: the loop that asked goes on
        self._advancing = True
        pace.begin()
        try:
            while not self.client_is_full:
                if not self.inbox.holds:
                    self._mind_the_batch()
                    return
                if pace.over(acted=not self._batch):
                    return
                if self.phase is Phase.COPYING:
                    if not self.copying.pass_on():
                        return
                    continue
                if self.phase is not _IDLE and (self.phase is not Phase.OPEN or self._too_far_ahead()):
                    return
                if self._take_run():
                    continue
                frame = self.inbox.take()
                if frame is None:
                    self._mind_the_batch()
                    return
                self._message(frame)
        finally:
            self._advancing = False

    def _take_run(self) -> bool:
        """Put by what comes before a Sync or Flush. True if there was enough of it to be acted on."""
        if self.skipping or (self.turn is not None and self.turn.spoilt):
            return False
        batch, pace = self._batch, self.pace
        before = len(batch)
        self._batch_size += self.inbox.take_run(batch, pace.part - before)
        pace.taken += len(batch) - before
        if len(batch) < pace.part and self._batch_size <= PART_BYTES:
            return False
        self._flush_batch()
        return True

    def _too_far_ahead(self) -> bool:
        return self.turn is not None and self.pace.too_far(self.turn)

    def _mind_the_batch(self) -> None:
        """What is held back is not held back for long; a message that is still growing is waited for."""
        if self._batch and not self.inbox.holds:
            self.runtime.unfinished.begin(self._go_ahead)

    def _go_ahead(self) -> None:
        """The client has paused in the middle of a request: PostgreSQL would have begun with what is there."""
        if self._batch and (self.phase is _IDLE or self.phase is Phase.OPEN):
            self._flush_batch()

    def _message(self, frame: bytes) -> None:
        tag = frame[0]
        if (self.skipping or (self.turn is not None and self.turn.spoilt)) and tag not in _NEVER_SKIPPED:
            return
        if self._batch and tag in _BEHIND_A_BATCH:
            self.inbox.put_back(frame)  # what stands before it may have to wait for a plugin or a server
            self._flush_batch()
        elif self.skipping and tag == _SYNC:
            self.skipping = False
            self.client.write(self.ready())
        elif tag == _QUERY:
            self._simple(frame)
        elif tag == _FLUSH and self.phase is _IDLE and self.inbox.flushes_in_vain(self._batch):
            return
        elif tag in EXTENDED or tag == _SYNC or tag == _FLUSH:
            self._batch.append(frame)
            self._batch_size += len(frame) if len(frame) < HEAD_BYTES else size_of(frame)
            if tag == _SYNC or tag == _FLUSH or len(self._batch) >= self.pace.part or self._batch_size > PART_BYTES:
                self._flush_batch()
        elif tag == _FUNCTION_CALL:
            self._ask(frame, self.runtime.function_call, answerable=False)
        elif tag == _TERMINATE:
            self.client.hang_up("client terminated the session")
        elif tag in _COPY:
            self.copying.comes_early(frame)
        else:
            raise ProtocolViolation(f"invalid frontend message type {tag}")

    # The simple protocol.

    def _simple(self, frame: bytes) -> None:
        end = len(frame) - 1
        if not (frame.find(0, 5) == end if end < HEAD_BYTES else is_text(frame)):  # for the server to judge
            self.leasing.lease_for([], lambda: self.sender.raw(frame, []))
            return
        if end > self.most_text and size_of(frame) - 6 > self.most_text:
            self.ended = True
            self._refuse_long(size_of(frame) - 6)
            return
        # Of a text that is too long to be read, so much that everybody sees it is.
        statement = self._fast_path.statement(frame[5 : min(end, 6 + READ_BYTES)])
        self.client_statements.statements.pop(b"", None)
        if local.is_local(statement):
            self.session.active_at = self.runtime.now()
            self._simple_local(statement)
            return
        if self.phase is _IDLE and self.boundaries.answers(statement):
            self.ended = True
            self.boundaries.answer(statement, outcome.whole, simple=True)
            return
        self._ask(frame, statement, answerable=self.phase is _IDLE)

    def _refuse_long(self, size: int) -> None:
        self.stats.errors += 1
        self.dispatch.refuse([], "pgbeam", query_size.refusal(size, self.most_text))

    def _ask(self, frame: bytes, statement: Statement, *, answerable: bool) -> None:
        self.ended = True
        query = self.query(statement, simple=True, answerable=answerable)
        self.dispatch.ask(query, lambda: self.sender.simple(frame, query), outcome.whole)

    def _simple_local(self, statement: Statement) -> None:
        self.client.write(local.simple_reply(self, statement) + self.ready())

    # The extended protocol.

    def _flush_batch(self) -> None:
        """Act on the messages of the extended protocol that were held back."""
        frames, size, self._batch, self._batch_size = self._batch, self._batch_size, [], 0
        if not frames:
            return
        if size > self.most_text and (longest := query_size.longest_text(frames)) > self.most_text:
            self.ended = frames[-1][0] == _SYNC
            self._refuse_long(longest)
            return
        self._request(frames)

    def _request(self, frames: list[bytes]) -> None:
        """Act on a request, or a part of one."""
        earlier = self.sender.plan if self.phase is Phase.OPEN else None
        plan = Plan(earlier).read(frames, self.client_statements, self._fast_path.statement)
        counting.messages(self.stats, frames)
        ended = self.ended = frames[-1][0] == _SYNC
        if self.phase is Phase.OPEN:
            queries = self._queries(plan)
            self.dispatch.ask_all(queries, lambda: self.sender.more(plan, queries))
            return
        if not plan.needs_server and not self.session.begun:
            self._without_server(plan, ended=ended)
            return
        if self._is_answered(plan, frames):
            return
        queries = self._queries(plan)
        if len(queries) == 1 and ended:

            def reply(answer: Answer) -> bytes:
                self._remember(plan)
                return forms.reply_around(plan, answer)

            self.dispatch.ask(queries[0], lambda: self.sender.extended(plan, queries), reply)
        else:
            self.dispatch.ask_all(queries, lambda: self.sender.extended(plan, queries))

    def _without_server(self, plan: Plan, *, ended: bool) -> None:
        """A request that is all about pgbeam.*, or a Sync alone."""
        said, failed = self.sender.alone(plan)
        if failed and (not ended or self.session.in_transaction):
            # Direct, everything up to Sync would be skipped; a server keeps that account.
            self.leasing.lease_for([], lambda: self.sender.extended(plan, []))
            return
        if ended:
            self.client_statements.portals.clear()
            said += self.ready()
            self.session.active_at = self.runtime.now()
        self.client.write(said)

    def _is_answered(self, plan: Plan, frames: list[bytes]) -> bool:
        """Whether it is, or starts with, a BEGIN, COMMIT or the like that PgBeam answers; then it does."""
        found = forms.leading_boundary(plan)
        if found is None or plan.steps[-1].tag != _SYNC or not self.boundaries.answers(found[0]):
            return False
        statement, behind = found
        head, rest = Plan().read(frames[:behind], self.client_statements, self._fast_path.statement), frames[behind:]

        def reply(answer: Answer) -> bytes:
            self._remember(head)
            return forms.reply_around(head, answer)

        if len(rest) == 1:
            self.boundaries.answer(statement, reply, simple=False)
            return True
        if statement.kind is not Kind.BEGIN or len(plan.executions) != _BEGIN_AND_ONE:
            return False
        self.boundaries.answer(statement, reply, simple=False, then=lambda: self._request(rest))
        return True

    def _remember(self, plan: Plan) -> None:
        self.client_statements.statements.update({name: made for name, made in plan.new_statements.items() if made})

    def _queries(self, plan: Plan) -> list[Query]:
        alone = forms.is_answerable(plan) and (self.phase is _IDLE or self.sender.is_outside)
        session = self.session
        now = session.active_at = self.runtime.now()
        several = len(plan.executions) > 1 or not self.ended or self.phase is Phase.OPEN
        in_transaction = several or session.in_transaction
        queries = []
        for step in plan.executions:
            prepared = step.prepared
            assert prepared is not None
            bind = plan.binding_of(step)
            # A portal with a name stays to the end of its transaction, which has to be a real one.
            if alone and bind is not None and not (forms.leaves_portal(plan, step) and self.transaction.kept_back):
                query = self.query(prepared.statement, simple=False, answerable=True)
            else:
                query = Query(session, prepared.statement, False, in_transaction, False, now)
            query.bound(bind, prepared.key[1], described=plan.needs_description, max_rows=max(step.max_rows, 0))
            queries.append(query)
        return queries

    def query(self, statement: Statement, *, simple: bool, answerable: bool) -> Query:
        """One execution, as it is to be asked about."""
        session = self.session
        in_transaction = session.status != b"I"
        now = session.active_at = self.runtime.now()
        query = Query(session, statement, simple, in_transaction, answerable and not in_transaction, now)
        if in_transaction and answerable and self.transaction.may_read(statement):
            self.outside.consider(query)
        return query

    def tell_of_ends(self) -> None:
        """Tell the plugins of the transactions that have ended: before the client is told, who may tell others."""
        over = self.tracker.over
        if over:
            self.session.transaction_at = 0.0  # one that is chained to it begins now
            for committed in over:
                self.runtime.hooks.transaction_over(self.session, committed)
            over.clear()

    # Waiting, and going on.

    def resumed(self) -> bool:
        """What was waited for has come. False if the client has left meanwhile."""
        self.pending = None
        if self.phase is Phase.GONE:
            return False
        self.state.enter(_IDLE if self.turn is None else Phase.OPEN)
        return True

    def resume_input(self) -> None:
        """Go on with what the client has sent meanwhile; called when a wait is over, from outside `advance`."""
        if self._reading and not self.inbox.holds and self.phase is _IDLE:
            return
        try:
            self.advance()
        except ProtocolViolation as error:
            farewell = backend.error_response("FATAL", error.sqlstate, error.message, None, error.hint)
            self.client.hang_up(error.message, farewell)
            return
        self._mind_the_inbox()

    def ready(self) -> bytes:
        """ReadyForQuery with the transaction status that the client knows."""
        return backend.READY[self.session.status]

    # From the server. The conversation owns its turns.

    def sent(self, turn: Turn) -> None:
        """A request has gone out."""
        self.turn = turn
        self.completion.cancelled = False
        self.state.enter(Phase.BUSY if turn.ended else Phase.OPEN)

    def deliver(self, data: bytes) -> None:
        self.client.write(data)

    def copy_in(self, turn: Turn) -> None:
        """The server wants CopyData: what the client sends goes straight on."""
        self.copying.begin()

    def paid(self, turn: Turn) -> None:
        """Some of the reply to a request that goes out in parts has come."""
        self.completion.report_finished(turn)
        if len(turn.said) > _MOST_SAID:
            said, turn.said = turn.said, []
            self.client.write(b"".join(said))
        if self.phase is not Phase.GONE:
            self.pace.paid(turn)

    def skips(self, turn: Turn) -> None:
        """An error before the end of the request: the client goes on to its Sync, and the server skips."""
        self.drop_batch()
        if turn.simple:  # it was not the client's part of the request that failed
            self.sender.end(turn)
        elif self.phase in (Phase.BUSY, Phase.COPYING):
            self.state.enter(Phase.OPEN)
            self.resume_input()

    def turn_over(self, turn: Turn, ready: bytes) -> None:
        self.completion.turn_over(turn, ready)

    def whole(self, turn: Turn, reply: bytes) -> None:
        """A plain statement went well: the reply, all of it."""
        fast_completion.complete(self, turn, reply)

    def turn_lost(self, turn: Turn, reason: str) -> None:
        """The server went away with the rest of the reply."""
        self.completion.turn_lost(turn, reason)

    def outgrew_limit(self, turn: Turn) -> None:
        """The reply to its shared turn is a large one."""
        if self.client_is_full and self.session.lease is not None:
            self.session.lease.server.pause()

    def reassign(self, turn: Turn) -> Owner | None:
        """Its shared turn is not to wait any longer for those before it."""
        return self.completion.reassign()

    def retry_on_cancel(self, turn: Turn, error: bytes) -> bool:
        """Whether a shared turn's error is not this client's."""
        return self.completion.retry.takes_back(turn, error, cancelled=self.completion.cancelled)

    def server_gone(self, server: Server, reason: str) -> None:
        """A server that this session holds is gone."""
        self.completion.server_gone(server, reason)

    # Backpressure, cancelling, and the end.

    def server_full(self) -> None:
        """The server does not read as fast as it is written to."""
        self.server_is_full = True
        self._mind_the_inbox()

    def server_drained(self) -> None:
        self.server_is_full = False
        self._mind_the_inbox()

    def parameter_status(self, message: backend.ParameterStatus) -> bytes | None:
        """A parameter changed on the leased server. Gives what the client is told of that."""
        name = self.session.application_name
        turn = self.turn
        if message.name == "application_name" and name and not message.value and turn is not None and turn.resets_name:
            # The server knows no other startup value than its own; the client's is put back behind its back.
            message = backend.ParameterStatus("application_name", name)
        told = self.session.parameter_status
        if told.get(message.name) == message.value:
            return None
        if len(told) < _MOST_TOLD or message.name in told:
            told[message.name] = message.value
        self.session.told()
        return message.to_bytes()

    def unasked(self, frame: bytes) -> None:
        """A server of this session sent something outside the client's turns: a notification, its goodbye …"""
        if self.turn is not None and self.turn.began:
            # It is another one than that which answers, whose last word may have been half a row.
            if frame[:1] != b"E":
                self.completion.unsaid.append(frame)
            return
        if frame[:1] == b"E":
            self.completion.parted = True
        self.client.write(frame)

    def cancel(self) -> Deferred[None] | None:
        """The client asks that what it waits for be cancelled: see `ending.cancel`."""
        return ending.cancel(self)

    def client_full(self) -> None:
        """The client does not read as fast as it is written to."""
        self.client_is_full = True
        lease = self.session.lease
        if lease is not None and self._has_alone(lease):
            lease.server.pause()

    def client_drained(self) -> None:
        self.client_is_full = False
        lease = self.session.lease
        if lease is not None and self._has_alone(lease):
            lease.server.resume()
        if self.phase is not Phase.GONE:
            self.resume_input()

    def _has_alone(self, lease: Lease) -> bool:
        """Whether nobody but this client waits for what the server says now. Small shared replies are buffered."""
        return not lease.shared or (lease.server.held and self.turn is not None and lease.server.is_at_head(self.turn))

    def gone(self, reason: str) -> None:
        """The client has left, whatever was going on."""
        if self.phase is Phase.GONE:
            return
        idle = self.phase is _IDLE
        self.state.enter(Phase.GONE)
        self.pace.stop()
        self.drop_batch()
        self.inbox = Inbox()
        self.runtime.unfinished.met(self._go_ahead)
        pending, self.pending = self.pending, None
        if pending is not None:
            pending.addErrback(lambda _: None)
            pending.cancel()
        if self.turn is not None:
            left, now = Refusal("08006", f"client left in the middle: {reason}"), self.runtime.now()
            for query in self.turn.queries:
                report(self, query, outcome.refused(query, "server", left, now))
        self.tracker.lost([] if self.turn is None else self.turn.queries)
        self.leasing.leave(reason, idle=idle)
        self.inbox.clear()
        if self._has_large:
            self._may_read_large(0)
        self.drop_batch()
        if self.session.lease is None:
            self.forget()

    def forget(self) -> None:
        """Nothing is under way for a client that has left: what it sent is let go, without waiting for a collector."""
        self.turn = None
        self.client = Nobody()
        self.sender.forget()
        self.completion.forget()
        self.client_statements.clear()
        self._fast_path.forget()

    def drop_batch(self) -> None:
        """What was held back of a pipeline will not be sent."""
        self._batch.clear()
        self._batch_size = 0
