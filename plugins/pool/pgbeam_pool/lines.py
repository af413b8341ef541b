"""Who waits for a server: a line for each user, and in it first come, first served."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice

from pgbeam_pool.waiting import Waiter

MOST_REMEMBERED = 10_000
"""Users of whom it is known when they were given a place last."""


class Lines:
    """All that wait for a place of one project, by user, and how many places each user has."""

    __slots__ = ("_given", "_lines", "_size", "places", "shared", "turns")

    def __init__(self) -> None:
        self._lines: dict[str, dict[Waiter, None]] = {}
        self._size = 0
        self.shared = 0
        """Those who would do with a place behind others."""
        self.places: Counter[str] = Counter()
        """Servers by user, those being opened included."""
        self._given: dict[str, int] = {}
        self.turns = 0
        """Places that were given since the start."""

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Waiter]:
        for line in list(self._lines.values()):
            yield from list(line)

    def append(self, waiter: Waiter) -> None:
        """It comes last in its user's line."""
        user = waiter.identity.user
        line = self._lines.get(user)
        if line is None:
            line = self._lines[user] = {}
        line[waiter] = None
        self._size += 1
        self.shared += waiter.shared

    def discard(self, waiter: Waiter) -> None:
        """It does not wait any more, if it did."""
        user = waiter.identity.user
        line = self._lines.get(user)
        if line is not None and waiter in line:
            del line[waiter]
            self._size -= 1
            self.shared -= waiter.shared
            if not line:
                del self._lines[user]

    def first(self, user: str, most: int) -> list[Waiter]:
        """So many of a user's line, first come first."""
        return list(islice(self._lines.get(user, ()), most))

    def waits(self, user: str) -> bool:
        """Whether a user has somebody waiting."""
        return user in self._lines

    def users(self, weights: Mapping[str, float]) -> list[str]:
        """Those who have somebody waiting: who has least for his weight first, then who was given a place longest
        ago."""
        if len(self._lines) < 2:
            return list(self._lines)
        places, given = self.places, self._given
        return sorted(self._lines, key=lambda user: (places[user] / weights.get(user, 1.0), given.get(user, 0)))

    def took_place(self, user: str) -> None:
        """A server is being opened for one of a user's."""
        self.places[user] += 1
        self.turns += 1
        if len(self._given) >= MOST_REMEMBERED:
            self._given.clear()
        self._given[user] = self.turns

    def left_place(self, user: str) -> None:
        """A server of a user's is gone, or has never come."""
        self.places[user] -= 1
        if not self.places[user]:
            del self.places[user]
