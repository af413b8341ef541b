"""Finds out how many Syncs among a client's CopyData a server has answered.

While it copies, a server passes over them; once the COPY has failed it answers each with a ReadyForQuery, and only the
server knows which of them came before it failed. So an empty Query goes behind them: what comes before its reply is
theirs.
"""

from __future__ import annotations

from collections.abc import Callable

from pgbeam_core.api.pool import Server
from pgbeam_core.internal.owner import InternalOwner
from pgbeam_core.session.steps import FREE
from pgbeam_core.session.turns import Turn
from pgbeam_core.wire import frontend
from pgbeam_core.wire.frames import split

_EMPTY = ord("I")
_QUERY = frontend.Query(b"").to_bytes()


class StraySyncs(InternalOwner):
    """Owns the turn of that Query. answered: told for each of the Syncs. over: the Query was. lost: the server is."""

    def __init__(
        self, server: Server, answered: Callable[[], None], over: Callable[[], None], lost: Callable[[str], None]
    ) -> None:
        self._server = server
        self._answered = answered
        self._over = over
        self._lost = lost
        self._is_through = False

    def ask(self) -> None:
        """Send that Query behind what the client has sent."""
        self._expect(_QUERY)

    def deliver(self, data: bytes) -> None:
        self._is_through = self._is_through or any(tag == _EMPTY for tag, _, _ in split(data))

    def turn_over(self, turn: Turn, ready: bytes) -> None:
        """One more ReadyForQuery has come."""
        if self._is_through:
            self._over()
            return
        self._answered()
        self._expect(b"")

    def turn_lost(self, turn: Turn, reason: str) -> None:
        """The server is gone, and with it what it would have answered."""
        self._lost(reason)

    def _expect(self, data: bytes) -> None:
        turn = Turn(self, simple=True)
        turn.at = FREE
        self._server.send(turn, data)
