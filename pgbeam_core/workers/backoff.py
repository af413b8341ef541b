"""How long to wait before a worker that ended is replaced."""

from __future__ import annotations

SHORTEST_S = 0.1
LONGEST_S = 30.0
STEADY_S = 60.0
"""Who lived this long did not die of what keeps killing it."""


class Backoff:
    """Of one worker: the wait doubles with each short life."""

    def __init__(self) -> None:
        self._next = SHORTEST_S

    def after(self, lived_s: float) -> float:
        """Seconds to wait after a life of so many seconds."""
        wait = SHORTEST_S if lived_s >= STEADY_S else self._next
        self._next = min(2 * wait, LONGEST_S)
        return wait
