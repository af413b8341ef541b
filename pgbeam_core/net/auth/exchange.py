"""What is said to a client and asked of it until it is in, by PgBeam or by a server whose words are relayed."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred

from pgbeam_core.api.pool import Server
from pgbeam_core.wire import backend
from pgbeam_core.wire.authentication import AuthenticationSASL, auth_code
from pgbeam_core.wire.tags import Auth


class LoginExchange:
    """One client's login, a challenge at a time."""

    def __init__(self, write: Callable[[bytes], None], waits: Callable[[], None]) -> None:
        """`waits` is told each time that the client owes an answer."""
        self._write = write
        self._waits = waits
        self._heard: Callable[[bytes], None] | None = None
        self.asked = False
        """The client has been asked for an answer."""
        self.unanswered = False
        self.over = False
        """The client has been told that it is in; what it sends from now on is for later."""

    @property
    def spent(self) -> bool:
        """The client has been asked or told something."""
        return self.asked or self.over

    def put(self, frame: bytes, heard: Callable[[bytes], None]) -> None:
        """Send the client a challenge; `heard` is given the frame that it answers with, and must not raise."""
        self.asked = self.unanswered = True
        self._heard = heard
        self._waits()
        self._write(frame)

    def ask(self, frame: bytes) -> Deferred[bytes]:
        """As `put`, for who would rather wait. Cancelling what it gives is not to want the answer any more."""
        answer: Deferred[bytes] = Deferred(lambda _: self.forget())
        self.put(frame, answer.callback)
        return answer

    def forget(self) -> None:
        """Nobody wants the answer any more."""
        self._heard = None

    def say(self, frame: bytes) -> None:
        """Tell the client something that it does not answer."""
        self._write(frame)

    def respond(self, frame: bytes) -> bool:
        """The client's answer. False when nobody has asked for one."""
        heard, self._heard = self._heard, None
        if heard is None:
            return False
        self.unanswered = False
        heard(frame)
        return True

    def accepted(self) -> None:
        """Tell the client that it is who it says; what the server finds wrong with the rest comes after that."""
        if not self.over:
            self.over = True
            self._write(backend.AUTHENTICATION_OK)


class RelayedLogin:
    """A `Relay` between one client and one server: PostgreSQL checks, PgBeam sees and stores no password."""

    repeatable = False

    def __init__(self, exchange: LoginExchange) -> None:
        self._exchange = exchange
        self._server: Server | None = None

    @property
    def unanswered(self) -> bool:
        return self._exchange.unanswered

    @property
    def spent(self) -> bool:
        return self._exchange.spent

    def attach(self, server: Server) -> None:
        self._server = server

    def detach(self) -> None:
        """It has made up its mind."""
        self._server = None

    def accepted(self) -> None:
        self._exchange.accepted()

    def challenge(self, frame: bytes) -> None:
        """Pass the server's request on to the client."""
        code = auth_code(frame)
        if code is Auth.SASL_FINAL:
            self._exchange.say(frame)
            return
        if code is Auth.SASL:
            # Channel binding ties the exchange to one TLS connection; there are two here, or none.
            offered = AuthenticationSASL.from_bytes(frame).mechanisms
            frame = AuthenticationSASL(tuple(name for name in offered if not name.endswith(b"-PLUS"))).to_bytes()
        self._exchange.ask(frame).addCallback(self._answered)

    def _answered(self, frame: bytes) -> None:
        if self._server is not None:
            self._server.respond(frame)
