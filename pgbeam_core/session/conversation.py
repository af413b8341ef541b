"""The way of a request from a client to a server and back.

A conversation does one request at a time: the transaction status that decides over the next one is known only when a
reply has ended. What the client sends meanwhile stays in its `input`, and the client is not read when that is full.
What the phases mean stands in `state`; `request_handler` finds the executions in a request, `dispatch` asks the
plugins, `finding` finds the server, `sending` and `extended_sending` write to it, `completion` settles what has come of
it, and `leasing` gives the server back.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

from twisted.internet.defer import Deferred

from pgbeam_core.api.pool import Lease, Server
from pgbeam_core.api.results import Refusal
from pgbeam_core.session import ending, outcome
from pgbeam_core.session.boundaries import Boundaries
from pgbeam_core.session.client_statements import ClientStatements
from pgbeam_core.session.completion import TurnCompletion
from pgbeam_core.session.copying import Copying
from pgbeam_core.session.dispatch import HookDispatch
from pgbeam_core.session.extended_sending import ExtendedSender
from pgbeam_core.session.fast_path import completion as fast_completion
from pgbeam_core.session.fast_path.recognition import FastPath
from pgbeam_core.session.finding import ServerFinder
from pgbeam_core.session.input import Input
from pgbeam_core.session.leasing import Leasing
from pgbeam_core.session.outside import Outside
from pgbeam_core.session.pace import Pace
from pgbeam_core.session.reporting import report
from pgbeam_core.session.request_handler import RequestHandler
from pgbeam_core.session.runtime import ClientConnection, Nobody, Runtime
from pgbeam_core.session.sending import Sender
from pgbeam_core.session.session import Session
from pgbeam_core.session.state import Phase, State
from pgbeam_core.session.tracker import SessionTracker
from pgbeam_core.session.transaction import Transaction
from pgbeam_core.session.turns import Owner, Turn
from pgbeam_core.wire import backend

_MOST_SAID = 1000
"""Executions whose notices are kept for the end of a reply; those of longer requests come in between."""

_IDLE: Final = Phase.IDLE  # a look at a member of an enum takes longer than most lines here
_MOST_TOLD = 1_000
"""Parameters that are remembered as told: one server reports no more."""


class Conversation:
    """One client that has logged in."""

    __deletable__: ClassVar = [
        "boundaries", "client_statements", "completion", "copying", "dispatch", "extended_sender", "fast_path",
        "finder", "input", "leasing", "outside", "pace", "requests", "sender", "tracker",
    ]  # fmt: skip
    """What goes with `ending.dissolve`."""

    def __init__(self, session: Session, client: ClientConnection, runtime: Runtime) -> None:
        self.session = session
        self.client = client
        self.runtime = runtime
        self.state = State()
        self.client_statements = ClientStatements(lambda: self.leasing.may_have_prepared)
        self.tracker = SessionTracker(session, self.client_statements, runtime)
        self.sender = Sender(self)
        self.extended_sender = ExtendedSender(self)
        self.leasing = Leasing(self)
        self.finder = ServerFinder(self)
        self.transaction = Transaction(session)
        self.boundaries = Boundaries(self)
        self.outside = Outside(self)
        self.dispatch = HookDispatch(self)
        self.pending: Any = None
        """The Deferred that ASKING or WAITING waits for."""
        self.ended = True
        """The request that is being asked about ends with ReadyForQuery, or the last one has."""
        self.client_is_full = False
        self.server_is_full = False
        self.stats = runtime.stats(session)
        self.input = Input(self)
        self.requests = RequestHandler(self)
        self.completion = TurnCompletion(self)
        self.copying = Copying(self)
        self.fast_path = FastPath(self)
        self.turn: Turn | None = None
        """What a server owes this client."""
        self.pace = Pace(runtime, self.input.resume, self.extended_sender.flush)

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
        return self.phase is not _IDLE or self.session.in_transaction or not self.ended

    def accept_lease(self, lease: Lease) -> None:
        """The server of the login."""
        self.leasing.accept_lease(lease)

    def login_is_over(self) -> None:
        """The client has been told that it is logged in; the server of the login goes where the pool mode says."""
        self.leasing.login_is_over()
        self.session.active_at = self.runtime.now()
        if self.session.project.lazy_transactions == "reads" and not self.session.keeps_server:
            self.runtime.catalog(self.session)  # it will be needed for the first read

    def tell_of_ends(self) -> None:
        """Tell the plugins of the transactions that have ended: before the client is told, who may tell others."""
        over = self.tracker.ended_transactions
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

    def ready_for_query(self) -> bytes:
        """ReadyForQuery with the transaction status that the client knows."""
        return backend.READY[self.session.status]

    # From the server. The conversation owns its turns.

    def request_sent(self, turn: Turn) -> None:
        """A request has gone out."""
        self.turn = turn
        self.completion.cancelled = False
        self.state.enter(Phase.BUSY if turn.ended else Phase.OPEN)

    def deliver(self, data: bytes) -> None:
        self.client.write(data)

    def copy_in(self, turn: Turn) -> None:
        """The server wants CopyData: what the client sends goes straight on."""
        self.copying.begin_copy_in()

    def reply_came(self, turn: Turn) -> None:
        """Some of the reply to a request that goes out in parts has come."""
        self.completion.report_finished(turn)
        if len(turn.said) > _MOST_SAID:
            said, turn.said = turn.said, []
            self.client.write(b"".join(said))
        if self.phase is not Phase.GONE:
            self.pace.reply_came(turn)

    def server_skips(self, turn: Turn) -> None:
        """An error before the end of the request: the client goes on to its Sync, and the server skips."""
        self.input.drop_batch()
        if turn.simple:  # it was not the client's part of the request that failed
            self.sender.sync_after_failed_begin(turn)
        elif self.phase in (Phase.BUSY, Phase.COPYING):
            self.state.enter(Phase.OPEN)
            self.input.resume()

    def turn_over(self, turn: Turn, ready: bytes) -> None:
        self.completion.turn_over(turn, ready)

    def deliver_reply(self, turn: Turn, reply: bytes) -> None:
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

    def retry_on_error(self, turn: Turn, error: bytes) -> bool:
        """Whether a shared turn's error is not this client's."""
        return self.completion.retry.withholds_error(turn, error, cancelled=self.completion.cancelled)

    def server_gone(self, server: Server, reason: str) -> None:
        """A server that this session holds is gone."""
        self.completion.server_gone(server, reason)

    # Backpressure, cancelling, and the end.

    def server_full(self) -> None:
        """The server does not read as fast as it is written to."""
        self.server_is_full = True
        self.input.mind_reading()

    def server_drained(self) -> None:
        self.server_is_full = False
        self.input.mind_reading()

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
        self.session._parameters_told()
        return message.to_bytes()

    def unasked(self, frame: bytes) -> None:
        """A server of this session sent something outside the client's turns: a notification, its goodbye …"""
        if self.turn is not None and self.turn.began:
            # It is another one than that which answers, whose last word may have been half a row.
            if frame[:1] != b"E":
                self.completion.unsaid.append(frame)
            return
        if frame[:1] == b"E":
            self.completion.said_goodbye = True
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
            self.input.resume()

    def _has_alone(self, lease: Lease) -> bool:
        """Whether nobody but this client waits for what the server says now. Small shared replies are buffered."""
        return not lease.shared or (
            lease.server.congested and self.turn is not None and lease.server.is_at_head(self.turn)
        )

    def gone(self, reason: str) -> None:
        """The client has left, whatever was going on."""
        if self.phase is Phase.GONE:
            return
        idle = self.phase is _IDLE
        self.state.enter(Phase.GONE)
        self.pace.stop()
        self.input.stop()
        pending, self.pending = self.pending, None
        if pending is not None:
            pending.addErrback(lambda _: None)
            pending.cancel()
        if self.turn is not None:
            left, now = Refusal("08006", f"client left in the middle: {reason}"), self.runtime.now()
            for query in self.turn.queries:
                report(self, query, outcome.refused(query, "server", left, now))
        self.tracker.queries_lost([] if self.turn is None else self.turn.queries)
        self.leasing.client_left(reason, idle=idle)
        if self.session.lease is None:
            self.forget()

    def forget(self) -> None:
        """Nothing is under way for a client that has left: what it sent is let go, without waiting for a collector."""
        self.turn = None
        self.client = Nobody()
        self.extended_sender.forget()
        self.completion.forget()
        self.client_statements.clear()
        self.fast_path.forget()
