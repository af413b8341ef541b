"""A connection from an application: startup packet, login, then a conversation."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from pgbeam_core.api.results import Refusal
from pgbeam_core.errors import (
    AncientProtocol,
    NoUser,
    PgBeamError,
    ProtocolViolation,
    ServerRefused,
    Unanswered,
)
from pgbeam_core.firing import PluginRaised
from pgbeam_core.net.asking import Asking
from pgbeam_core.net.auth.exchange import LoginExchange
from pgbeam_core.net.auth.login import Admitted, Login
from pgbeam_core.net.channel import Channel
from pgbeam_core.net.judging import turned_away
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
        self._early: list[bytes] = []
        self._stats = beam.counted.unseen
        self._pending: Deferred[Any] | None = None
        self._key: tuple[int, bytes] | None = None
        self._long_key = False
        self._reason: str | None = None
        self._address = ""
        self.channel = Channel("")
        """How it is connected, once it is."""

    # Starting up.

    def makeConnection(self, transport: Any) -> None:
        self.transport = transport
        if hasattr(transport, "setTcpNoDelay"):
            transport.setTcpNoDelay(True)
            transport.setTcpKeepAlive(True)
        beam = self._beam
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
        """The login as a whole takes too long."""
        self.hang_up("login timed out", b"" if self._session is None else _TIMED_OUT)

    def _no_answer(self) -> None:
        """The client does not say what it is asked for: its startup packet, or a password."""
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
        try:
            project, parameters = beam.entrance.choose_project(self.channel, packet.parameters)
            asking = Asking(beam.hooks)
            channel = self.channel
            session = Session(project, channel.address, parameters, hostname=channel.hostname, ask=asking.ask)
            self._session = asking.session = session
        except PgBeamError as error:
            self._refuse(Refusal(error.sqlstate, error.message, hint=error.hint))
            return
        beam.opened(session)
        self._judge(partial(beam.hooks.connect, session))

    def _judge(self, ask: Callable[[], tuple[str, Any] | None]) -> None:
        """Let the plugins decide whether the client is let in. Whoever cannot be judged is not."""
        try:
            found = ask()
        except PluginRaised as error:
            self._let_in(Refusal("XX000", str(error)))
            return
        if found is None:
            self._let_in(None)
        elif isinstance(found[1], Deferred):
            self._pending = found[1]
            found[1].addCallbacks(self._judged, self._not_judged, callbackArgs=(found[0],), errbackArgs=(found[0],))
        else:
            self._judged(found[1], found[0])

    def _judged(self, answer: Any, plugin: str) -> None:
        """What a plugin thinks of the client. None is no opinion: those behind it are asked."""
        self._pending = None
        if self._reason is not None:
            return
        if isinstance(answer, Refusal):
            self._let_in(answer)
            return
        beam, session = self._beam, self._session

        def ask() -> tuple[str, Any] | None:
            if answer is not None:
                beam.hooks.unfit("connect", plugin, answer, "a Refusal, a Deferred of one, or None")
            return beam.hooks.connect.after(plugin, session)

        self._judge(ask)

    def _not_judged(self, failure: Failure, plugin: str) -> None:
        """A plugin's Deferred failed, as if it had raised."""
        self._pending = None
        if self._reason is not None:
            return
        beam, session = self._beam, self._session

        def ask() -> tuple[str, Any] | None:
            try:
                failure.raiseException()
            except Exception:
                beam.hooks.failed("connect", plugin)
            return beam.hooks.connect.after(plugin, session)

        self._judge(ask)

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
        self._pending = Login(self._beam, session, self.channel, self._exchange).begin()
        self._pending.addCallbacks(self._logged_in, self._not_logged_in)
        if early:
            self.dataReceived(b"".join(early))

    def _authenticating(self, data: bytes) -> None:
        assert self._exchange is not None
        if self._exchange.over or not self._exchange.asked:
            self._keep_for_later(data)
            return
        for frame in self._answers.feed(data):
            if frame[0] == _TERMINATE:
                self.hang_up("client left during login")
                return
            self._beam.answers.met(self._no_answer)
            if frame[0] != _PASSWORD or not self._exchange.respond(frame):
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
        self._beam.logins.met(self._too_slow)
        self._beam.unauthenticated.discard(self, self._address)
        self._exchange = None
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
        self._take = conversation.received
        conversation.begin()
        self._beam.overtime.join(conversation)
        rest = self._answers.rest() + b"".join(self._early)
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
    def served(self) -> tuple[float, Session] | None:
        """When its messages were attended to last, and its session; None before it is logged in."""
        conversation = self._conversation
        return None if conversation is None else (conversation.pace.begun, conversation.session)

    def dismiss(self, farewell: bytes) -> None:
        """Send the client away, unless it is in the middle of something."""
        if self._conversation is None or not self._conversation.busy:
            self.hang_up("PgBeam stops", farewell)

    def _refuse(self, refusal: Refusal) -> None:
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
        if self._conversation is not None:
            self._beam.overtime.leave(self._conversation.session.id)
            self._conversation.gone(reason)
        if self._pending is not None:
            self._pending.addErrback(lambda _: None)
            self._pending.cancel()
        if self._session is not None:
            self._beam.closed(self._session, reason)
        # Nothing it has said is of use any more, and nothing is to wait for a collector of garbage.
        self._take = _ignore
        self._answers = FrameCutter(max_length=MAX_AUTH_LENGTH)
        self._early.clear()
        self._conversation = self._exchange = self._pending = self._session = None


def _ignore(_data: bytes) -> None:
    """What a client sends after its end."""
