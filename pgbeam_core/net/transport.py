"""Connectors, and clients that others have accepted: where sockets get their transports.

On Twisted's asyncio reactor they are the loop's own (`streams`), uvloop's where it runs; on any other reactor they are
Twisted's.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from twisted.internet.defer import Deferred, fail, maybeDeferred
from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint
from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from pgbeam_core.api.query import Target
from pgbeam_core.errors import PgBeamError, ServerUnavailable
from pgbeam_core.net import sockets, tls
from pgbeam_core.net.server_negotiation import ServerNegotiation, in_words
from pgbeam_core.net.streams import Bridge, Flusher
from pgbeam_core.net.throttle import Throttle

CONNECT_TIMEOUT = 15.0
"""Seconds to connect, TLS included, as PgBouncer's server_connect_timeout."""
BACKLOG = 1024


def adopt(reactor: Any, client: socket.socket, factory: IProtocolFactory) -> Deferred[Any]:
    """Serve a client that another process has accepted. The socket is the transport's from now on.

    Fails if the client has left before its protocol was connected.
    """
    client.setblocking(False)
    loop = _loop(reactor)
    if loop is None:
        twisteds = maybeDeferred(reactor.adoptStreamConnection, client.fileno(), client.family, factory)
        return twisteds.addBoth(_closing, client)
    adopted: Deferred[Any] = Deferred()

    def connected(task: asyncio.Task[Any]) -> None:
        failed = ConnectionError("given up") if task.cancelled() else task.exception()
        if failed is None:
            adopted.callback(None)
        else:
            adopted.errback(Failure(failed))

    loop.create_task(loop.connect_accepted_socket(_accepted(loop, factory), client)).add_done_callback(connected)
    return adopted


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


def connect(reactor: Any, target: Target, protocol: Any, *, encrypted: bool | None = None) -> Deferred[Any]:
    """Connect a protocol to a server's address. Fails with ServerUnavailable; may be cancelled.

    encrypted: only so; else as the target's sslmode has it.
    """
    ways = tls.ways(target)
    first = ways[0] if encrypted is None else encrypted
    try:
        connected = _connect(reactor, target, protocol, encrypted=first, optional=False in ways)
    except ServerUnavailable:
        return fail(Failure()).addErrback(_unavailable, target)
    if first and False in ways:
        connected.addErrback(_in_clear, reactor, target, protocol)
    return connected.addErrback(_unavailable, target)


def _in_clear(failure: Failure, reactor: Any, target: Target, protocol: Any) -> Deferred[Any]:
    """A handshake that fails is no reason not to connect, where TLS is a wish and no more."""
    failure.trap(ssl.SSLError)
    return _connect(reactor, target, protocol, encrypted=False, optional=True)


def _connect(reactor: Any, target: Target, protocol: Any, *, encrypted: bool, optional: bool) -> Deferred[Any]:
    loop = _loop(reactor)
    negotiation: ServerNegotiation | None = None
    if encrypted:
        prepared = tls.prepared(target)
        later = partial(reactor.callLater, 0)
        negotiation = ServerNegotiation(target, protocol, prepared, _throttle(reactor), later, optional=optional)
    first = protocol if negotiation is None else negotiation
    if loop is not None:
        return Deferred.fromFuture(loop.create_task(_in_time(loop, target, Bridge(first, _flusher(loop)), negotiation)))
    connected: Deferred[Any] = _endpoint(reactor, target).connect(_One(first))
    if negotiation is not None:
        done = negotiation.done
        connected.addCallback(lambda _: done.addTimeout(CONNECT_TIMEOUT, reactor))
    return connected


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
        return Bridge(factory.buildProtocol(None), _flusher(loop), prompt=not sockets.INHERITED)  # type: ignore[arg-type]

    return accepted


_throttles: WeakKeyDictionary[Any, Throttle] = WeakKeyDictionary()


def _throttle(reactor: Any) -> Throttle:
    """Handshakes with servers are done in slices too."""
    if reactor not in _throttles:
        _throttles[reactor] = Throttle(partial(reactor.callLater, 0), reactor.seconds)
    return _throttles[reactor]


async def _in_time(
    loop: asyncio.AbstractEventLoop, target: Target, bridge: Bridge, negotiation: ServerNegotiation | None
) -> None:
    async with asyncio.timeout(CONNECT_TIMEOUT):
        await _open(loop, target, bridge)
        if negotiation is not None:
            await negotiation.done.asFuture(loop)


async def _open(loop: asyncio.AbstractEventLoop, target: Target, bridge: Bridge) -> None:
    try:
        if target.host.startswith("/"):
            await loop.create_unix_connection(lambda: bridge, f"{target.host}/.s.PGSQL.{target.port}")
        else:
            await loop.create_connection(lambda: bridge, target.hostaddr or target.host, target.port)
    except BaseException:
        bridge.give_up()  # uvloop's transport is closed without a word; to write to it would raise
        raise


class _One(Factory):
    noisy = False

    def __init__(self, protocol: Any) -> None:
        self._protocol = protocol

    def buildProtocol(self, _addr: object) -> Any:
        return self._protocol


def _endpoint(reactor: Any, target: Target) -> Any:
    if target.host.startswith("/"):
        return UNIXClientEndpoint(reactor, f"{target.host}/.s.PGSQL.{target.port}", CONNECT_TIMEOUT)
    return HostnameEndpoint(reactor, (target.hostaddr or target.host).encode(), target.port, CONNECT_TIMEOUT)


def _unavailable(failure: Failure, target: Target) -> Any:
    error = failure.value
    if isinstance(error, TimeoutError | asyncio.TimeoutError) and not str(error):
        words = "timeout expired"
    elif isinstance(error, ssl.SSLError):
        words = in_words(error)
    else:
        words = getattr(error, "strerror", None) or failure.getErrorMessage()
    raise ServerUnavailable(f"could not connect to {target.address}: {words}")
