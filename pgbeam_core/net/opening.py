"""Opens servers, and sends cancel requests to them."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from pgbeam_core import leases
from pgbeam_core.errors import PgBeamError, UpstreamUnavailable
from pgbeam_core.leases import Identity, Relay
from pgbeam_core.net import transport
from pgbeam_core.net.cancel import Canceller
from pgbeam_core.net.deadlines import LOGIN_TIMEOUT
from pgbeam_core.net.server import Server
from pgbeam_core.query import Target


class Opener:
    """Opens servers of one target."""

    def __init__(self, reactor: Any, target: Target, *, prepared_limit: int) -> None:
        self._reactor = reactor
        self._target = target
        self._prepared_limit = prepared_limit

    def __call__(
        self, identity: Identity, application_name: str | None, relay: Relay | None
    ) -> Deferred[leases.Server]:
        """Connect and log in: see `leases.Opener`."""
        reactor = self._reactor
        server = Server(
            self._target,
            identity,
            application_name,
            now=reactor.seconds,
            cancel=self.cancel,
            prepared_limit=self._prepared_limit,
            relay=relay,
        )
        connecting: Deferred[Any] = Deferred()
        opened: Deferred[leases.Server] = Deferred(lambda _: self._give_up(server, connecting, "given up"))
        timeout = reactor.callLater(LOGIN_TIMEOUT, lambda: self._give_up(server, connecting, "login timed out"))

        def over(result: Any) -> Any:
            if timeout.active():
                timeout.cancel()
            return result

        server.ready.addBoth(over)
        server.ready.addCallbacks(opened.callback, lambda failure: None if opened.called else opened.errback(failure))
        connecting = transport.connect(reactor, self._target, server)
        connecting.addErrback(server.failed)
        return opened

    def _give_up(self, server: Server, connecting: Deferred[Any], reason: str) -> None:
        connecting.cancel()
        if server.reproducible:
            server.failed(Failure(UpstreamUnavailable(f"{self._target.address}: {reason}")))
        else:  # the server waits for the client's answer: the target is not to blame
            server.failed(Failure(PgBeamError("canceling authentication due to timeout", sqlstate="57014")))

    def cancel(self, server: Server) -> Deferred[None]:
        """Ask the target's postmaster to cancel what a server is doing. Never fails."""
        canceller = Canceller(server.pid, server.secret, self._reactor)
        connecting = transport.connect(self._reactor, self._target, canceller)

        def in_vain(_failure: Failure) -> None:
            if not canceller.done.called:
                canceller.done.callback(None)

        connecting.addErrback(in_vain)
        return canceller.done
