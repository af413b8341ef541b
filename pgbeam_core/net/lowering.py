"""A transport of Twisted's as one of an asyncio loop, so that a layer of TLS can stand on either."""

from __future__ import annotations

from typing import Any

from twisted.python.failure import Failure

from pgbeam_core.net.streams import Flusher, Stream


class Lowered:
    """The asyncio transport, as far as `Stream` and `Encrypted` use one; the Twisted protocol and producer below it."""

    def __init__(self, transport: Any, protocol: Any) -> None:
        self._transport = transport
        self._protocol = protocol
        self._received = protocol.dataReceived
        self.stream: Stream | None = None
        self._closing = False

    def redirect(self, _transport: Any, received: Any) -> None:
        """What arrives is for somebody else from now on, as with `streams.Bridge`."""
        self._received = received

    def write(self, data: bytes) -> None:
        self._transport.write(data)

    def writelines(self, pieces: list[bytes]) -> None:
        self._transport.write(b"".join(pieces))

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._transport.unregisterProducer()
            self._transport.loseConnection()

    def abort(self) -> None:
        self._transport.abortConnection()

    def is_closing(self) -> bool:
        """As an asyncio transport has it."""
        return self._closing or bool(self._transport.disconnecting)

    def pause_reading(self) -> None:
        self._transport.pauseProducing()

    def resume_reading(self) -> None:
        self._transport.resumeProducing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Of what asyncio's transports tell, the socket."""
        return self._transport.getHandle() if name == "socket" else default

    # As Twisted's transport sees it.

    def dataReceived(self, data: bytes) -> None:
        self._received(data)

    def connectionLost(self, reason: Failure) -> None:
        if self.stream is not None:
            self.stream.lost()
        self._protocol.connectionLost(reason)

    def pauseProducing(self) -> None:
        if self.stream is not None:
            self.stream.full()

    def resumeProducing(self) -> None:
        if self.stream is not None:
            self.stream.drained()

    def stopProducing(self) -> None:
        """Nothing more is wanted; `connectionLost` tells so too."""


def as_stream(transport: Any, protocol: Any, later: Any) -> Stream:
    """The Stream that a protocol stands on; one is made where it stands on a transport of Twisted's.

    later: calls back in the reactor's next turn. The protocol registers itself as the producer anew.
    """
    if isinstance(transport, Stream):
        return transport
    lowered = Lowered(transport, protocol)
    stream = Stream(lowered, Flusher(later))
    stream.stand_on(lowered)
    lowered.stream = stream
    transport.unregisterProducer()
    transport.protocol = lowered
    transport.registerProducer(lowered, True)
    return stream
