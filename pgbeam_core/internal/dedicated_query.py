"""Queries of PgBeam's own on a connection of their own: it is opened, one is sent, its rows are read, it is closed."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from pgbeam_core.api.opener import Opener
from pgbeam_core.api.pool import Identity, Server
from pgbeam_core.errors import PgBeamError, ServerUnavailable
from pgbeam_core.internal.credentials import StoredSecret
from pgbeam_core.internal.owner import Row, RowCollector
from pgbeam_core.session.outcome import error_of
from pgbeam_core.session.turns import Turn
from pgbeam_core.wire import frontend

MOST_BYTES = 1024 * 1024
"""A reply larger than this is an error: replies are small, and kept in memory."""
_NAME = "pgbeam"


class DedicatedQuery(RowCollector):
    """One query and its rows. Owns its turn; cancelling `answer` closes the connection, wherever it is."""

    def __init__(self, identity: Identity, sql: bytes, relay: StoredSecret) -> None:
        super().__init__(MOST_BYTES)
        self.answer: Deferred[list[Row]] = Deferred(lambda _: self._give_up())
        self._identity = identity
        self._sql = sql
        self._relay = relay
        self._server: Server | None = None
        self._opening: Deferred[Server] | None = None
        self._turn = Turn(self, simple=True)

    def ask(self, opener: Opener) -> Deferred[list[Row]]:
        """Open a connection and ask."""
        self._opening = opener(self._identity, _NAME, self._relay)
        self._opening.addCallbacks(self._opened, self._not_opened)
        return self.answer

    def _opened(self, server: Server) -> None:
        self._opening = None
        if self.answer.called:
            server.close("nobody waits for the answer")
            return
        self._server = server
        server.send(self._turn, frontend.Query(self._sql).to_bytes())

    def _not_opened(self, failure: Failure) -> None:
        self._opening = None
        if not self.answer.called:
            self.answer.errback(failure)

    def _give_up(self) -> None:
        if self._opening is not None:
            self._opening.addErrback(lambda _: None)
            self._opening.cancel()
        elif self._server is not None:
            self._server.cancel(self._turn)  # a busy server does not notice that it was left
            self._server.close("nobody waits for the answer")

    def deliver(self, data: bytes) -> None:
        super().deliver(data)
        if self.is_too_large and not self.answer.called:
            self.answer.errback(PgBeamError(f"the answer is larger than {MOST_BYTES} bytes", sqlstate="54000"))
            self._give_up()

    def copy_in(self, turn: Turn) -> None:
        """Given up: what is asked for are rows."""
        self._give_up()

    def turn_over(self, turn: Turn, ready: bytes) -> None:
        assert self._server is not None
        self._server.close("the question is answered")
        if self.answer.called:
            return
        if turn.error is not None:
            sqlstate, message = error_of(turn.error)
            self.answer.errback(PgBeamError(message, sqlstate=sqlstate))
        else:
            self.answer.callback(self.rows())

    def turn_lost(self, turn: Turn, reason: str) -> None:
        if not self.answer.called:
            self.answer.errback(ServerUnavailable(f"server connection was lost: {reason}"))
