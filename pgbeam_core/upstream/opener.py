"""Opens servers of whichever host is the primary now, and waits for one while there is none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from pgbeam_core.api.opener import Opener
from pgbeam_core.api.pool import Identity, Relay
from pgbeam_core.api.query import Target
from pgbeam_core.errors import PasswordNeeded, ServerProtocolError, ServerUnavailable
from pgbeam_core.upstream.member import Member
from pgbeam_core.upstream.members import Members, is_turned_off

_AGAIN_S = 0.1
"""Seconds before a host that was the primary a moment ago, and could not be reached, is tried once more."""


class PrimaryOpener(Opener):
    """See `Opener`. at(place): opens servers of one host. hold_s: how long there may be no primary."""

    def __init__(self, members: Members, at: Callable[[Target], Opener], clock: Any, hold_s: float) -> None:
        self.members = members
        self.at = at
        self.clock = clock
        self.hold_s = hold_s

    def __call__(self, identity: Identity, application_name: str | None, relay: Relay | None) -> Deferred[Any]:
        """Connect to the primary and log in; without one, wait for it."""
        return Attempt(self, identity, application_name, relay).opened

    @property
    def holds(self) -> bool:
        """Who waits for a server is not to be sent away because one could not be opened."""
        return self.hold_s > 0

    @property
    def missing(self) -> bool:
        """There is no primary, as far as is known."""
        return self.members.missing

    def on_found(self, call: Callable[[], None]) -> None:
        """Call that whenever there is a primary again."""
        self.members.found = call


class Attempt:
    """To open one server. It begins anew as often as it takes, for as long as nobody was told or asked anything."""

    def __init__(
        self, opener: PrimaryOpener, identity: Identity, application_name: str | None, relay: Relay | None
    ) -> None:
        self.opened: Deferred[Any] = Deferred(self._cancelled)
        self._opener = opener
        self._identity = identity
        self._application_name = application_name
        self._relay = relay
        self._until = opener.clock.seconds() + opener.hold_s
        self._pending: Any = None
        """What is waited for: the primary, one of its servers, or a moment."""
        self._find()

    def _find(self) -> None:
        left = max(self._until - self._opener.clock.seconds(), 0.0)
        self._pending = self._opener.members.find(left)
        self._pending.addCallbacks(self._found, self._failed)

    def _found(self, member: Member) -> None:
        opening = self._opener.at(member.place)(self._identity, self._application_name, self._relay)
        self._pending = opening
        opening.addCallbacks(self._reached, self._not_reached, callbackArgs=(member,), errbackArgs=(member,))

    def _reached(self, server: Any, member: Member) -> None:
        members = self._opener.members
        if server.recovering:
            why = "it is in recovery"
            server.abandon(why)
            members.told_otherwise(member, why)
        elif members.primary is not member:
            why = "it is not the primary any more"
            server.abandon(why)
        else:
            self._pending = None
            members.adopt(member, server)
            self.opened.callback(server)
            return
        self._once_more(Failure(ServerUnavailable(f"{member.address}: {why}")))

    def _not_reached(self, failure: Failure, member: Member) -> None:
        error = failure.value
        gone = isinstance(error, ServerUnavailable) and not isinstance(error, PasswordNeeded | ServerProtocolError)
        if self.opened.called or not (gone or (error is not None and is_turned_off(error))):
            self._failed(failure)
            return
        self._opener.members.suspect(member)
        self._once_more(failure)

    def _once_more(self, failure: Failure) -> None:
        spent = self._relay is not None and self._relay.spent
        if spent or self.opened.called or self._opener.clock.seconds() >= self._until:
            self._failed(failure)
            return
        self._pending = pause = Deferred[None]()
        timer = self._opener.clock.callLater(_AGAIN_S, pause.callback, None)

        def over(result: Any) -> None:
            if timer.active():
                timer.cancel()
            if not isinstance(result, Failure):
                self._find()

        pause.addBoth(over)

    def _failed(self, failure: Failure) -> None:
        self._pending = None
        if not self.opened.called:
            self.opened.errback(failure)

    def _cancelled(self, _deferred: object) -> None:
        """Whoever wanted it has left."""
        pending, self._pending = self._pending, None
        self.opened.errback(Failure(ServerUnavailable("given up")))
        if pending is not None:
            pending.cancel()
