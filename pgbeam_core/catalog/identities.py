"""Who logs in by a name now: a role or a database may be renamed, or dropped and made again, under clients' feet.

So servers are told apart by the object identifiers of their role and database, which each says after its login. Where
PgBeam lets a client in without one of its own, it goes by what the latest server of that name has said, for a while.
"""

from __future__ import annotations

from collections.abc import Callable

from pgbeam_core.api.pool import Identity
from pgbeam_core.api.query import Target

HELD_FOR = 60.0
"""Seconds; what has changed since may not have come through PgBeam."""
_MOST = 10_000
"""Names that are remembered; beyond that all are forgotten, and servers opened that tell."""


class Identities:
    """What the latest server of each name has said. `epoch` counts the definitions that PgBeam has seen change."""

    def __init__(self, now: Callable[[], float], epoch: Callable[[], int]) -> None:
        self._now = now
        self.epoch = epoch
        self._known: dict[tuple[Target, Identity], tuple[Identity, float, int, int]] = {}
        self._lost: dict[Target, int] = {}
        """Servers of each target that have gone by themselves."""

    def told(self, target: Target, identity: Identity, epoch: int) -> None:
        """A server has just logged in as that; `epoch` is from before it was asked."""
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[target, named(identity)] = identity, self._now(), epoch, self._lost.get(target, 0)

    def of(self, target: Target, identity: Identity) -> Identity | None:
        """The identity that this name stands for; None if a server has to be opened that tells."""
        found = self._known.get((target, named(identity)))
        if found is None:
            return None
        full, at, epoch, lost = found
        holds = epoch == self.epoch() and lost == self._lost.get(target, 0) and self._now() - at <= HELD_FOR
        return full if holds else None

    def lost(self, target: Target) -> None:
        """A server has gone by itself: perhaps with the database that it was in, and another has that name now."""
        self._lost[target] = self._lost.get(target, 0) + 1

    def doubt(self, project: str, user: str) -> None:
        """Whether that user is still let in has to be seen at its next login."""
        for place in [place for place in self._known if place[0].project == project and place[1].user == user]:
            del self._known[place]


def named(identity: Identity) -> Identity:
    """The same as far as names tell."""
    return Identity(identity.user, identity.database, identity.parameters)
