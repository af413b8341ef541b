"""Twisted protocols on an asyncio loop's own transports: what uvloop is fast at, without Twisted's sockets between.

`Stream` is the transport that a Twisted protocol sees (ITransport, IConsumer and IPushProducer as far as PgBeam's
protocols use them); `Bridge` is the asyncio protocol that feeds it. uvloop writes once per loop iteration and socket,
however often `write` was called.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IAddress
from twisted.python.failure import Failure

_KEEPALIVE = (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4))
"""A peer that vanished without a word is noticed after two minutes instead of two hours."""


class Stream:
    """A transport for one Twisted protocol."""

    disconnecting = False

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._producer: Any = None
        self.write: Callable[[bytes], None] = transport.write
        # uvloop's transports may be paused and resumed once each; ours as often as anybody likes.
        self._paused = False

    def loseConnection(self) -> None:
        """Close when all is written."""
        self._over()
        self._transport.close()

    def abortConnection(self) -> None:
        """Close at once."""
        self._over()
        self._transport.abort()

    def _over(self) -> None:
        self.disconnecting = True
        self.write = _nowhere

    def lost(self) -> None:
        """The socket is gone: what is written now goes nowhere."""
        self._over()
        self._producer = None

    def pauseProducing(self) -> None:
        """Do not read."""
        if not self._paused and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()

    def resumeProducing(self) -> None:
        """Read on."""
        if self._paused and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Tell that producer to pause when too much is waiting to be written, and when it may go on."""
        self._producer = producer

    def unregisterProducer(self) -> None:
        """Tell nobody."""
        self._producer = None

    def full(self) -> None:
        """Too much is waiting to be written."""
        if self._producer is not None:
            self._producer.pauseProducing()

    def drained(self) -> None:
        """Most of it is written."""
        if self._producer is not None:
            self._producer.resumeProducing()

    def getPeer(self) -> IAddress:
        """Who is at the other end."""
        return _address(self._transport.get_extra_info("peername"))

    def getHost(self) -> IAddress:
        """Our own end."""
        return _address(self._transport.get_extra_info("sockname"))


class Bridge(asyncio.Protocol):
    """Feeds a Twisted protocol from an asyncio transport."""

    def __init__(self, protocol: Any) -> None:
        self._protocol = protocol
        self._stream: Stream | None = None
        # Looked up once by the loop, so a chunk costs no call of ours.
        self.data_received = protocol.dataReceived

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected."""
        _prompt(transport.get_extra_info("socket"))
        self._stream = Stream(transport)
        self._protocol.makeConnection(self._stream)

    def pause_writing(self) -> None:
        """Above the high-water mark."""
        if self._stream is not None:
            self._stream.full()

    def resume_writing(self) -> None:
        """Below the low-water mark."""
        if self._stream is not None:
            self._stream.drained()

    def connection_lost(self, exc: Exception | None) -> None:
        """Closed, by whichever side."""
        if self._stream is not None:
            self._stream.lost()
        self._protocol.connectionLost(Failure(ConnectionDone() if exc is None else ConnectionLost(str(exc))))


class Port:
    """A listening socket, as Twisted's IListeningPort shows it."""

    def __init__(self, server: asyncio.Server) -> None:
        self._server = server
        self._where = server.sockets[0].getsockname()

    def getHost(self) -> IAddress:
        """Where it listens."""
        return _address(self._where)

    def stopListening(self) -> None:
        """No new connections; those that are there stay."""
        self._server.close()


def _prompt(sock: Any) -> None:
    """Small messages must not wait for one another, and a peer that vanished must be noticed."""
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE:
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _address(name: Any) -> IAddress:
    if isinstance(name, tuple) and len(name) == 2:
        return IPv4Address("TCP", *name)
    if isinstance(name, tuple):
        return IPv6Address("TCP", *name)
    return UNIXAddress(name or None)


def _nowhere(_data: bytes) -> None:
    """The connection is closed."""
