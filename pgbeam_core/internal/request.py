"""Requests of PgBeam's own whose rows nobody reads: they succeed, or the server is closed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from pgbeam_core.internal.owner import InternalOwner
from pgbeam_core.session.turns import Turn
from pgbeam_core.wire import backend

if TYPE_CHECKING:
    from pgbeam_core.net.server import ServerProtocol


class InternalRequest(InternalOwner):
    """Owns its turn. `otherwise`: why the server is closed if the request fails; None: it may fail."""

    def __init__(self, server: ServerProtocol, otherwise: str | None) -> None:
        self.done: Deferred[None] = Deferred()
        self.done.addErrback(lambda _: None)
        self._server = server
        self._otherwise = otherwise

    def copy_in(self, turn: Turn) -> None:
        """PgBeam copies nothing of its own."""
        self._server.quarantine("server wants COPY data from PgBeam")

    def turn_over(self, turn: Turn, ready: bytes) -> None:
        """It is done, or the server is."""
        if turn.error is not None and self._otherwise is not None:
            message = backend.error_fields(turn.error).get("M", "")
            self._server.quarantine(f"{self._otherwise}: {message}")
            return
        self.done.callback(None)

    def turn_lost(self, turn: Turn, reason: str) -> None:
        if not self.done.called:
            self.done.callback(None)
