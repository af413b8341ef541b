"""One timer for all who have the same time: clients that are logging in come and go by the thousand a second."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

LOGIN_TIMEOUT = 60.0
"""Seconds from connecting to being logged in: PostgreSQL's default authentication_timeout."""

PAUSE = 0.005
"""Seconds without a word after which a client counts as having paused in the middle of a request."""


PARTING_S = 60.0
"""Seconds that a client which is sent away gets to take what was written to it."""
_EXACT = 1e-6
"""Seconds: what is due within them is due, however the clock has rounded."""


class Deadlines:
    """Calls back whoever is still there when its time is up. All have the same time, so they fall due in order."""

    def __init__(self, reactor: Any, seconds: float) -> None:
        self._reactor = reactor
        self._seconds = seconds
        self._due: dict[Callable[[], None], float] = {}
        self._timer: Any = None

    def begin(self, too_late: Callable[[], None]) -> None:
        """From now on; `too_late` is called unless `met` comes first."""
        self._due.pop(too_late, None)  # whoever begins anew is the last to be due
        self._due[too_late] = self._reactor.seconds() + self._seconds
        if self._timer is None:
            self._timer = self._reactor.callLater(self._seconds, self._look)

    def reset(self, seconds: float) -> None:
        """Another time holds, for those who have begun as well: they have all of it from now on."""
        if seconds == self._seconds:
            return
        self._seconds = seconds
        due = self._reactor.seconds() + seconds
        for too_late in self._due:
            self._due[too_late] = due
        if self._timer is not None:
            self._timer.cancel()
            self._timer = self._reactor.callLater(seconds, self._look)

    def met(self, too_late: Callable[[], None]) -> None:
        """In time, or given up."""
        self._due.pop(too_late, None)

    def stop(self) -> None:
        """Nobody is left who could be late."""
        self._due.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        now = self._reactor.seconds()
        while self._due:
            first, due = next(iter(self._due.items()))
            if due - now > _EXACT:
                self._timer = self._reactor.callLater(due - now, self._look)
                return
            del self._due[first]
            first()
