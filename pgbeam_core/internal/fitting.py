"""Gives a server a client's run-time parameters, where that may fail."""

from __future__ import annotations

from collections.abc import Callable

from pgbeam_core.internal.owner import InternalOwner
from pgbeam_core.session.turns import Turn


class Fitting(InternalOwner):
    """Owns the turn. `over` gets None or the ErrorResponse with which the server refused; `lost`: it is gone."""

    def __init__(self, over: Callable[[bytes | None], None], lost: Callable[[], None]) -> None:
        self._over = over
        self._lost = lost

    def turn_over(self, turn: Turn, ready: bytes) -> None:
        """The server has them, or is as it was before."""
        self._over(turn.error)

    def turn_lost(self, turn: Turn, reason: str) -> None:
        """The server is gone; whoever holds it hears of that too."""
        self._lost()
