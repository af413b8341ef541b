"""Queries of PgBeam's own on a server of a pool, or on one that a session keeps."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred

from pgbeam_core.api.pool import Server
from pgbeam_core.errors import PgBeamError, ServerUnavailable
from pgbeam_core.internal.owner import Row, RowCollector
from pgbeam_core.session.outcome import error_of
from pgbeam_core.session.settings import difference
from pgbeam_core.session.turns import Turn
from pgbeam_core.wire import frontend

MOST_BYTES = 32 * 1024 * 1024
"""An answer that is longer, a catalog's, is not taken: it would have to be read in one go."""
OWN_SETTINGS = {"statement_timeout": "9000", "lock_timeout": "1000"}
"""For the query: it waits for nobody who has a view or a table locked for long."""


class BorrowedQuery(RowCollector):
    """One query; owns its turn. `answer` fails with PgBeamError or ServerUnavailable.

    release: gives the server back. pooled: the server is nobody's, so the timeouts that its last client has set need
    not be this query's.
    """

    def __init__(self, server: Server, release: Callable[[], None], sql: bytes, *, pooled: bool = True) -> None:
        super().__init__(MOST_BYTES)
        self.answer: Deferred[list[Row]] = Deferred(lambda _: None)
        self._sql = sql
        self._server = server
        self._release = release
        self._pooled = pooled

    def ask(self) -> Deferred[list[Row]]:
        if self._pooled:
            self._server.lift_timeouts()
            sql = difference(self._server.settings, OWN_SETTINGS)
            if sql is not None:
                self._server.send_internal(
                    frontend.Query(sql).to_bytes(), "its settings could not be made PgBeam's own"
                )
            self._server.settings = dict(OWN_SETTINGS)
        self._server.statements.unnamed = None  # a Query drops it
        self._server.send(Turn(self, simple=True), frontend.Query(self._sql).to_bytes())
        return self.answer

    def turn_over(self, turn: Turn, ready: bytes) -> None:
        self._release()
        if self.answer.called:
            return
        if turn.error is not None:
            sqlstate, message = error_of(turn.error)
            self.answer.errback(PgBeamError(message, sqlstate=sqlstate))
        elif self.is_too_large:
            self.answer.errback(PgBeamError(f"it says more than {MOST_BYTES} bytes", sqlstate="54000"))
        else:
            self.answer.callback(self.rows())

    def turn_lost(self, turn: Turn, reason: str) -> None:
        self._release()
        if not self.answer.called:
            self.answer.errback(ServerUnavailable(f"server connection was lost: {reason}"))
