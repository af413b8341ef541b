"""Positions in the write-ahead log (LSN): where the primary was when, and what a session needs to see."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

KEPT = 256
"""Positions remembered: at the longest interval for a given `max_lag_s`, more than twice that time."""
_PAGE = 8192
_PAGE_HEADERS = (24, 40)


def lsn(text: str) -> int:
    """`16/B374D848` as a number.

    The position behind a record that ends with its page is told as the first byte behind the next page's header, but
    replayed only up to the page's end; it counts as that.
    """
    high, _, low = text.partition("/")
    position = int(high, 16) << 32 | int(low, 16)
    return position - position % _PAGE if position % _PAGE in _PAGE_HEADERS else position


@dataclass(slots=True, frozen=True)
class Position:
    """Where the primary was, asked at one time and told at another. Times are monotonic seconds."""

    asked: float
    told: float
    flushed: int
    """What it has on disk, and so may have sent to replicas."""
    inserted: int
    """The end of all it has written so far, on disk or not."""


class Positions:
    """What the primary has told, oldest first."""

    def __init__(self) -> None:
        self._told: deque[Position] = deque(maxlen=KEPT)

    def __bool__(self) -> bool:
        return bool(self._told)

    def add(self, position: Position) -> None:
        self._told.append(position)

    def clear(self) -> None:
        """What was told is of another timeline: there may be no such positions on this one."""
        self._told.clear()

    def lag(self, replayed: int, asked: float) -> float:
        """Seconds that a replica is behind at least, which was asked then and had replayed that much.

        That is the age of the oldest position that it had not replayed. No clock but our own takes part, and an idle
        primary makes nobody late.
        """
        for position in self._told:
            if position.flushed > replayed:
                return max(asked - position.told, 0.0)
        return 0.0

    def covering(self, written: float) -> int | None:
        """A position behind everything that was committed by that time; None: the primary was not asked since."""
        for position in self._told:
            if position.asked > written:
                return position.inserted
        return None


class SessionWrites:
    """What one session has written."""

    __slots__ = ("_at", "_needs", "_open")

    def __init__(self) -> None:
        self._at: float | None = None
        self._needs: int | None = None
        self._open = False

    def wrote(self, now: float, *, committed: bool) -> None:
        """A statement that may write has ended; not committed: its transaction is still open."""
        if committed:
            self._at, self._needs = now, None
        else:
            self._open = True

    def transaction_over(self, now: float) -> None:
        """Committed or not: a transaction that was rolled back costs a few reads on the primary, nothing more."""
        if self._open:
            self._open = False
            self.wrote(now, committed=True)

    def are_in(self, replayed: int | None, positions: Positions) -> bool:
        """Whether a replica that has replayed that much shows all of them."""
        if self._at is None:
            return True
        if self._needs is None:
            self._needs = positions.covering(self._at)
        return self._needs is not None and replayed is not None and replayed >= self._needs
