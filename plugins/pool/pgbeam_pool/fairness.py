"""Whose idle server may be closed so that another user gets its place.

Places are shared by weight. A user who has less than his part takes what others have beyond theirs as it comes back,
one place at a time; where parts do not come out even, places go round. Who alone wants places gets all there are.
"""

from __future__ import annotations

from collections.abc import Mapping

from pgbeam_core import Server
from pgbeam_pool.lines import Lines

QUIET_S = 1.0
"""A user keeps an idle server that he has used so lately, if he has no more than his part."""
TURN_S = 1.0
"""A user has a place that goes round for so long, times his weight."""
FIRST_TURN_S = 0.1
"""The same where somebody waits who has no place at all: opening a server takes some part of that."""


class Fairness:
    """Compares one user who wants a place with those who have idle servers."""

    __slots__ = ("_lines", "_now", "_user", "_weights", "later")

    def __init__(self, lines: Lines, user: str, weights: Mapping[str, float], now: float) -> None:
        self._lines = lines
        self._user = user
        self._weights = weights
        self._now = now
        self.later = False
        """A server was kept for its user's sake, and will not be for long."""

    def may_close(self, server: Server) -> bool:
        """Whether the place of that idle server may be taken."""
        owner = server.identity.user
        if owner == self._user:
            return True
        places, weights = self._lines.places, self._weights
        has, gets = places[owner] / weights.get(owner, 1.0), (places[self._user] + 1) / weights.get(self._user, 1.0)
        if has > gets:
            return True
        if not self._lines.waits(owner):
            if has == gets or self._now - server.used_at >= QUIET_S:
                return True
            self.later = True
            return False
        return self._has_had_its_turn(server, owner, even=has == gets)

    def _has_had_its_turn(self, server: Server, owner: str, *, even: bool) -> bool:
        """Whether the place goes on to the next one, though its user has more to do."""
        if not self._lines.places[self._user]:
            turn = FIRST_TURN_S
        elif even:
            turn = TURN_S
        else:
            return False
        if self._now - server.opened_at >= turn * self._weights.get(owner, 1.0):
            return True
        self.later = True
        return False
