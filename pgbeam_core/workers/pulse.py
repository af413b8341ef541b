"""Finds out whether a worker still answers, by asking it again and again."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred


class Pulse:
    """Of one worker. `ask` asks it; it is asked again when it has answered."""

    def __init__(self, ask: Callable[[], Deferred[object]]) -> None:
        self.missed = 0
        """Beats that came while it owed an answer."""
        self._ask = ask
        self._owes = False

    def beat(self) -> None:
        """Ask, or note that it has not answered yet."""
        if self._owes:
            self.missed += 1
            return
        self._owes = True
        self._ask().addCallbacks(self._answered, lambda _: None)  # a link that is lost has its own end

    def _answered(self, _: object) -> None:
        self._owes = False
        self.missed = 0
