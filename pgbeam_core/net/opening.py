"""Opens servers, and sends cancel requests to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.python.failure import Failure

from pgbeam_core.api.opener import Opener
from pgbeam_core.api.pool import Identity, Relay, Server
from pgbeam_core.api.query import Role, Target
from pgbeam_core.catalog.identities import Identities
from pgbeam_core.catalog.isolation import Isolation
from pgbeam_core.errors import IdentityChanged, PgBeamError, ServerRefused, ServerUnavailable
from pgbeam_core.internal.credentials import StoredSecret
from pgbeam_core.net import sockets, tls, transport
from pgbeam_core.net.cancel import Canceller
from pgbeam_core.net.deadlines import LOGIN_TIMEOUT
from pgbeam_core.net.greeting import Greetings
from pgbeam_core.net.identifying import Identification, Told
from pgbeam_core.net.server import ServerProtocol
from pgbeam_core.net.transport import CONNECT_TIMEOUT

_CREDENTIALS = "28"
"""Class of the SQLSTATEs that are about who may log in."""
_MOST_TWINS = 10_000
"""Identities whose oids on a server that is no copy are remembered."""


class Limit:
    """The time that a login may take. A client that is asked for its password has time of its own, which others keep;
    LOGIN_TIMEOUT is the end for both."""

    def __init__(self, reactor: Any, seconds: float, relay: Relay | None, too_slow: Callable[[], None]) -> None:
        self._reactor = reactor
        self._seconds = seconds
        self._relay = relay
        self._too_slow = too_slow
        self._last = reactor.seconds() + LOGIN_TIMEOUT - seconds
        self._timer = reactor.callLater(seconds, self._over)

    def stop(self) -> None:
        """It has come to an end in time."""
        if self._timer.active():
            self._timer.cancel()

    def _over(self) -> None:
        if self._relay is not None and self._relay.unanswered and self._reactor.seconds() <= self._last:
            self._timer = self._reactor.callLater(self._seconds, self._over)
        else:
            self._too_slow()


class ServerOpener(Opener):
    """Opens servers of one target. Without `identities` they are not asked who they are: they serve no client.

    credentials: gives what answers a server's questions where no client does. at: the host to connect to, where the
    target has several. known: told when a server was who it was expected to be. timeout: seconds until a server has let
    PgBeam in, those aside in which a client is asked for its password. user_timeout: see `sockets.give_up_after`.
    """

    def __init__(
        self,
        reactor: Any,
        target: Target,
        *,
        prepared_limit: int,
        identities: Identities | None = None,
        isolation: Isolation | None = None,
        greetings: Greetings | None = None,
        credentials: Callable[[Identity], Relay] | None = None,
        at: Target | None = None,
        known: Callable[[Identity], None] = lambda identity: None,
        timeout: float = CONNECT_TIMEOUT,
        user_timeout: float = 0.0,
    ) -> None:
        self._reactor = reactor
        self._target = target
        self._at = target if at is None else at
        self._prepared_limit = prepared_limit
        self._timeout = timeout
        self._user_timeout = user_timeout
        self._identities = identities
        self._isolation = isolation
        self._greetings = greetings
        self._credentials = credentials
        self._known = known
        self._twins: dict[Identity, tuple[int, ...]] = {}
        """On a replica that is no physical copy, the oids that stand for those on the primary."""

    def __call__(self, identity: Identity, application_name: str | None, relay: Relay | None) -> Deferred[Server]:
        """Connect and log in: see `api.opener.Opener`."""
        of_nobody = relay is None
        if relay is None and self._credentials is not None:
            relay = self._credentials(identity)
        opened = self._either_way(identity, application_name, relay)
        if isinstance(relay, StoredSecret):
            opened.addErrback(self._refused, identity, application_name, relay)
        if of_nobody:
            opened.addCallback(_without_greeting)
        return opened

    def _refused(
        self, failure: Failure, identity: Identity, application_name: str | None, relay: StoredSecret
    ) -> Deferred[Server]:
        """A password may have been changed where PgBeam has it from."""
        error = failure.value
        if not isinstance(error, ServerRefused) or not error.sqlstate.startswith(_CREDENTIALS):
            return fail(failure)

        def again(is_another: bool) -> Deferred[Server]:
            return self._either_way(identity, application_name, relay) if is_another else fail(failure)

        return relay.refused().addCallback(again)

    def _either_way(self, identity: Identity, application_name: str | None, relay: Relay | None) -> Deferred[Server]:
        server, opened = self._open(identity, application_name, relay, encrypted=None)
        if len(tls.ways(self._at)) > 1:
            opened.addErrback(self._other_way, server, application_name, relay)
        return opened

    def _other_way(
        self, failure: Failure, server: ServerProtocol, application_name: str | None, relay: Relay | None
    ) -> Failure | Deferred[Server]:
        """As libpq's `allow` and `prefer`: pg_hba.conf may let in with TLS whom it refuses without, or the reverse."""
        error, was_encrypted = failure.value, bool(getattr(server.transport, "encrypted", False))
        refused = isinstance(error, ServerRefused) and error.sqlstate == "28000" and server.reproducible
        if not refused or was_encrypted != tls.ways(self._at)[0]:
            return failure
        return self._open(server.identity, application_name, relay, encrypted=not was_encrypted)[1]

    def _open(
        self, identity: Identity, application_name: str | None, relay: Relay | None, *, encrypted: bool | None
    ) -> tuple[ServerProtocol, Deferred[Server]]:
        reactor = self._reactor
        server = ServerProtocol(
            self._target,
            identity,
            application_name,
            now=reactor.seconds,
            later=lambda call: reactor.callLater(0, call),
            cancel=self.cancel,
            prepared_limit=self._prepared_limit,
            relay=relay,
        )
        server.address = self._at.address
        connecting: Deferred[Any] = Deferred()
        opened: Deferred[Server] = Deferred(lambda _: self._give_up(server, connecting, "given up"))
        limit = Limit(reactor, self._timeout, relay, lambda: self._give_up(server, connecting, "login timed out"))

        def over(result: Any) -> Any:
            limit.stop()
            return result

        if self._identities is not None and not dict(identity.parameters).get("replication"):
            server.ready.addCallback(self._identify, self._identities, self._identities.epoch())
        server.ready.addBoth(over)
        server.ready.addCallbacks(opened.callback, lambda failure: None if opened.called else opened.errback(failure))
        connecting = transport.connect(reactor, self._at, server, encrypted=encrypted)
        connecting.addCallbacks(
            lambda _: sockets.give_up_after(server.transport, self._user_timeout) if server.transport else None,
            server.failed,
        )
        return server, opened

    def _identify(self, server: ServerProtocol, identities: Identities, epoch: int) -> Deferred[ServerProtocol]:
        return Identification().ask(server).addCallback(self._identified, server, identities, epoch)

    def _identified(self, told: Told, server: ServerProtocol, identities: Identities, epoch: int) -> ServerProtocol:
        """It is who was asked for, or is closed."""
        oids, wanted = told.oids, server.identity
        server.left = lambda: identities.lost(self._target)
        server.in_template, server.recovering = told.in_template, told.recovering
        if not wanted.oids:
            server.identity = wanted._replace(oids=oids)
            identities.told(self._target, server.identity, epoch)
        elif oids == wanted.oids:
            identities.told(self._target, wanted, epoch)
            self._known(wanted)
        elif not self._is_twin(wanted, oids, recovering=told.recovering):
            identities.told(self._target, wanted._replace(oids=oids), epoch)
            message = _changed(wanted, oids)
            server.close(message)
            raise IdentityChanged(message, hint="Connect again.")
        if self._greetings is not None:
            self._greetings.told(self._target, server.identity, server.parameters_at_login)
        if self._isolation is not None:
            self._isolation.told(self._target, server.identity, told.isolation)
        return server

    def _is_twin(self, wanted: Identity, oids: tuple[int, ...], *, recovering: bool) -> bool:
        """Whether this is the counterpart, on a replica with oids of its own, of what the primary calls `wanted`."""
        if self._target.role is Role.PRIMARY or recovering or not oids:
            return False
        if len(self._twins) >= _MOST_TWINS:
            self._twins.clear()
        return self._twins.setdefault(wanted, oids) == oids

    def _give_up(self, server: ServerProtocol, connecting: Deferred[Any], reason: str) -> None:
        connecting.cancel()
        if server.alive:
            server.close(reason)
            return
        if server.reproducible:
            server.failed(Failure(ServerUnavailable(f"{self._at.address}: {reason}")))
        else:  # the server waits for the client's answer: the target is not to blame
            server.failed(Failure(PgBeamError("canceling authentication due to timeout", sqlstate="57014")))

    def cancel(self, server: ServerProtocol) -> Deferred[None]:
        """Ask the target's postmaster to cancel what a server is doing. Never fails."""
        canceller = Canceller(server.pid, server.secret, self._reactor)
        connecting = transport.connect(self._reactor, self._at, canceller)

        def in_vain(_failure: Failure) -> None:
            if not canceller.done.called:
                canceller.done.callback(None)

        connecting.addErrback(in_vain)
        return canceller.done


def _without_greeting(server: Server) -> Server:
    """What it said at its login is for nobody."""
    server.greeting.clear()
    return server


def _changed(wanted: Identity, oids: tuple[int, ...]) -> str:
    """What has changed since the client logged in, in words."""
    if oids[2:] != wanted.oids[2:]:
        return f'database "{wanted.database}" is not the one any more that this client connected to'
    return f'role "{wanted.user}" is not the one any more that this client logged in as'
