"""Servers that are opened to see whether a user may still log in: one at a time for each, for all who wait for that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from pgbeam_core.api.pool import Identity, Lease
from pgbeam_core.api.query import Target
from pgbeam_core.catalog.identities import named

Place = tuple[Target, Identity]


AT_ONCE = 32
"""Clients that are let in in one iteration of the loop: some milliseconds."""


class Dials:
    """Those under way. `later` calls in the next iteration of the loop."""

    def __init__(self, later: Callable[[Callable[[], None]], Any]) -> None:
        self._later = later
        self._waiting: dict[Place, list[Deferred[None]]] = {}
        self._openings: dict[Place, tuple[Deferred[Lease], list[bool]]] = {}
        """And, as true in the list, that one is not needed any more."""

    def of(self, target: Target, identity: Identity) -> Deferred[None] | None:
        """Fires when the one under way has come to an end, with its failure if it is one for all; None if none is."""
        waiting = self._waiting.get((target, named(identity)))
        if waiting is None:
            return None
        mine: Deferred[None] = Deferred(lambda _: None)
        waiting.append(mine)
        return mine

    def known(self, target: Target, identity: Identity) -> None:
        """A server that was opened for somebody else has told meanwhile: nobody has to wait for one of his own."""
        found = self._openings.pop((target, named(identity)), None)
        if found is not None:
            opening, needless = found
            needless.append(True)
            self._later(opening.cancel)  # it may wait for long: those who are logged in come first

    def open(self, target: Target, identity: Identity, login: Callable[[], Deferred[Lease]]) -> Deferred[Lease | None]:
        """Begin one, which others may wait for. Cancelling it is leaving: then one of the others goes on.

        None: what it was to tell is known without it.
        """
        place = target, named(identity)
        mine: list[Deferred[None]] = []
        self._waiting.setdefault(place, mine)
        opening = login()
        needless: list[bool] = []
        self._openings.setdefault(place, (opening, needless))
        left: list[bool] = []

        def leave(_: object) -> None:
            left.append(True)
            opening.cancel()

        opened: Deferred[Lease | None] = Deferred(leave)

        def over(result: Any) -> None:
            if self._waiting.get(place) is mine:
                del self._waiting[place]
            if self._openings.get(place, (None, needless))[0] is opening:
                del self._openings[place]
            if needless and not left and isinstance(result, Failure):
                result = None
            error = result.value if isinstance(result, Failure) and not left else None
            opened.callback(result)  # first, so that the others find its server free
            self._wake(mine, error)

        opening.addBoth(over)
        return opened

    def _wake(self, waiting: list[Deferred[None]], error: Any) -> None:
        for one in waiting[:AT_ONCE]:
            if one.called:
                continue
            if error is not None:
                one.errback(Failure(error))
            else:
                one.callback(None)
        if len(waiting) > AT_ONCE:
            self._later(lambda: self._wake(waiting[AT_ONCE:], error))
