"""A client's authentication, relayed to a fresh server: PostgreSQL checks it, PgBeam sees and stores no password."""

from __future__ import annotations

from collections.abc import Callable

from pgbeam_core.api.pool import Server
from pgbeam_core.wire import backend
from pgbeam_core.wire.authentication import AuthenticationSASL, auth_code
from pgbeam_core.wire.tags import Auth


class RelayedLogin:
    """Stands between one client and one server while they agree on who the client is."""

    def __init__(self, write: Callable[[bytes], None], waits: Callable[[], None]) -> None:
        """`waits` is told each time that the client owes an answer."""
        self._write = write
        self._waits = waits
        self._server: Server | None = None
        self.asked = False
        """The server has asked for an answer of the client's."""
        self.unanswered = False
        self.over = False
        """The client has been told that it is in; what it sends from now on is for later."""

    def attach(self, server: Server) -> None:
        self._server = server

    def detach(self) -> None:
        """It has made up its mind."""
        self._server = None

    def accepted(self) -> None:
        """Tell the client that it is who it says; what the server finds wrong with the rest comes after that."""
        self.over = True
        self._write(backend.AUTHENTICATION_OK)

    def challenge(self, frame: bytes) -> None:
        """Pass the server's request on to the client."""
        code = auth_code(frame)
        if code is not Auth.SASL_FINAL:
            self.asked = self.unanswered = True
            self._waits()
        if code is Auth.SASL:
            # Channel binding ties the exchange to one TLS connection; there are two here, or none.
            offered = AuthenticationSASL.from_bytes(frame).mechanisms
            frame = AuthenticationSASL(tuple(name for name in offered if not name.endswith(b"-PLUS"))).to_bytes()
        self._write(frame)

    def respond(self, frame: bytes) -> bool:
        """Pass the client's answer on. False when nobody has asked for one."""
        if self._server is None:
            return False
        self.unanswered = False
        self._server.respond(frame)
        return True
