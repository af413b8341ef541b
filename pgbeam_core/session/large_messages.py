"""Large messages that are not all there yet. There is a bound for all of them: beyond it one is read at a time.

The oldest is always read, so there is always one that can come to its end; the others wait until there is room again.
One that is not sent on while others wait is not waited for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from pgbeam_core.wire import backend

MOST_BYTES = 256 * 1024 * 1024
LARGE_BYTES = 1024 * 1024
"""What a client holds below that is not counted."""
LOOK_S = 10.0
PROGRESS_BYTES = 1024 * 1024
"""What must come of the oldest between two looks while others wait."""
GIVE_BACK_BYTES = 32 * 1024 * 1024
"""So much has to be let go before memory is given back to the system,"""
GIVE_BACK_S = 0.5
"""so many seconds later, so that what goes together is given back together."""
TOO_SLOW = "too slow with a large message while others wait"
_FAREWELL = backend.error_response("FATAL", "53200", TOO_SLOW)


class Reader(Protocol):
    """The input of a client's conversation."""

    @property
    def client(self) -> Any:
        """The client, which can be hung up."""

    @property
    def listens(self) -> bool:
        """It reads what its client sends: if nothing comes, that is not its own doing."""

    def read_on(self) -> None:
        """See again whether it may read."""


class LargeMessages:
    """Of one PgBeam. `later` calls a function after so many seconds."""

    def __init__(self, later: Callable[[float, Callable[[], None]], Any], most: int = MOST_BYTES) -> None:
        self.size = 0
        """Bytes of all of them."""
        self.give_back: Callable[[], None] = lambda: None
        """Called when memory of large messages may be given back to the system."""
        self._let_go = 0
        self._later = later
        self._most = most
        self._sizes: dict[Reader, int] = {}
        """Oldest first."""
        self._held: dict[Reader, None] = {}
        """Those that may not read."""
        self._seen: tuple[Reader | None, int] = (None, 0)
        self._timer: Any = None

    def may_read(self, reader: Reader, size: int) -> bool:
        """Note how much of a large message a client has sent, 0 for none any more; may more of it come?"""
        before = self._sizes.get(reader, 0)
        if size:
            self._sizes[reader] = size
        else:
            self._sizes.pop(reader, None)
        self.size += size - before
        if size and self.size > self._most and next(iter(self._sizes)) is not reader:
            self._held[reader] = None
            if self._timer is None:
                self._timer = self._later(LOOK_S, self._look)
            return False
        self._held.pop(reader, None)
        if size < before:
            self._has_let_go(before - size)
            self._let_on()
        return True

    def _has_let_go(self, size: int) -> None:
        if self._let_go < GIVE_BACK_BYTES <= self._let_go + size:
            self._later(GIVE_BACK_S, self._give_back)
        self._let_go += size

    def _give_back(self) -> None:
        self._let_go = 0
        self.give_back()

    def _let_on(self) -> None:
        for reader in [reader for reader in self._sizes if reader in self._held]:
            if self.size > self._most and reader is not next(iter(self._sizes)):
                return
            reader.read_on()

    def _look(self) -> None:
        """Is there anything to wait for?"""
        self._timer = None
        if not self._held:
            self._seen = (None, 0)
            return
        self._timer = self._later(LOOK_S, self._look)
        first, size = next(iter(self._sizes.items()))
        before, self._seen = self._seen, (first, size)
        if before[0] is not first or size - before[1] >= PROGRESS_BYTES:
            return
        if first.listens:
            first.client.hang_up(TOO_SLOW, _FAREWELL)
            return
        self._sizes[first] = self._sizes.pop(first)  # its server is slow, not its client: others first
        self._let_on()
