"""Listeners and connectors: where sockets come from."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, TCP4ServerEndpoint, TCP6ServerEndpoint, UNIXClientEndpoint
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure

from pgbeam_core.errors import UpstreamUnavailable
from pgbeam_core.query import Target

CONNECT_TIMEOUT = 15.0
"""Seconds to connect, as PgBouncer's server_connect_timeout."""
BACKLOG = 1024


class _One(Factory):
    noisy = False

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol

    def buildProtocol(self, _addr: object) -> Protocol:  # type: ignore[override]
        return self._protocol


def listen(reactor: Any, host: str, port: int, factory: IProtocolFactory) -> Deferred[IListeningPort]:
    """Listen on a TCP address."""
    endpoint = TCP6ServerEndpoint if ":" in host else TCP4ServerEndpoint
    return endpoint(reactor, port, BACKLOG, host).listen(factory)


def connect(reactor: Any, target: Target, protocol: Protocol) -> Deferred[Any]:
    """Connect a protocol to a server's address. Fails with UpstreamUnavailable."""
    if target.host.startswith("/"):
        endpoint: Any = UNIXClientEndpoint(reactor, f"{target.host}/.s.PGSQL.{target.port}", CONNECT_TIMEOUT)
    else:
        endpoint = HostnameEndpoint(reactor, target.host.encode(), target.port, CONNECT_TIMEOUT)
    connected: Deferred[Any] = endpoint.connect(_One(protocol))
    connected.addCallbacks(_prompt, lambda failure: _unavailable(failure, target))
    return connected


def _prompt(protocol: Any) -> Any:
    """Small messages must not wait for one another, and a peer that vanished must be noticed."""
    transport = protocol.transport
    if hasattr(transport, "setTcpNoDelay"):
        transport.setTcpNoDelay(True)
        transport.setTcpKeepAlive(True)
    return protocol


def _unavailable(failure: Failure, target: Target) -> Any:
    failure.trap(ConnectError, DNSLookupError, OSError, Exception)
    raise UpstreamUnavailable(f"could not connect to {target.address}: {failure.getErrorMessage()}")
