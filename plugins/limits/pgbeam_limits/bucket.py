"""A token bucket: so many at once, and so many a second for long."""

from __future__ import annotations


class Bucket:
    """Holds up to `size` tokens, fills at `rate` tokens a second, and starts full. Times are seconds."""

    __slots__ = ("_at", "tokens")

    def __init__(self, size: float, now: float) -> None:
        self.tokens = size
        self._at = now

    def take(self, rate: float, size: float, now: float) -> bool:
        """Take one token; False when there is none."""
        self.tokens = self.left(rate, size, now)
        self._at = now
        if self.tokens < 1.0:
            return False
        self.tokens -= 1.0
        return True

    def left(self, rate: float, size: float, now: float) -> float:
        """How many tokens there are at that time."""
        return min(size, self.tokens + (now - self._at) * rate)

    def is_full(self, rate: float, size: float, now: float) -> bool:
        """Whether as many are there as when it started."""
        return self.left(rate, size, now) >= size
