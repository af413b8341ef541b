"""Opens servers of a target whose host is a name: at its addresses, one after another until one of them answers.

The name is looked up again while servers are open, as PgBouncer does: those at addresses for which it does not stand
any more serve to the end of what they do, and are closed then.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from pgbeam_core.api.opener import Opener
from pgbeam_core.api.pool import Identity, Relay
from pgbeam_core.api.query import Target
from pgbeam_core.errors import PasswordNeeded, ServerProtocolError, ServerUnavailable
from pgbeam_core.upstream.members import is_turned_off
from pgbeam_core.upstream.names import AGAIN_S, Names

MOVED = "its name stands for other addresses now"


class NamedOpener(Opener):
    """See `Opener`. at(place): opens servers at one address. ttl(): how long addresses hold. timeout(): what there is
    for all of them together."""

    def __init__(
        self,
        names: Names,
        at: Callable[[Target], Opener],
        clock: Any,
        *,
        ttl: Callable[[], float],
        timeout: Callable[[], float],
    ) -> None:
        self.names = names
        self.at = at
        self.clock = clock
        self.timeout = timeout
        self._ttl = ttl
        self._moved: Callable[[Any, str], None] = lambda server, why: None
        self._servers: dict[Any, str | None] = {}
        """Those that are open, and their addresses."""
        self._doubted = False
        """Something was lost, or could not be reached, since the name was looked up."""
        self._timer: Any = None
        self._closed = False

    def __call__(self, identity: Identity, application_name: str | None, relay: Relay | None) -> Deferred[Any]:
        """Connect to the first address that answers, and log in."""
        return NamedAttempt(self, identity, application_name, relay).opened

    def on_moved(self, call: Callable[[Any, str], None]) -> None:
        """Call that with each server, and why, that is to go as soon as nobody has it."""
        self._moved = call

    def look(self) -> Deferred[list[Target]]:
        """The addresses, as far as they are known."""
        doubted, self._doubted = self._doubted, False
        return self.names.places(doubted=doubted).addCallback(self._found)

    def suspect(self) -> None:
        """An address could not be reached."""
        self._doubted = True

    def adopt(self, place: Target, server: Any) -> None:
        """A server was opened there."""
        self._servers[server] = place.hostaddr
        server.ended = lambda expected: self._ended(server, expected=expected)
        self._schedule()

    def close(self) -> None:
        """Look for nothing any more."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ended(self, server: Any, *, expected: bool) -> None:
        self._servers.pop(server, None)
        self._doubted = self._doubted or not expected

    def _found(self, places: list[Target]) -> list[Target]:
        addresses = {place.hostaddr for place in places}
        if None not in addresses:
            for server in [server for server, address in self._servers.items() if address not in addresses]:
                self._moved(server, MOVED)
        return places

    def _schedule(self) -> None:
        if self._timer is None and self._servers and not self._closed:
            self._timer = self.clock.callLater(max(self._ttl(), AGAIN_S), self._due)

    def _due(self) -> None:
        self._timer = None
        self.look().addBoth(lambda _: self._schedule())


class NamedAttempt:
    """To open one server. The next address is tried for as long as nobody was told or asked anything."""

    def __init__(
        self, opener: NamedOpener, identity: Identity, application_name: str | None, relay: Relay | None
    ) -> None:
        self.opened: Deferred[Any] = Deferred(self._cancelled)
        self._opener = opener
        self._identity = identity
        self._application_name = application_name
        self._relay = relay
        self._left: list[Target] = []
        self._until = opener.clock.seconds() + opener.timeout()
        self._timer: Any = None
        self._pending: Any = opener.look()
        self._pending.addCallbacks(self._begin, self._failed)

    def _begin(self, places: list[Target]) -> None:
        self._left = places
        if not self.opened.called:
            self._next()

    def _next(self) -> None:
        opener, place = self._opener, self._left.pop(0)
        if place.hostaddr is None:
            why = opener.names.why.get(place.host, "its name is still being looked up")
            self._failed(Failure(ServerUnavailable(f"could not connect to {place.address}: {why}")))
            return
        opening = opener.at(place)(self._identity, self._application_name, self._relay)
        self._pending = opening
        if self._left:  # one that swallows everything leaves the others their share of the time
            share = max(self._until - opener.clock.seconds(), 0.0) / (len(self._left) + 1)
            self._timer = opener.clock.callLater(share, self._too_long, opening)
        opening.addCallbacks(self._reached, self._not_reached, callbackArgs=(place,))

    @property
    def _spent(self) -> bool:
        return self._relay is not None and self._relay.spent

    def _too_long(self, opening: Deferred[Any]) -> None:
        self._timer = None
        if not self._spent:
            opening.cancel()

    def _reached(self, server: Any, place: Target) -> None:
        self._over()
        self._opener.adopt(place, server)
        self.opened.callback(server)

    def _not_reached(self, failure: Failure) -> None:
        self._over()
        error = failure.value
        gone = isinstance(error, ServerUnavailable) and not isinstance(error, PasswordNeeded | ServerProtocolError)
        if gone:
            self._opener.suspect()
        other = bool(self._left) and not self._spent
        if other and not self.opened.called and (gone or (error is not None and is_turned_off(error))):
            self._next()
        else:
            self._failed(failure)

    def _over(self) -> None:
        self._pending = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _failed(self, failure: Failure) -> None:
        self._over()
        if not self.opened.called:
            self.opened.errback(failure)

    def _cancelled(self, _deferred: object) -> None:
        """Whoever wanted it has left."""
        pending = self._pending
        self._over()
        self.opened.errback(Failure(ServerUnavailable("given up")))
        if pending is not None:
            pending.cancel()
