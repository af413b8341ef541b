"""Chooses a share of what passes by, by chance."""

from __future__ import annotations

import math
from collections.abc import Callable

_STEPS = 1 << 32


class Chance:
    """Draws how many are passed over until the next one: most that come cost a comparison, and no random number."""

    def __init__(self, random: Callable[[int], bytes]) -> None:
        self._random = random
        self._rate = 0.0
        self._left = 0
        """So many are passed over yet."""

    def hits(self, rate: float) -> bool:
        """Whether this one is chosen, where each is with the probability `rate`."""
        if not 0 < rate < 1:
            return rate >= 1
        if rate != self._rate:
            self._rate, self._left = rate, self._gap(rate)
        if self._left:
            self._left -= 1
            return False
        self._left = self._gap(rate)
        return True

    def _gap(self, rate: float) -> int:
        drawn = (int.from_bytes(self._random(4)) + 1) / _STEPS
        return int(math.log(drawn) / math.log1p(-rate))
