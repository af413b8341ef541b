"""Clients that come by the thousand wait for one another, and not those for them whose queries run."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

SLICE_S = 0.005
"""Seconds of every turn of the loop for clients that are not logged in: handshakes, startup packets, proofs."""
WINDOW_S = 0.010
"""While nobody waits, that much may be spent at once in so long a time."""

Step = Callable[[], None]


class Throttle:
    """Does what clients need that are not logged in: at once while that is little, else in turn, a slice at a time.

    later: calls back in the loop's next turn. clock: seconds, of which a step takes none in tests that hold the clock.
    """

    def __init__(self, later: Callable[[Step], object], clock: Callable[[], float]) -> None:
        self._later = later
        self._clock = clock
        self._waiting: deque[Step] = deque()
        self._begun = clock()
        self._spent = 0.0

    def __len__(self) -> int:
        return len(self._waiting)

    def do(self, step: Step) -> None:
        """Now or soon. A step that has become needless must do nothing; none may raise."""
        if self._waiting:
            self._waiting.append(step)
            return
        now = self._clock()
        if now - self._begun > WINDOW_S:
            self._begun, self._spent = now, 0.0
        if self._spent < SLICE_S:
            step()
            self._spent += self._clock() - now
            return
        self._waiting.append(step)
        self._later(self._go_on)

    def _go_on(self) -> None:
        begun = now = self._clock()
        try:
            while self._waiting and now - begun < SLICE_S:
                self._waiting.popleft()()
                now = self._clock()
            self._begun, self._spent = begun, now - begun
        finally:  # whatever becomes of one, the others have their turn
            if self._waiting:
                self._later(self._go_on)
