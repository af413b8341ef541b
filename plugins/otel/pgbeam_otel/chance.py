"""Chooses a share of what passes by, by chance."""

from __future__ import annotations

import math
from collections.abc import Callable

_STEPS = 1 << 32
_NEVER = 1 << 62
"""More than ever pass by."""


class Chance:
    """Draws how many are passed over until the next one: most that come cost a comparison, and no random number.

    Each is chosen with the probability `rate`.
    """

    def __init__(self, random: Callable[[int], bytes], rate: float) -> None:
        self._random = random
        self._rate = rate
        self.passed_over = self._gap()
        """So many are yet. Whoever passes one over without asking counts it down."""

    def hits(self) -> bool:
        """Whether this one is chosen."""
        if self.passed_over:
            self.passed_over -= 1
            return False
        self.passed_over = self._gap()
        return True

    def _gap(self) -> int:
        if not 0 < self._rate < 1:
            return 0 if self._rate > 0 else _NEVER
        drawn = (int.from_bytes(self._random(4)) + 1) / _STEPS
        return int(math.log(drawn) / math.log1p(-self._rate))
