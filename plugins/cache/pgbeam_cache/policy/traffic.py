"""Which requests of a shape came when, lately: enough to tell what a rule would have given, at a bounded cost.

A second is told apart from the next, a request only by a number that stands for it. What comes again in the same second
is counted, not listed. Where there are too many different requests only some are listed, half of them, then a quarter:
always all that came of those, as it is their coming again that counts.
"""

from __future__ import annotations

from array import array
from typing import NamedTuple

MOST = 512
"""Places for requests of one shape, 40 bytes each."""
WINDOW_S = 600
"""What is older is forgotten."""
TICK_S = 10
"""All calls are counted in steps of so many seconds."""
_FEW = 8
"""So few different requests are all listed, and the oldest of them forgotten."""
NEVER = 0
"""Stands for all requests that no rule could answer: those in transactions, of sessions that want no cache."""


class Came(NamedTuple):
    """A request in one second."""

    second: int
    key: int
    written: int
    """At the first of its calls: changes when something that it reads is written."""
    last: int
    """The same at the last of them."""
    calls: int
    changes: int
    """How often that changed between the calls."""


class RecentTraffic:
    """What came of one shape, within the window."""

    __slots__ = ("_at", "_changes", "_counts", "_keys", "_last", "_places", "_second", "_ticks", "_written", "mask")

    def __init__(self) -> None:
        self.mask = 0
        """A request is listed if its number has none of these bits."""
        self._at = array("q")
        self._keys = array("q")
        self._written = array("q")
        self._last = array("q")
        self._counts = array("i")
        self._changes = array("i")
        self._second = 0
        self._places: dict[int, int] = {}
        """Where the requests of this second are."""
        self._ticks: dict[int, int] = {}
        """All that any rule could answer, listed or not, by time."""

    def __len__(self) -> int:
        return len(self._at)

    def counted(self, second: int, key: int) -> bool:
        """A request came. Whether it is one of those that are listed."""
        if key == NEVER:
            return True
        tick = second // TICK_S
        self._ticks[tick] = self._ticks.get(tick, 0) + 1
        return not key & self.mask

    def put(self, second: int, key: int, written: int) -> None:
        """List it, with what it reads as that is now."""
        if second != self._second:
            self._second = second
            self._places.clear()
        place = self._places.get(key, -1)
        if place >= 0:
            self._counts[place] += 1
            if self._last[place] != written:
                self._last[place] = written
                self._changes[place] += 1
            return
        if len(self._at) >= MOST:
            self._make_room(second)
            if key & self.mask:
                return
        self._places[key] = len(self._at)
        self._at.append(second)
        self._keys.append(key)
        self._written.append(written)
        self._last.append(written)
        self._counts.append(1)
        self._changes.append(0)

    def _make_room(self, second: int) -> None:
        """Forget what is old; if most is from lately, list fewer requests from now on."""
        since = second - WINDOW_S
        kept = [place for place in range(len(self._at)) if self._at[place] > since]
        keys = {self._keys[place] for place in kept}
        if len(kept) > MOST // 2:
            if len(keys) > _FEW:
                self.mask = 2 * self.mask + 1
                kept = [place for place in kept if not self._keys[place] & self.mask]
            kept = kept[-(MOST // 2) :]
        elif self.mask and len(kept) < MOST // 8:
            self.mask //= 2
            kept = []  # what was not listed before would be missing
        self._keep(kept)
        oldest = since // TICK_S
        self._ticks = {tick: count for tick, count in self._ticks.items() if tick >= oldest}

    def _keep(self, places: list[int]) -> None:
        self._at = array("q", [self._at[place] for place in places])
        self._keys = array("q", [self._keys[place] for place in places])
        self._written = array("q", [self._written[place] for place in places])
        self._last = array("q", [self._last[place] for place in places])
        self._counts = array("i", [self._counts[place] for place in places])
        self._changes = array("i", [self._changes[place] for place in places])
        self._places.clear()

    def listed(self, since: int) -> list[Came]:
        """What came after that second, as far as it is listed, oldest first."""
        columns = (self._at, self._keys, self._written, self._last, self._counts, self._changes)
        rows = zip(*columns, strict=True)
        return [Came(*row) for row in rows if row[0] > since]

    def calls(self, since: int) -> int:
        """How much came from that second on, listed or not, but for what no rule could answer."""
        tick = since // TICK_S
        found = sum(count for each, count in self._ticks.items() if each > tick)
        part = 1 - since % TICK_S / TICK_S
        return found + round(self._ticks.get(tick, 0) * part)
