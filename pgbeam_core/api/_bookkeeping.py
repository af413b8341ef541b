"""What the core remembers about a statement beside what plugins see."""

from __future__ import annotations

PROVED_BY = 3
"""Executions after which a shape may be trusted."""
SHORT_S = 0.005
SMALL_BYTES = 8 * 1024
"""PostgreSQL sends so much in one piece, so an error within it is known before the client has got a byte."""
SLOW_S = 0.05
"""One execution this slow takes the trust away, for so many to come."""
BANNED_FOR = 50


class Cost:
    """What executions of one shape of statement have cost a server. Seconds and bytes; recent ones count most."""

    __slots__ = ("_banned", "_known", "_seconds", "_size", "small")

    def __init__(self) -> None:
        self.small = False
        """It has proved short and small often enough to be trusted."""
        self._known = 0
        self._seconds = 0.0
        self._size = 0.0
        self._banned = 0

    @property
    def known(self) -> tuple[int, float, int]:
        """How many there were, seconds on average of late, bytes of the largest of late."""
        return self._known, self._seconds, int(self._size)

    def learn(self, seconds: float, size: int) -> None:
        """One more; `seconds` without the time that it stood behind others."""
        self._size = max(size, self._size * 0.98)
        self._seconds += (seconds - self._seconds) / min(self._known + 1, 8)
        self._known += 1
        self._banned = BANNED_FOR if seconds > SLOW_S else max(0, self._banned - 1)
        self.small = (
            self._known >= PROVED_BY and self._seconds < SHORT_S and self._size < SMALL_BYTES and not self._banned
        )

    def blame(self) -> None:
        """One is under way for so long, or has grown so large already, that others should not wait for it."""
        self._banned = BANNED_FOR
        self.small = False


class Verdict:
    """Whether running one shape of statement may leave what only its server knows, as one catalog has it."""

    __slots__ = ("leaves", "serial")

    def __init__(self) -> None:
        self.serial = -1
        """Of the catalog that was looked at."""
        self.leaves = True
