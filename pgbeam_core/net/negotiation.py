"""What a client and PgBeam agree upon before its startup packet: who it is behind a proxy, and encryption."""

from __future__ import annotations

import ssl
from dataclasses import replace
from typing import TYPE_CHECKING

from pgbeam_core.errors import ProtocolViolation, Unanswered
from pgbeam_core.net.certificates import ALPN
from pgbeam_core.net.encryption import Encrypted, described
from pgbeam_core.net.lowering import as_stream
from pgbeam_core.wire import backend
from pgbeam_core.wire.frames import MAX_AUTH_LENGTH
from pgbeam_core.wire.proxy_protocol import ProxyReader
from pgbeam_core.wire.startup import CancelRequest, GSSENCRequest, SSLRequest, StartupReader

if TYPE_CHECKING:
    from pgbeam_core.beam import Beam
    from pgbeam_core.net.client import ClientProtocol

_CLIENT_HELLO = 0x16
"""The first byte of a handshake. As the first of a startup packet's length it would be far too long."""
_IN_THE_MIDDLE = "This could be either a client-software bug or evidence of an attempted man-in-the-middle attack."


class Negotiation:
    """One client's, until its startup packet is there. Its steps wait for their turn among other clients'."""

    def __init__(self, client: ClientProtocol, beam: Beam) -> None:
        self._client = client
        self._later = beam.later
        self._entrance = beam.entrance
        self._reader = StartupReader()
        self._proxy = ProxyReader()
        self._held: list[bytes] = []
        self._queued = False
        self._is_first = True
        proxies = beam.entrance.proxies
        self._proxied = proxies is not None and proxies.trusts(client.channel.address)
        """A PROXY header must come first."""

    def received(self, data: bytes) -> None:
        """Take what the client says. Raises ProtocolViolation."""
        if not data:
            return
        self._held.append(data)
        if sum(map(len, self._held)) > MAX_AUTH_LENGTH:
            raise ProtocolViolation("too much data before the startup packet")
        if not self._queued:
            self._queued = True
            self._entrance.throttle.do(self._step)

    def _step(self) -> None:
        self._queued = False
        if self._client.over:
            return
        data, self._held = b"".join(self._held), []
        self._client.attempt(self._hear, data)

    def _hear(self, data: bytes) -> None:
        if self._proxied:
            self._header(data)
        elif self._is_first:
            self._first(data)
        else:
            self._startup(data)

    def _header(self, data: bytes) -> None:
        header = self._proxy.feed(data)
        if header is None:
            return
        channel = self._client.channel
        if header.authority is not None:
            channel = replace(channel, hostname=header.authority)
        if header.address is not None:
            channel = replace(channel, address=header.address, port=header.port)
        self._client.reached_by(channel)
        self._proxied = False
        rest = self._proxy.rest()
        if rest:
            self._first(rest)

    def _first(self, data: bytes) -> None:
        """The first byte tells whether TLS begins without a word before."""
        self._is_first = False
        if data[0] == _CLIENT_HELLO and self._tls_is_there:
            self._encrypt(data, direct=True)
        else:
            self._startup(data)

    @property
    def _tls_is_there(self) -> bool:
        """As in PostgreSQL, not on a socket in the file system."""
        return self._entrance.tls is not None and not self._client.channel.is_local

    def _startup(self, data: bytes) -> None:
        packet = self._reader.feed(data)
        if packet is None:
            return
        if isinstance(packet, SSLRequest):
            self._refuse_early_bytes("SSL", answered=not self._tls_is_there)
            if self._tls_is_there:
                self._client.write(b"S")
                self._encrypt(b"", direct=False)
        elif isinstance(packet, GSSENCRequest):
            self._refuse_early_bytes("GSSAPI encryption", answered=True)
        elif isinstance(packet, CancelRequest):
            self._client.cancel(packet)
        else:
            self._client.started(packet, self._reader.rest())

    def _refuse_early_bytes(self, kind: str, *, answered: bool) -> None:
        """A client that sends on without waiting for the answer may be an attacker's (CVE-2021-23214)."""
        if answered:
            self._client.write(b"N")
        if self._reader.rest():
            message = f"received unencrypted data after {kind} request"
            self._client.hang_up(message, backend.error_response("FATAL", "08P01", message, _IN_THE_MIDDLE))

    def _encrypt(self, first: bytes, *, direct: bool) -> None:
        client, tls = self._client, self._entrance.tls
        if tls is None or client.over:
            return
        stream = as_stream(client.transport, client, self._later)

        def opened() -> None:
            if direct and layer.tls.selected_alpn_protocol() != ALPN:
                self._failed(Unanswered("direct TLS without the application protocol postgresql"))
                return
            self._reader.encrypted()
            channel = replace(
                client.channel,
                encrypted=True,
                tls=described(layer.tls),
                hostname=getattr(layer.tls, "asked_for", None) or client.channel.hostname,
                certificate=layer.tls.getpeercert(True),
                server_certificate=tls.certificate,
            )
            client.reached_by(channel)

        layer = Encrypted(
            tls.context,
            self._entrance.throttle,
            opened=opened,
            failed=self._failed,
            deliver=client.dataReceived,
            server_side=True,
        )
        stream.stand_above(layer)
        client.stands_on(stream)
        if first:
            layer.received(first)

    def _failed(self, error: Exception) -> None:
        words = (error.reason or str(error)) if isinstance(error, ssl.SSLError) else str(error)
        self._entrance.failed_handshakes.failed(self._client.channel.address, words)
        self._client.hang_up(f"could not accept TLS: {words}")
