"""The first words with a server, which settle encryption."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from pgbeam_core.api.query import Target
from pgbeam_core.errors import ServerUnavailable
from pgbeam_core.net.certificates import ALPN
from pgbeam_core.net.encryption import Encrypted
from pgbeam_core.net.lowering import as_stream
from pgbeam_core.net.throttle import Throttle
from pgbeam_core.net.tls import ServerTls
from pgbeam_core.wire.startup import SSLRequest


class ServerNegotiation:
    """A Twisted protocol that hands its connection to another one. `done` fires then, or fails.

    optional: a server without TLS will do. later: calls back in the reactor's next turn.
    """

    def __init__(
        self,
        target: Target,
        protocol: Any,
        prepared: ServerTls,
        throttle: Throttle,
        later: Callable[[Callable[[], None]], object],
        *,
        optional: bool,
    ) -> None:
        self.transport: Any = None
        self.done: Deferred[None] = Deferred(lambda _: self.transport.abortConnection() if self.transport else None)
        self._target = target
        self._protocol = protocol
        self._prepared = prepared
        self._throttle = throttle
        self._later = later
        self._optional = optional
        self._handed = False

    def makeConnection(self, transport: Any) -> None:
        """Ask, or begin without asking."""
        self.transport = transport
        if hasattr(transport, "setTcpNoDelay"):
            transport.setTcpNoDelay(True)
            transport.setTcpKeepAlive(True)
        if self._target.sslnegotiation == "direct":
            self._encrypt()
        else:
            transport.write(SSLRequest().to_bytes())

    def dataReceived(self, data: bytes) -> None:
        """The one byte with which a server answers; more would be an attacker's."""
        if self._handed or self.done.called:
            return
        if data == b"S":
            self._encrypt()
        elif data == b"N" and self._optional:
            self._hand_over_plain()
        elif data == b"N":
            self._fail(ServerUnavailable("server does not support SSL, but SSL was required"))
        elif data[:1] in (b"S", b"N"):
            self._fail(ServerUnavailable("received unencrypted data after SSL response"))
        else:
            self._fail(ServerUnavailable("received invalid response to SSL negotiation"))

    def connectionLost(self, reason: Failure) -> None:
        """The socket is closed, whoever has it by now."""
        if self._handed:
            self._protocol.connectionLost(reason)
        elif not self.done.called:
            self.done.errback(ServerUnavailable("server closed the connection unexpectedly"))

    def _hand_over_plain(self) -> None:
        stream = as_stream(self.transport, self, self._later)
        stream.redirect(self._protocol.dataReceived)
        self._hand_over(stream)

    def _encrypt(self) -> None:
        target, stream = self._target, as_stream(self.transport, self, self._later)
        try:
            layer = self._layer(target.host if target.sslsni or target.sslmode == "verify-full" else None)
        except ValueError as error:  # the host is no name that TLS knows
            self._fail(ServerUnavailable(f"SSL error: {error}"))
            return
        stream.stand_above(layer)
        self.transport = stream
        layer.begin()

    def _layer(self, hostname: str | None) -> Encrypted:
        def opened() -> None:
            if self._target.sslnegotiation == "direct" and layer.tls.selected_alpn_protocol() != ALPN:
                self._fail(ServerUnavailable("direct SSL connection was established without ALPN protocol negotiation"))
                return
            self._prepared.latest = layer.tls
            self._hand_over(self.transport)

        layer = Encrypted(
            self._prepared.context,
            self._throttle,
            opened=opened,
            failed=self._fail,
            deliver=self._protocol.dataReceived,
            server_side=False,
            hostname=hostname,
            session=self._prepared.session,
        )
        return layer

    def _hand_over(self, stream: Any) -> None:
        if self.done.called:  # it was given up
            stream.abortConnection()
            return
        self._handed = True
        self._protocol.makeConnection(stream)
        self.done.callback(None)

    def _fail(self, error: Exception) -> None:
        self.transport.abortConnection()
        if not self.done.called:
            self.done.errback(error)


def in_words(error: ssl.SSLError) -> str:
    """What is wrong with a server's TLS."""
    return f"SSL error: {getattr(error, 'verify_message', '') or error.reason or error}"
