"""Twisted protocols on an asyncio loop's own transports: what uvloop is fast at, without Twisted's sockets between.

`Stream` is the transport that a Twisted protocol sees (ITransport, IConsumer and IPushProducer as far as PgBeam's
protocols use them); `Bridge` is the asyncio protocol that feeds it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IAddress
from twisted.logger import Logger
from twisted.python.failure import Failure

from pgbeam_core.net import sockets

log = Logger(__name__)

_AT_ONCE = 64 * 1024
"""Bytes that are handed to the loop without waiting for the end of its iteration: what a socket buffer holds."""


_PIECE = 256 * 1024
"""Bytes that the loop is given in one go; the rest waits until they are written, encrypted perhaps."""


_DONE = Failure(ConnectionDone())


class Flusher:
    """Writes once per loop iteration and socket, however often and from however many conversations it was asked to.

    A system call that wakes another process costs more than all that PgBeam does with a small message.
    """

    def __init__(self, soon: Callable[[Callable[[], None]], object]) -> None:
        """`soon` calls back in the loop's next iteration."""
        self._soon = soon
        self._dirty: list[Stream] = []

    def later(self, stream: Stream) -> None:
        """This one has something to write."""
        if not self._dirty:
            self._soon(self._flush)
        self._dirty.append(stream)

    def _flush(self) -> None:
        dirty, self._dirty = self._dirty, []
        for stream in dirty:
            try:
                stream.flush()
            except Exception:  # whatever is wrong with it, others have written too
                log.failure("a connection could not be written to: it is closed")
                stream.abortConnection()


class Stream:
    """A transport for one Twisted protocol."""

    disconnecting = False

    def __init__(self, transport: Any, flusher: Flusher) -> None:
        self._transport = transport
        self._flusher = flusher
        self._below: Any = None
        """Hands over what arrives."""
        self._layer: Any = None
        """What stands between this and the socket's transport, if anything does."""
        self._producer: Any = None
        self._held: list[bytes] = []
        self._held_size = 0
        self._waiting: deque[bytes] = deque()
        """What is more than the loop is given in one go."""
        self._start = 0
        """Where the first of these goes on."""
        self._is_full = False
        self._asked = False
        """The next piece is to follow in the next iteration."""
        self._closing = False
        # uvloop's transports may be paused and resumed once each; ours as often as anybody likes.
        self._paused = False

    def stand_above(self, layer: Any) -> None:
        """Stand on a layer that stands on what this has stood on: it is written to, and gets what arrives."""
        self.flush()
        layer.lower = self._transport
        self._transport = self._layer = layer
        self._below.redirect(layer.lower, layer.received)

    def redirect(self, received: Callable[[bytes], None]) -> None:
        """What arrives is for another protocol from now on."""
        self._below.redirect(self._transport, received)

    @property
    def encrypted(self) -> bool:
        return self._layer is not None

    def stand_on(self, below: Any) -> None:
        """That is who hands over what arrives."""
        self._below = below

    def write(self, data: bytes) -> None:
        """Send bytes, at the latest at the end of this iteration of the loop."""
        if self.disconnecting:
            return
        if self._waiting:
            self._waiting.append(data)
            return
        if not self._held:
            self._flusher.later(self)
        self._held.append(data)
        self._held_size += len(data)
        if self._held_size > _AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Hand what is held to the loop."""
        held = self._held
        if held:
            size = self._held_size
            self._held = []
            self._held_size = 0
            if size > _PIECE:
                self._waiting.extend(held)
                if self._producer is not None:
                    self._producer.pauseProducing()
                self._pass_on()
            elif size > _AT_ONCE:
                self._transport.writelines(held)  # nothing large is copied
            else:
                self._transport.write(held[0] if len(held) == 1 else b"".join(held))
        elif self._waiting:
            self._asked = False
            self._pass_on()

    def _pass_on(self) -> None:
        """Give the loop a piece of what waits; the next one when it asks for more, or else in its next iteration."""
        waiting, room = self._waiting, _PIECE
        pieces: list[bytes] = []
        while waiting and room and not self._is_full:
            first, start = waiting[0], self._start
            if len(first) - start > room:
                pieces.append(first[start : start + room])
                self._start, room = start + room, 0
            else:
                pieces.append(first[start:])
                waiting.popleft()
                self._start, room = 0, room - len(pieces[-1])
        if pieces:
            self._transport.writelines(pieces)
        if waiting:
            if not (self._is_full or self._asked):
                self._asked = True
                self._flusher.later(self)
        elif self._closing:
            self._transport.close()
        elif not self._is_full and self._producer is not None:
            self._producer.resumeProducing()

    def loseConnection(self) -> None:
        """Close when all is written."""
        self._producer = None
        self.flush()
        if self._waiting:
            self.disconnecting = self._closing = True
        else:
            self._over()
            self._transport.close()

    def abortConnection(self) -> None:
        self._over()
        self._transport.abort()

    def _over(self) -> None:
        self.disconnecting = True
        self._held = []
        self._waiting.clear()
        self._closing = False

    def lost(self) -> None:
        """The socket is gone: what is written now goes nowhere."""
        self._over()
        self._producer = self._below = None
        if self._layer is not None:
            self._layer.forget()

    def pauseProducing(self) -> None:
        if not self._paused and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()

    def resumeProducing(self) -> None:
        if self._paused and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Tell that producer to pause when too much is waiting to be written, and when it may go on."""
        self._producer = producer

    def unregisterProducer(self) -> None:
        self._producer = None

    def full(self) -> None:
        """Too much is waiting to be written."""
        self._is_full = True
        if self._producer is not None:
            self._producer.pauseProducing()

    def drained(self) -> None:
        """Most of it is written."""
        self._is_full = False
        if self._waiting:
            self._pass_on()
        elif self._producer is not None:
            self._producer.resumeProducing()

    def peername(self) -> Any:
        """Address and port of the other end, as an asyncio transport has them: cheaper than `getPeer`."""
        return self._transport.get_extra_info("peername")

    def getPeer(self) -> IAddress:
        """Who is at the other end."""
        return _address(self.peername())

    def getHost(self) -> IAddress:
        return _address(self._transport.get_extra_info("sockname"))

    def getHandle(self) -> Any:
        """The socket, for its options."""
        return self._transport.get_extra_info("socket")


class Bridge(asyncio.Protocol):
    """Feeds a Twisted protocol from an asyncio transport. `prompt`: its socket has not got its options yet."""

    def __init__(self, protocol: Any, flusher: Flusher, *, prompt: bool = True) -> None:
        self._protocol = protocol
        self._prompt = prompt
        self._flusher = flusher
        self._stream: Stream | None = None
        # Looked up once by the loop, so a chunk costs no call of ours.
        self.data_received = protocol.dataReceived  # type: ignore[method-assign]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self._prompt:
            sockets.prompt(transport.get_extra_info("socket"))
        self._stream = Stream(transport, self._flusher)
        self._stream.stand_on(self)
        self._protocol.makeConnection(self._stream)

    def redirect(self, transport: Any, received: Callable[[bytes], None]) -> None:
        """What arrives is for somebody else from now on."""
        self.data_received = received  # type: ignore[method-assign,assignment]
        transport.set_protocol(self)  # which has the loop look it up again

    def give_up(self) -> None:
        """Connecting is given up, and the socket closed: its transport may have been handed over just before that."""
        if self._stream is not None:
            self._stream.lost()

    def pause_writing(self) -> None:
        if self._stream is not None:
            self._stream.full()

    def resume_writing(self) -> None:
        if self._stream is not None:
            self._stream.drained()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._stream is not None:
            self._stream.lost()
        self._protocol.connectionLost(_DONE if exc is None else Failure(ConnectionLost(str(exc))))


def _address(name: Any) -> IAddress:
    if isinstance(name, tuple) and len(name) == 2:
        return IPv4Address("TCP", *name)
    if isinstance(name, tuple):
        return IPv6Address("TCP", *name)
    return UNIXAddress(name or None)
