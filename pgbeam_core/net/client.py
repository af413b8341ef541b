"""A connection from an application: startup packet, login, then a conversation."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from pgbeam_core.api.results import Refusal
from pgbeam_core.console.access import is_console
from pgbeam_core.errors import (
    AncientProtocol,
    NoUser,
    PgBeamError,
    ProtocolViolation,
    ServerRefused,
    Unanswered,
)
from pgbeam_core.net import console_login, sockets
from pgbeam_core.net.asking import Asking
from pgbeam_core.net.auth.admission import Admitted
from pgbeam_core.net.auth.exchange import LoginExchange
from pgbeam_core.net.auth.login import Login
from pgbeam_core.net.channel import Channel
from pgbeam_core.net.failed_logins import LEFT, PROTOCOL, TIMEOUT, reason_of
from pgbeam_core.net.judging import Judging, turned_away
from pgbeam_core.net.negotiation import Negotiation
from pgbeam_core.net.peer import channel_of
from pgbeam_core.net.unauthenticated import neighbourhood
from pgbeam_core.session.conversation import Conversation
from pgbeam_core.session.outcome import refusal_frame
from pgbeam_core.session.session import Session
from pgbeam_core.wire import backend
from pgbeam_core.wire.frames import MAX_AUTH_LENGTH, FrameCutter
from pgbeam_core.wire.startup import CancelRequest, StartupMessage, negotiate

if TYPE_CHECKING:
    from pgbeam_core.beam import Beam

log = Logger(__name__)

Elsewhere = Callable[[CancelRequest], "Deferred[object]"]
"""Has a cancel request looked at by the other workers; fires when they have, and never fails."""

_CREDENTIALS = "28"
"""Class of the SQLSTATEs that are about who may log in."""
_numbers = itertools.count(1)
_PASSWORD = ord("p")
_TERMINATE = ord("X")
_TOO_MANY = Refusal("53300", "sorry, too many clients already")
_TIMED_OUT = backend.error_response("FATAL", "57014", "canceling authentication due to timeout")


class ClientProtocol:
    """One client: a Twisted protocol and push producer. What arrives goes to `_take`, which changes with the phase.

    elsewhere: who else may know the client that a cancel request is about. gone: told when the socket is closed.
    """

    def __init__(self, beam: Beam, elsewhere: Elsewhere | None = None, gone: Callable[[], None] | None = None) -> None:
        self.transport: Any = None
        """A Twisted TCP transport or a `streams.Stream`, once there is a connection."""
        self._beam = beam
        self._elsewhere = elsewhere
        self._gone = gone
        self._take: Callable[[bytes], None] = _ignore
        self._session: Session | None = None
        self._conversation: Conversation | None = None
        self._exchange: LoginExchange | None = None
        self._answers = FrameCutter(max_length=MAX_AUTH_LENGTH)
        self._ahead: list[bytes] = []
        """Messages that have come with an answer, and behind it."""
        self._early: list[bytes] = []
        self._stats = beam.counted.unseen
        self._pending: Deferred[Any] | None = None
        self._judging: Judging | None = None
        self._key: tuple[int, bytes] | None = None
        self._long_key = False
        self._reason: str | None = None
        self._address = ""
        self.suspended = False
        self.console: Any = None
        self.number = next(_numbers)
        self.came = beam.now()
        self.channel = Channel("")
        """How it is connected, once it is."""

    # Starting up.

    def makeConnection(self, transport: Any) -> None:
        self.transport = transport
        if hasattr(transport, "setTcpNoDelay"):
            transport.setTcpNoDelay(True)
            transport.setTcpKeepAlive(True)
        beam = self._beam
        sockets.give_up_after(transport, beam.settings.tcp_user_timeout_s)
        beam.logins.begin(self._too_slow)
        beam.answers.begin(self._no_answer)
        beam.clients.add(self)
        transport.registerProducer(self, True)
        self.channel = channel_of(transport)
        self._address = neighbourhood(self.channel.address)
        self._take = Negotiation(self, beam).received
        if len(beam.clients) > beam.most_clients:
            self._no_room()
        if self._reason is None:
            beam.unauthenticated.add(self, self._address)

    def _no_room(self) -> None:
        """Descriptors are short: somebody who has not logged in goes, if only the one who has just come."""
        if len(self._beam.unauthenticated):
            self._beam.unauthenticated.shed()
        else:
            self.hang_up(_TOO_MANY.message, refusal_frame(_TOO_MANY, "FATAL"))

    def _too_slow(self) -> None:
        """The login as a whole takes too long, unless it is an operator who keeps it waiting."""
        if self._session is not None and self._beam.console.steering.keeps(self._session):
            self._beam.logins.begin(self._too_slow)
            return
        self._failed(TIMEOUT)
        self.hang_up("login timed out", b"" if self._session is None else _TIMED_OUT)

    def _no_answer(self) -> None:
        """The client does not say what it is asked for: its startup packet, or a password."""
        self._failed(TIMEOUT)
        self.hang_up("client did not answer within login_timeout_s", b"" if self._session is None else _TIMED_OUT)

    def _never_read(self) -> None:
        """It was sent away, and does not take the last words."""
        self.transport.abortConnection()

    def dataReceived(self, data: bytes) -> None:
        try:
            self._take(data)
        except ProtocolViolation as error:
            self._violated(error)

    def _violated(self, error: ProtocolViolation) -> None:
        self._failed(PROTOCOL)
        if isinstance(error, AncientProtocol):
            # A client of protocol 2 knows no other form of error.
            self.hang_up(error.message, b"EFATAL:  " + error.message.encode() + b"\n\x00")
        elif isinstance(error, Unanswered):
            self.hang_up(error.message)
        else:
            if isinstance(error, NoUser):
                self.write(error.offer)
            farewell = backend.error_response("FATAL", error.sqlstate, error.message, None, error.hint)
            self.hang_up(error.message, farewell)

    # What the negotiation finds out.

    @property
    def over(self) -> bool:
        """It has left, or was sent away."""
        return self._reason is not None

    def attempt(self, step: Callable[[bytes], None], data: bytes) -> None:
        """Take a step that was put off, as if the data had come just now."""
        try:
            step(data)
        except ProtocolViolation as error:
            self._violated(error)

    def reached_by(self, channel: Channel) -> None:
        """More is known of how it is connected."""
        unauthenticated = self._beam.unauthenticated
        unauthenticated.discard(self, self._address)
        self.channel = channel
        self._address = neighbourhood(channel.address)
        unauthenticated.add(self, self._address)

    def stands_on(self, transport: Any) -> None:
        """Its connection is encrypted from now on."""
        self.transport = transport
        transport.registerProducer(self, True)

    def cancel(self, request: CancelRequest) -> None:
        """It has come to cancel what another client is doing."""
        self._take = _ignore
        done: Deferred[Any] | None = None
        conversation = self._beam.cancel_keys.find(request)
        if conversation is not None:
            done = conversation.cancel()
        elif self._elsewhere is not None:
            done = self._elsewhere(request)
        if done is None:
            self.hang_up("cancel request")
        else:  # what the client that is cancelled sends once this is closed must not be hit
            done.addCallback(lambda _: self.hang_up("cancel request"))

    def started(self, packet: StartupMessage, rest: bytes) -> None:
        """Its startup packet is there, and `rest` behind it."""
        self._beam.answers.met(self._no_answer)
        offer = negotiate(packet)
        if offer is not None:
            self.write(offer)
        self._long_key = packet.minor >= 2
        self._take = self._keep_for_later
        if rest:
            self._early.append(rest)
        beam = self._beam
        at_console = is_console(packet.parameters)
        try:
            choose = console_login.chooser(beam) if at_console else beam.entrance.choose_project
            project, parameters = choose(self.channel, packet.parameters)
            asking = Asking(beam.hooks)
            channel = self.channel
            session = Session(project, channel.address, parameters, hostname=channel.hostname, ask=asking.ask)
            self._session = asking.session = session
            session.at_console = at_console
        except PgBeamError as error:
            self._refuse(Refusal(error.sqlstate, error.message, hint=error.hint))
            return
        beam.opened(session)
        self._judging = Judging(beam.hooks, session, self._let_in)
        self._judging.begin()

    # Logging in.

    def _let_in(self, refusal: Refusal | None) -> None:
        session = self._session
        assert session is not None
        if refusal is not None:
            self._refuse(refusal)
            return
        self._exchange = LoginExchange(self.write, partial(self._beam.answers.begin, self._no_answer))
        self._take = self._authenticating
        early, self._early = self._early, []
        if session.at_console:
            self._pending = console_login.ConsoleLogin(self._beam, session, self.channel, self._exchange).begin()
            self._pending.addCallbacks(self._at_console, self._not_logged_in)
        elif (refusal := self._beam.console.steering.refusal(session)) is not None:
            self._refuse(refusal)
            return
        else:
            self._pending = Login(self._beam, session, self.channel, self._exchange).begin()
            self._pending.addCallbacks(self._logged_in, self._not_logged_in)
        if early:
            self.dataReceived(b"".join(early))

    def _authenticating(self, data: bytes) -> None:
        exchange = self._exchange
        assert exchange is not None
        if exchange.over or not exchange.asked:
            self._keep_for_later(data)
            return
        self._ahead += self._answers.feed(data)
        while self._ahead and not exchange.over and self._reason is None:
            frame = self._ahead.pop(0)
            if frame[0] == _TERMINATE:
                self._failed(LEFT)
                self.hang_up("client left during login")
                return
            self._beam.answers.met(self._no_answer)
            if frame[0] != _PASSWORD or not exchange.respond(frame):
                raise ProtocolViolation(f"expected password response, got message type {frame[0]}")

    def _keep_for_later(self, data: bytes) -> None:
        """What a client sends that does not wait to be let in: its first queries, or its password."""
        self._early.append(data)
        if sum(map(len, self._early)) > MAX_AUTH_LENGTH:
            raise ProtocolViolation("too much data before authentication is complete")

    def _not_logged_in(self, failure: Failure) -> None:
        self._pending = None
        if self._reason is not None:
            return
        error = failure.value
        if isinstance(error, ServerRefused):
            if self._session is not None:
                self._session.login_error = error.sqlstate
            self._failed(reason_of(error.sqlstate))
            self.hang_up(f"login refused: {error.message}", error.frame)
        elif isinstance(error, PgBeamError):
            if self._session is not None and error.sqlstate.startswith(_CREDENTIALS):
                self._session.login_error = error.sqlstate
            self._refuse(Refusal(error.sqlstate, error.message, hint=error.hint))
        else:
            log.failure("login failed", failure)
            self._refuse(Refusal("08006", "could not get a server connection"))

    def _logged_in(self, admission: Admitted) -> None:
        self._pending = None
        lease = admission.lease
        if self._reason is not None:
            if lease is not None:
                lease.release()
            return
        session = self._session
        assert session is not None
        self._is_in()
        self._conversation = conversation = Conversation(session, self, self._beam)
        session.identity = admission.identity
        pid: int | None = None
        if lease is not None:
            conversation.take(lease)
            if session.project.pool_mode == "session" or session.replication:
                pid = lease.server.pid
        self._key = self._beam.cancel_keys.issue(conversation, pid=pid, long=self._long_key)
        session.pid = self._key[0]
        refusal = turned_away(self._beam.hooks, session)
        if refusal is not None:
            self._refuse(refusal)
            return
        self.write(self._greeting(admission))
        self._stats = conversation.stats
        conversation.begin()
        self._beam.console.steering.suspends(self)
        self._beam.overtime.join(conversation)
        self._go_on(conversation.input.received)

    def _at_console(self, _proven: object) -> None:
        self._pending, session = None, self._session
        if session is None:
            return
        entered = console_login.enter(self, self._beam, session, long=self._long_key)
        if isinstance(entered, Refusal):
            self._refuse(entered)
            return
        self._is_in()
        self.console, self._key = entered
        self._go_on(self.console.received)

    def _is_in(self) -> None:
        self._beam.logins.met(self._too_slow)
        self._beam.unauthenticated.discard(self, self._address)
        self._exchange = None

    def _go_on(self, take: Callable[[bytes], None]) -> None:
        """What has come behind the login, and all that is to come, goes there."""
        self._take = take
        rest = b"".join([*self._ahead, self._answers.rest(), *self._early])
        self._ahead.clear()
        self._early.clear()
        if rest:
            self.dataReceived(rest)

    def _greeting(self, admission: Admitted) -> bytes:
        session = self._session
        assert session is not None
        assert self._key is not None
        told = dict(admission.greeting.parameters)
        if "application_name" in told:
            told["application_name"] = session.application_name or ""
        session.parameter_status = told
        session.told()
        key = backend.BackendKeyData(*self._key).to_bytes()
        return b"".join([*admission.notices, admission.greeting.statuses(told), key, backend.READY_IDLE])

    # The client, as its conversation sees it.

    def write(self, data: bytes) -> None:
        self._stats.sent_bytes += len(data)
        self.transport.write(data)

    def pause(self) -> None:
        """Stop reading from the client."""
        transport = self.transport
        transport.pauseProducing()

    def resume(self) -> None:
        transport = self.transport
        if not self.suspended:
            transport.resumeProducing()

    def hang_up(self, reason: str, farewell: bytes = b"") -> None:
        """Send the farewell and close."""
        if self._reason is not None:
            return
        self._reason = reason
        self._take = _ignore
        transport = self.transport
        if farewell:
            transport.write(farewell)
        transport.unregisterProducer()
        transport.loseConnection()
        self._beam.partings.begin(self._never_read)
        self._over(reason)

    @property
    def session(self) -> Session | None:
        return self._session

    @property
    def conversation(self) -> Conversation | None:
        return self._conversation

    @property
    def waits_for(self) -> Deferred[Any] | None:
        """What has to happen before it goes on."""
        return self._pending if self._conversation is None else self._conversation.pending

    @property
    def served(self) -> tuple[float, Session] | None:
        """When its messages were attended to last, and its session; None before it is logged in."""
        conversation = self._conversation
        return None if conversation is None else (conversation.pace.begun, conversation.session)

    def dismiss(self, farewell: bytes) -> None:
        """Send the client away, unless it is in the middle of something."""
        if self._conversation is None or not self._conversation.busy:
            self.hang_up("PgBeam stops", farewell)

    def _failed(self, reason: str) -> None:
        """Its login comes to nothing, if it is not in yet."""
        session, beam = self._session, self._beam
        if self._reason is None and self._stats is beam.counted.unseen:
            counts = beam.entrance.failed_logins if session is None else beam.counted.for_client(session).logins_failed
            counts[reason] += 1

    def _refuse(self, refusal: Refusal) -> None:
        self._failed(reason_of(refusal.sqlstate))
        self.hang_up(refusal.message, refusal_frame(refusal, "FATAL"))

    # Backpressure: the transport asks us to stop producing what we write to it.

    def pauseProducing(self) -> None:
        """The client does not read as fast as it is written to."""
        if self._conversation is not None:
            self._conversation.client_full()

    def resumeProducing(self) -> None:
        if self._conversation is not None:
            self._conversation.client_drained()

    def stopProducing(self) -> None:
        """The transport is closing."""

    # The end.

    def connectionLost(self, reason: Failure = Failure(Exception())) -> None:
        """The socket is closed, by whichever side."""
        if self._reason is None:
            if self._session is not None:
                self._failed(LEFT)
            self._reason = "client closed the connection"
            self.transport.unregisterProducer()
            self._over(self._reason)
        beam = self._beam
        beam.partings.met(self._never_read)
        beam.clients.discard(self)
        if not beam.clients:
            for deadlines in (beam.logins, beam.answers, beam.partings):
                deadlines.stop()
        if self._gone is not None:
            self._gone()

    def _over(self, reason: str) -> None:
        self._beam.logins.met(self._too_slow)
        self._beam.answers.met(self._no_answer)
        self._beam.unauthenticated.discard(self, self._address)
        if self._key is not None:
            self._beam.cancel_keys.withdraw(*self._key)
        if self.console is not None:
            self.console.gone()
        if self._conversation is not None:
            self._beam.overtime.leave(self._conversation.session.id)
            self._conversation.gone(reason)
        if self._judging is not None:
            self._judging.give_up()
        if self._pending is not None:
            self._pending.addErrback(lambda _: None)
            self._pending.cancel()
        if self._session is not None:
            self._beam.closed(self._session, reason)
        # Nothing it has said is of use any more, and nothing is to wait for a collector of garbage.
        self._take = _ignore
        self._answers = FrameCutter(max_length=MAX_AUTH_LENGTH)
        self._ahead.clear()
        self._early.clear()
        self._conversation = self._exchange = self._pending = self._session = self._judging = None


def _ignore(_data: bytes) -> None:
    """What a client sends after its end."""
