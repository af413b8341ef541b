"""A connection to PostgreSQL in service: requests go out, and it pays out what it owes.

How it has logged in stands in `server_login`, what it says unasked in `asynchronous`, when it is read in `server_flow`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from pgbeam_core.api.pool import Identity, Relay
from pgbeam_core.api.query import Target
from pgbeam_core.errors import PgBeamError, ProtocolViolation, ServerProtocolError, ServerUnavailable
from pgbeam_core.internal.request import InternalRequest
from pgbeam_core.net import cleaning
from pgbeam_core.net.asynchronous import AsynchronousMessages
from pgbeam_core.net.cancel import Cancelling
from pgbeam_core.net.server_flow import ServerFlow
from pgbeam_core.net.server_login import ServerLogin
from pgbeam_core.net.server_record import ServerRecord
from pgbeam_core.session.replies import ReplyQueue
from pgbeam_core.session.steps import FREE, NOTHING
from pgbeam_core.session.turns import Turn
from pgbeam_core.wire import frontend

log = Logger(__name__)

_QUERY = ord("Q")


class ServerProtocol(ServerRecord):
    """One server: a Twisted protocol and push producer; to pools and conversations an `api.pool.Server`."""

    def __init__(
        self,
        target: Target,
        identity: Identity,
        application_name: str | None,
        *,
        now: Callable[[], float],
        later: Callable[[Callable[[], None]], Any],
        cancel: Callable[[ServerProtocol], Deferred[None]],
        prepared_limit: int,
        relay: Relay | None,
    ) -> None:
        super().__init__(target, identity, application_name, since=now(), prepared_limit=prepared_limit)
        self.ready: Deferred[ServerProtocol] = Deferred(lambda _: self.close("login given up"))
        """Fires when logged in; fails with ServerRefused or ServerUnavailable."""
        self._application_name = application_name
        self._now = now
        self._login: ServerLogin | None = ServerLogin(self, relay)
        """Until it has succeeded."""
        self.asynchronous = AsynchronousMessages(self, self.parameters)
        self._replies = ReplyQueue(self.asynchronous)
        self._turns = self.asynchronous.turns = self._replies.turns
        self._cancelling = Cancelling(lambda: cancel(self), self._turns)
        self._flow = ServerFlow(self, self._replies, self._cancelling, later)
        self._seen: Turn | None = None
        self._reason: str | None = None

    @property
    def status(self) -> bytes:
        """Transaction status of the last ReadyForQuery."""
        return self._replies.status

    @property
    def owed(self) -> int:
        return len(self._turns)

    @property
    def congested(self) -> bool:
        """The turn at the head takes too long, or too much, for others to stand behind it."""
        return self._replies.congested

    # Logging in.

    def makeConnection(self, transport: Any) -> None:
        """Connected: say who we are, unless nobody wants to know any more."""
        self.transport = transport
        login = self._login
        if login is None or login.over:
            # The connection was on its way here when it was given up: whoever gave up had nothing to close yet.
            transport.abortConnection()
        else:
            login.begin(self._application_name)

    def respond(self, frame: bytes) -> None:
        """Pass on an answer to an authentication request."""
        self.transport.write(frame)

    def logged_in(self, rest: bytes) -> None:
        """In service from now on; `rest` has come behind the login."""
        self._login = None
        self.alive = True
        self.parameters_at_login = dict(self.parameters)
        self.transport.registerProducer(self, True)
        self.ready.callback(self)
        if rest and self.alive:
            self.dataReceived(rest)

    def login_failed(self, error: PgBeamError) -> None:
        """Hang up; `ready` fails with the error."""
        self._reason = error.message
        if self.transport is not None:
            self.transport.loseConnection()
        self._not_ready(error)

    def failed(self, failure: Failure) -> None:
        """It could not be connected, or took too long."""
        if self._login is not None:
            error = failure.value
            self.login_failed(error if isinstance(error, PgBeamError) else ServerUnavailable(str(error)))

    def _not_ready(self, error: PgBeamError) -> None:
        login = self._login
        if login is not None and not login.over:
            login.end()
            self.ready.errback(Failure(error))

    # What it says.

    def dataReceived(self, data: bytes) -> None:
        if self._reason is not None and not self.alive:
            return  # TLS may still hand over what came before it was closed
        try:
            login = self._login
            if login is None:
                self._replies.feed(data)
                if self._replies.behind:
                    self._flow.fall_behind()
                if self._cancelling.wanted is not None:
                    self._cancelling.go_on()
            else:
                login.received(data)
        except ProtocolViolation as error:
            if self.alive:
                self.quarantine(error.message)
            elif self._login is not None:
                self.login_failed(ServerProtocolError(f"server broke the protocol: {error.message}"))
            # else it was closed on account of what it said before

    # Turns.

    def send(self, turn: Turn, data: bytes) -> None:
        """Owe a turn, and send its request."""
        turn.sent_at = self.used_at = self._now()
        self._replies.expect(turn)
        self.transport.write(data)

    def write(self, data: bytes) -> None:
        """Send more of a request that is under way."""
        self.transport.write(data)

    def inject_due(self, turn: Turn) -> None:
        """Let the turn say at once what is PgBeam's to say, if it is the one at the head."""
        if not turn.shared and self._replies.turns and self._replies.turns[0] is turn:
            turn.inject_due()

    def send_internal(self, request: bytes, otherwise: str | None) -> Deferred[None]:
        """Send a request of PgBeam's own whose result nobody wants; if it fails, close with `otherwise`, if given."""
        owner = InternalRequest(self, otherwise)
        self.statements.unnamed = None
        turn = Turn(owner, simple=True)
        turn.at = NOTHING if request[0] == _QUERY else FREE
        self.send(turn, request)
        return owner.done

    def lift_timeouts(self) -> None:
        cleaning.lift_short_timeouts(self)

    def reset(self) -> Deferred[None]:
        return cleaning.discard_all(self, self._application_name)

    def is_at_head(self, turn: Turn) -> bool:
        """Whether that is the turn that it is paying out."""
        return bool(self._replies.turns) and self._replies.turns[0] is turn

    @property
    def midway(self) -> bool:
        """Whether a part of a message has been passed on, and not the rest."""
        return self._replies.midway

    def watch(self) -> None:
        """See whether the turn at the head is still the one that was there at the last look."""
        turns = self._replies.turns
        head = turns[0] if turns else None
        if head is not None and head is self._seen and not self._replies.congested:
            self._replies.reassign_those_behind()
        self._seen = head

    def attach(self, holder: Any) -> None:
        """This conversation holds the exclusive lease: what comes unasked is for it."""
        self.asynchronous.holder = holder

    def detach(self, holder: Any) -> None:
        """It does not any more."""
        if self.asynchronous.holder is holder:
            self.asynchronous.holder = None

    def said_goodbye(self, reason: str) -> None:
        """It has sent an error that answers nothing: why it is about to hang up."""
        self._reason = self._reason or reason

    # Cancelling.

    def cancel(self, turn: Turn) -> Deferred[None]:
        """Ask PostgreSQL to cancel that turn, once it is at the head. Fires when no cancel request is under way."""
        return self._cancelling.cancel(turn)

    def settled(self) -> Deferred[None] | None:
        """None, or a Deferred for when no cancel request can hit it any more."""
        return self._cancelling.settled()

    # Backpressure.

    def pause(self) -> None:
        """Do not read from PostgreSQL: the client does not keep up."""
        if self.alive:
            self._flow.pause()

    def resume(self) -> None:
        if self.alive:
            self._flow.resume()

    def pauseProducing(self) -> None:
        """PostgreSQL does not read as fast as it is written to."""
        if self.asynchronous.holder is not None:
            self.asynchronous.holder.server_full()

    def resumeProducing(self) -> None:
        if self.asynchronous.holder is not None:
            self.asynchronous.holder.server_drained()

    def stopProducing(self) -> None:
        """For the transport, which has a producer that it may stop: `connectionLost` follows, and does it all."""

    # The end.

    def quarantine(self, reason: str) -> None:
        """Nobody may get another byte of this server: its stream is in doubt."""
        log.error("server {server!r} quarantined: {reason}", server=self, reason=reason)
        self._reason = reason
        self._replies.drop()
        self.transport.abortConnection()
        self._lost(reason)

    def close(self, reason: str) -> None:
        """Say Terminate and hang up."""
        if self._reason is None or self.alive:
            self._reason = reason
            self._replies.drop()
            if self.transport is not None:
                self.transport.write(frontend.TERMINATE)
                self.transport.loseConnection()
            self._lost(reason, expected=True)

    def abandon(self, reason: str) -> None:
        """Hang up at once: what has not left this machine is not to reach it any more."""
        if self.alive:
            self.transport.abortConnection()
            self.close(reason)

    def connectionLost(self, reason: Failure = Failure(Exception())) -> None:
        """The socket is closed, by whichever side."""
        self._lost(self._reason or "server closed the connection unexpectedly")

    def _lost(self, reason: str, *, expected: bool = False) -> None:
        if self._login is not None:
            self._not_ready(ServerUnavailable(reason))
            return
        if self._flow.pending_end is not None:
            if not self._replies.behind:  # it was waited for, and is in doubt now
                self.end(reason, expected)
            return
        if not self.alive:
            return
        self.alive = False
        if self._replies.behind:  # what came before the end is paid out before it
            self._flow.pending_end = reason, expected
        else:
            self.end(reason, expected)

    def end(self, reason: str, expected: bool) -> None:
        """Gone, and all that it had said paid out: tell everybody whom it concerns."""
        self._flow.stop()
        holder, self.asynchronous.holder = self.asynchronous.holder, None
        self._replies.lost(reason)
        if not expected:
            self.left()
        self.gone(self, expected)
        self.ended(expected)
        if holder is not None:
            holder.server_gone(self, reason)
        self._cancelling.lost()
