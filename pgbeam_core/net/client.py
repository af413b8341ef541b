"""A connection from an application: what comes goes to whatever is its turn, what goes out passes here too.

Before its startup packet that is its `negotiation`, then its `client_login`; a client in service has a conversation.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from pgbeam_core.api.results import Refusal
from pgbeam_core.errors import AncientProtocol, NoUser, ProtocolViolation, Unanswered
from pgbeam_core.net import sockets
from pgbeam_core.net.channel import Channel
from pgbeam_core.net.client_login import ClientLogin
from pgbeam_core.net.failed_logins import LEFT, PROTOCOL
from pgbeam_core.net.negotiation import Negotiation
from pgbeam_core.net.peer import channel_of
from pgbeam_core.net.unauthenticated import neighbourhood
from pgbeam_core.session.conversation import Conversation
from pgbeam_core.session.ending import dissolve
from pgbeam_core.session.outcome import refusal_frame
from pgbeam_core.session.session import Session
from pgbeam_core.wire import backend
from pgbeam_core.wire.startup import CancelRequest, StartupMessage

if TYPE_CHECKING:
    from pgbeam_core.beam import Beam

Elsewhere = Callable[[CancelRequest], "Deferred[object]"]
"""Has a cancel request looked at by the other workers; fires when they have, and never fails."""

_numbers = itertools.count(1)
_TOO_MANY = Refusal("53300", "sorry, too many clients already")


class ClientProtocol:
    """One client: a Twisted protocol and push producer. What arrives goes to `take`, which changes with the phase.

    elsewhere: who else may know the client that a cancel request is about. gone: told when the socket is closed.
    """

    def __init__(self, beam: Beam, elsewhere: Elsewhere | None = None, gone: Callable[[], None] | None = None) -> None:
        self.transport: Any = None
        """A Twisted TCP transport or a `streams.Stream`, once there is a connection."""
        self._beam = beam
        self._elsewhere = elsewhere
        self._gone = gone
        self.take: Callable[[bytes], None] = _ignore
        self.login: ClientLogin | None = ClientLogin(self, beam)
        """Until it has logged in, or left."""
        self.session: Session | None = None
        """Once its startup packet is there."""
        self.conversation: Conversation | None = None
        """Once it has logged in to a database."""
        self._former: Conversation | None = None  # once it has left: some of its methods may be under way still
        self.console: Any = None
        """Its conversation with the console, if it has logged in there."""
        self.key: tuple[int, bytes] | None = None
        """What cancels it."""
        self.suspended = False
        """An operator keeps it from being read."""
        self._stats = beam.counted.unseen
        self._reason: str | None = None
        self._address = ""
        self.number, self.came = next(_numbers), beam.now()
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
        if self.login is not None:
            self.login.begin()
        beam.clients.add(self)
        transport.registerProducer(self, True)
        self.channel = channel_of(transport)
        self._address = neighbourhood(self.channel.address)
        self.take = Negotiation(self, beam).received
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

    def _never_read(self) -> None:
        """It was sent away, and does not take the last words."""
        self.transport.abortConnection()

    def dataReceived(self, data: bytes) -> None:
        try:
            self.take(data)
        except ProtocolViolation as error:
            self._violated(error)

    def _violated(self, error: ProtocolViolation) -> None:
        if self.login is not None:
            self.login.failed(PROTOCOL)
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
        self.take = _ignore
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
        if self.login is not None:
            self.login.started(packet, rest)

    # What its login finds out.

    def authenticated(self) -> None:
        """It is who it says."""
        self._beam.unauthenticated.discard(self, self._address)

    def serve(self, conversation: Conversation) -> None:
        """It is in: its conversation begins."""
        self.login = None
        self._stats = conversation.stats
        conversation.login_is_over()
        self._beam.console.steering.suspends(self)
        self._beam.overtime.join(conversation)

    def enter_console(self, console: Any) -> None:
        """It is in, at the console."""
        self.login, self.console = None, console

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
        self.take = _ignore
        transport = self.transport
        if farewell:
            transport.write(farewell)
        transport.unregisterProducer()
        transport.loseConnection()
        self._beam.partings.begin(self._never_read)
        self._over(reason)

    @property
    def waits_for(self) -> Deferred[Any] | None:
        """What has to happen before it goes on."""
        conversation, login = self.conversation, self.login
        pending: Deferred[Any] | None = None
        if conversation is not None:
            pending = conversation.pending
        elif login is not None:
            pending = login.pending
        return pending

    @property
    def served(self) -> tuple[float, Session] | None:
        """When its messages were attended to last, and its session; None before it is logged in."""
        conversation = self.conversation
        return None if conversation is None else (conversation.pace.begun, conversation.session)

    def dismiss(self, farewell: bytes) -> None:
        """Send the client away, unless it is in the middle of something."""
        if self.conversation is None or not self.conversation.busy:
            self.hang_up("PgBeam stops", farewell)

    # Backpressure: the transport asks us to stop producing what we write to it.

    def pauseProducing(self) -> None:
        """The client does not read as fast as it is written to."""
        if self.conversation is not None:
            self.conversation.client_full()

    def resumeProducing(self) -> None:
        if self.conversation is not None:
            self.conversation.client_drained()

    def stopProducing(self) -> None:
        """For the transport, which has a producer that it may stop: `connectionLost` follows, and does it all."""

    # The end.

    def connectionLost(self, reason: Failure = Failure(Exception())) -> None:
        """The socket is closed, by whichever side."""
        if self._reason is None:
            if self.login is not None and self.session is not None:
                self.login.failed(LEFT)
            self._reason = "client closed the connection"
            self.transport.unregisterProducer()
            self._over(self._reason)
        if self._former is not None:
            dissolve(self._former)
            self._former = None
        beam = self._beam
        beam.partings.met(self._never_read)
        beam.clients.discard(self)
        if not beam.clients:
            for deadlines in (beam.logins, beam.answers, beam.partings):
                deadlines.stop()
        if self._gone is not None:
            self._gone()

    def _over(self, reason: str) -> None:
        beam, conversation = self._beam, self.conversation
        beam.unauthenticated.discard(self, self._address)
        if self.key is not None:
            beam.cancel_keys.withdraw(*self.key)
        if self.console is not None:
            self.console.gone()
        if conversation is not None:
            beam.overtime.leave(conversation.session.id)
            conversation.gone(reason)
        if self.login is not None:
            self.login.give_up()
        if self.session is not None:
            beam.closed(self.session, reason)
            self.session.variables.forget()
        # Nothing is to wait for a collector of garbage.
        self.take = _ignore
        self._former = conversation
        self.conversation = self.login = self.session = None


def _ignore(_data: bytes) -> None:
    """What a client sends after its end."""
