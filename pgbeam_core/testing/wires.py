"""Connections without sockets: what one end writes arrives at the other when `pump` is called."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from pgbeam_core.testing.chunks import Chunks


def _done() -> Failure:
    failure: Any = Failure
    done: Failure = failure(ConnectionDone())
    return done


class End:
    """The transport of one end."""

    def __init__(self, protocol: Any, address: str) -> None:
        self.protocol = protocol
        self.peer: End
        self.closed = False
        self.disconnecting = False
        self._address = IPv4Address("TCP", address, 50_000)
        self._written: list[bytes] = []
        self._paused = False

    def write(self, data: bytes) -> None:
        """Send, unless it is closing."""
        if not self.disconnecting:
            self._written.append(data)

    def loseConnection(self) -> None:
        """Close when all is sent."""
        self.disconnecting = True

    def abortConnection(self) -> None:
        """Close without sending what was written."""
        self._written.clear()
        self.disconnecting = True

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Nothing here is ever full."""

    def unregisterProducer(self) -> None:
        """Does nothing, as `registerProducer`: nothing here is ever full."""

    def getPeer(self) -> IPv4Address:
        """The address of the other end."""
        return self.peer._address

    def move(self, chunks: Chunks) -> bool:
        """Bring what was written to the other end, and the end of it. False if there was nothing to do."""
        if self._written and not self.peer._paused:
            data, self._written = b"".join(self._written), []
            for chunk in chunks(data):
                if not self.peer.disconnecting:
                    self.peer.protocol.dataReceived(chunk)
            return True
        if self.disconnecting and not self.closed:
            self._close()
            return True
        return False

    def _close(self) -> None:
        for end in (self, self.peer):
            if not end.closed:
                end.closed = end.disconnecting = True
                end.protocol.connectionLost(_done())


class Wires:
    """All connections of a rehearsal."""

    def __init__(self, chunks: Chunks) -> None:
        self._chunks = chunks
        self._ends: list[End] = []

    def join(self, caller: Any, listener: Any, *, caller_address: str = "127.0.0.1") -> None:
        """Connect two protocols: what one writes arrives at the other in chunks, when it is pumped."""
        near, far = End(caller, caller_address), End(listener, "127.0.0.1")
        near.peer, far.peer = far, near
        self._ends += [near, far]
        for end in (far, near):
            protocol: Any = end.protocol
            protocol.makeConnection(end)

    def pump(self) -> None:
        """Move everything until nothing moves."""
        moving = True
        while moving:
            moved = [end.move(self._chunks) for end in list(self._ends)]
            moving = any(moved)
            self._ends = [end for end in self._ends if not end.closed]
