"""Whether a target can be reached: its breaker, and the probes that close it again without any client's help."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from pgbeam_core import (
    Identity,
    Opener,
    PasswordNeeded,
    Project,
    Server,
    ServerProtocolError,
    ServerRefused,
    ServerUnavailable,
)
from pgbeam_pool.breaker import Breaker
from pgbeam_pool.upkeep import Upkeep

_NO_ROOM_S = 1.0
"""A probe needs a place among the servers; so long until it looks for one again."""


class Reaching:
    """Of one pool. has_room(): whether one more server may be opened. changed(): told when the target does not answer
    any more, or does again."""

    def __init__(
        self,
        project: Project,
        opener: Opener,
        upkeep: Upkeep,
        clock: Any,
        has_room: Callable[[], bool],
        changed: Callable[[], None],
    ) -> None:
        self.breaker = Breaker(clock.seconds)
        self._project = project
        self._opener = opener
        self._upkeep = upkeep
        self._clock = clock
        self._has_room = has_room
        self._changed = changed
        self._timer: Any = None
        self._probing: Deferred[Server] | None = None
        """The opening of a server that nobody waits for."""
        self._closed = False
        opener.on_found(self.answered)
        opener.on_moved(upkeep.orders.leave)

    @property
    def available(self) -> bool:
        """Whether the target counts as reachable."""
        return not (self.breaker.open or self._opener.missing)

    @property
    def holds(self) -> bool:
        """Who waits for a server goes on waiting when one could not be opened: each has a time of its own for that."""
        return self._opener.holds

    def begin(self) -> bool | None:
        """A connection is to be tried: whether that is the probe of an open breaker; None: it may not be tried."""
        probe = self.breaker.open
        return probe if self.breaker.allows() else None

    def answered(self) -> None:
        """The target is there, if only to refuse a login."""
        was_open = self.breaker.open
        self.breaker.succeeded()
        if was_open:
            self._forget_timer()
            self._changed()

    def ended(self, failure: Failure, *, probe: bool, unwanted: bool) -> None:
        """An attempt came to nothing. unwanted: whoever it was for has left before."""
        breaker, was_open = self.breaker, self.breaker.open
        if failure.check(ServerRefused, PasswordNeeded):
            self.answered()
        elif failure.check(ServerUnavailable) and not (failure.check(ServerProtocolError) or unwanted):
            breaker.failed(probe=probe)
        else:
            breaker.given_up(probe=probe)
        if breaker.open:
            self._probe_later()
            if not was_open:
                self._changed()

    def close(self) -> None:
        """No probe any more, whatever is under way."""
        self._closed = True
        self._forget_timer()
        if self._probing is not None:
            self._probing.cancel()

    # Probing.

    def _probe_later(self) -> None:
        if self._timer is None and not self._closed and self._upkeep.clients:
            self._timer = self._clock.callLater(self.breaker.retry_s or 0.0, self._probe)

    def _probe(self) -> None:
        self._timer = None
        if self._closed or not self._upkeep.clients or self._probing is not None:
            return
        if not self._has_room():
            self._timer = self._clock.callLater(_NO_ROOM_S, self._probe)
        elif self.breaker.open and self.breaker.allows():
            self._probing = probing = self._opener(self._identity(), None, None)
            probing.addCallbacks(self._reached, self._not_reached)

    def _identity(self) -> Identity:
        """A user for whom servers can be opened, or anybody: a refusal is an answer too."""
        upkeep, primary = self._upkeep, self._project.primary
        known = next((identity for identity in upkeep.clients if identity not in upkeep.needs_client), None)
        return known or Identity(primary.user or "postgres", primary.database or "postgres")

    def _reached(self, server: Server) -> None:
        self._probing = None
        server.close("it was only to see whether the server answers")
        self.answered()

    def _not_reached(self, failure: Failure) -> None:
        self._probing = None
        self.ended(failure, probe=True, unwanted=self._closed)

    def _forget_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
