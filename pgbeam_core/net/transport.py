"""Listeners and connectors: where sockets come from.

On Twisted's asyncio reactor they are the loop's own (`streams`), uvloop's where it runs; on any other reactor they are
Twisted's, without TLS.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint
from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from pgbeam_core.api.query import Target
from pgbeam_core.errors import PgBeamError, ServerUnavailable
from pgbeam_core.net import tls
from pgbeam_core.net.streams import Bridge, Flusher
from pgbeam_core.wire.startup import SSLRequest

CONNECT_TIMEOUT = 15.0
"""Seconds to connect, TLS included, as PgBouncer's server_connect_timeout."""
BACKLOG = 1024


def adopt(reactor: Any, client: socket.socket, factory: IProtocolFactory) -> Deferred[Any]:
    """Serve a client that another process has accepted. The socket is the transport's from now on.

    Fails if the client has left before its protocol was connected.
    """
    client.setblocking(False)
    loop = _loop(reactor)
    if loop is not None:
        return Deferred.fromFuture(loop.create_task(loop.connect_accepted_socket(_accepted(loop, factory), client)))
    adopted = maybeDeferred(reactor.adoptStreamConnection, client.fileno(), client.family, factory)
    return adopted.addBoth(_closing, client)


def _closing(result: Any, duplicated: socket.socket) -> Any:
    duplicated.close()
    return result


def cannot_listen(where: object, error: BaseException) -> PgBeamError:
    """What to say about an address on which there is no listening."""
    cause = getattr(error, "socketError", error)
    text = getattr(cause, "strerror", None) or str(cause)
    if getattr(cause, "errno", None) == errno.EADDRINUSE:
        text += ". Is another PgBeam or PgBouncer running? Choose another with --listen HOST:PORT"
    return PgBeamError(f"cannot listen on {where}: {text}")


def connect(reactor: Any, target: Target, protocol: Any) -> Deferred[Any]:
    """Connect a protocol to a server's address. Fails with ServerUnavailable; may be cancelled."""
    loop = _loop(reactor)
    if loop is not None:
        bridge = Bridge(protocol, _flusher(loop))
        task = loop.create_task(_connect_in_time(loop, target, bridge))
        connected: Deferred[Any] = Deferred.fromFuture(task)
    else:
        connected = _endpoint(reactor, target).connect(_One(protocol))
    return connected.addErrback(_unavailable, target)


def _loop(reactor: Any) -> asyncio.AbstractEventLoop | None:
    loop: asyncio.AbstractEventLoop | None = getattr(reactor, "_asyncioEventloop", None)
    return loop


_flushers: WeakKeyDictionary[asyncio.AbstractEventLoop, Flusher] = WeakKeyDictionary()


def _flusher(loop: asyncio.AbstractEventLoop) -> Flusher:
    if loop not in _flushers:
        _flushers[loop] = Flusher(loop.call_soon)
    return _flushers[loop]


def _accepted(loop: asyncio.AbstractEventLoop, factory: IProtocolFactory) -> Callable[[], Bridge]:
    def accepted() -> Bridge:
        return Bridge(factory.buildProtocol(None), _flusher(loop))  # type: ignore[arg-type]

    return accepted


async def _connect_in_time(loop: asyncio.AbstractEventLoop, target: Target, bridge: Bridge) -> None:
    async with asyncio.timeout(CONNECT_TIMEOUT):
        await _connect(loop, target, bridge)


async def _connect(loop: asyncio.AbstractEventLoop, target: Target, bridge: Bridge) -> None:
    if not tls.wanted(target):
        await _open(loop, target, bridge)
        return
    question = _Question()
    transport = await _open(loop, target, question)
    try:
        transport.write(SSLRequest().to_bytes())
        answer = await question.answer
        if answer == b"S":
            await _encrypt(loop, transport, bridge, target)
            return
    except BaseException:
        transport.abort()
        raise
    if answer == b"N" and not tls.required(target):
        transport.set_protocol(bridge)
        bridge.connection_made(transport)
        return
    transport.abort()
    raise ServerUnavailable("server does not support SSL, but SSL was required")


async def _encrypt(loop: asyncio.AbstractEventLoop, transport: Any, bridge: Bridge, target: Target) -> None:
    context = tls.context(target)
    encrypted = await loop.start_tls(transport, bridge, context, server_hostname=target.host)
    assert encrypted is not None
    bridge.connection_made(encrypted)


async def _open(loop: asyncio.AbstractEventLoop, target: Target, protocol: asyncio.Protocol) -> Any:
    if target.host.startswith("/"):
        path = f"{target.host}/.s.PGSQL.{target.port}"
        return (await loop.create_unix_connection(lambda: protocol, path))[0]
    return (await loop.create_connection(lambda: protocol, target.host, target.port))[0]


class _Question(asyncio.Protocol):
    """Waits for the one byte with which a server answers SSLRequest."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        """More than one byte here would be an attacker's, or an error message of a very old server."""
        if not self.answer.done():
            self.answer.set_result(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.answer.done():
            self.answer.set_exception(ServerUnavailable("server closed the connection unexpectedly"))


class _One(Factory):
    noisy = False

    def __init__(self, protocol: Any) -> None:
        self._protocol = protocol

    def buildProtocol(self, _addr: object) -> Any:
        return self._protocol


def _endpoint(reactor: Any, target: Target) -> Any:
    if tls.required(target):
        raise ServerUnavailable(f"sslmode={target.sslmode} needs Twisted's asyncio reactor")
    if target.host.startswith("/"):
        return UNIXClientEndpoint(reactor, f"{target.host}/.s.PGSQL.{target.port}", CONNECT_TIMEOUT)
    return HostnameEndpoint(reactor, target.host.encode(), target.port, CONNECT_TIMEOUT)


def _unavailable(failure: Failure, target: Target) -> Any:
    error = failure.value
    if isinstance(error, TimeoutError | asyncio.TimeoutError) and not str(error):
        words = "timeout expired"
    elif isinstance(error, ssl.SSLError):
        words = f"SSL error: {getattr(error, 'verify_message', '') or error.reason or error}"
    else:
        words = getattr(error, "strerror", None) or failure.getErrorMessage()
    raise ServerUnavailable(f"could not connect to {target.address}: {words}")
