"""Queries that PgBeam runs without a client: refreshes of cached replies."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from twisted.internet.defer import Deferred

from pgbeam_core.api.pool import Lease
from pgbeam_core.api.query import Query
from pgbeam_core.api.results import Result
from pgbeam_core.errors import PgBeamError, ServerUnavailable
from pgbeam_core.internal.fitting import Fitting
from pgbeam_core.internal.owner import InternalOwner
from pgbeam_core.session import settings, steps
from pgbeam_core.session.outcome import error_of, server_results
from pgbeam_core.session.steps import Owed
from pgbeam_core.session.turns import Turn
from pgbeam_core.wire import frontend, names


class Rerun(InternalOwner):
    """One execution of a query, its reply kept. Owns its turn."""

    def __init__(self, query: Query, max_bytes: int, now: Callable[[], float], epoch: int) -> None:
        self._query = query
        self._wanted = query.session.settings.now
        self._max_bytes = max_bytes
        self._now = now
        self._epoch = epoch
        self._lease: Lease | None = None
        self._result: Deferred[Result] = Deferred(lambda _: self._give_up())

    def run_on(self, lease: Lease) -> Deferred[Result]:
        """Run it on this lease, which is then released."""
        self._lease = lease
        server = lease.server
        if server.roles_at != self._epoch:
            server.roles_at = self._epoch
            server.settings = settings.roles_in_doubt(server.settings)
        sql = settings.difference(server.settings, self._wanted)
        if sql is None:
            self._run(lease)
        else:
            server.statements.unnamed = None
            fitting = Fitting(lambda error: self._fitted(error, lease), lambda: self._lost("it was told its settings"))
            server.send(Turn(fitting, simple=True), frontend.Query(sql).to_bytes())
        return self._result

    def _fitted(self, error: bytes | None, lease: Lease) -> None:
        """The server has the session's settings, or has refused them and is as it was."""
        if error is None:
            lease.server.settings = self._wanted
            self._run(lease)
            return
        lease.release()
        if not self._result.called:
            sqlstate, message = error_of(error)
            self._result.errback(PgBeamError(message, sqlstate=sqlstate))

    def _run(self, lease: Lease) -> None:
        server = lease.server
        if self._query.statement._verdict.leaves:
            server.state.add("unknown")
        turn = Turn(self, simple=self._query.simple)
        turn.queries = [self._query]
        turn.keep_up_to(self._max_bytes)
        server.send(turn, self._request(turn))
        server.statements.unnamed = None

    def _request(self, turn: Turn) -> bytes:
        query = self._query
        if query.simple:
            return frontend.Query(query.statement.text).to_bytes()
        turn.script = deque([Owed(b"1"), steps.BIND, steps.DESCRIBE, steps.EXECUTE])
        parse = b"\x00" + query.statement.text + b"\x00" + query.types
        return b"".join(
            [
                b"P" + (len(parse) + 4).to_bytes(4) + parse,
                names.unnamed_bind(query.bound_bytes),
                frontend.Describe(frontend.PORTAL, b"").to_bytes(),
                frontend.Execute(b"", query.max_rows).to_bytes(),
                frontend.SYNC,
            ]
        )

    def _give_up(self) -> None:
        if self._lease is not None:
            self._lease.server.close("query given up")

    def copy_in(self, turn: Turn) -> None:
        """A read never copies in."""
        self._give_up()

    def turn_over(self, turn: Turn, ready: bytes) -> None:
        assert self._lease is not None
        self._lease.release()
        if not self._result.called:
            self._result.callback(server_results(turn, self._now(), ready[5:6])[0])

    def turn_lost(self, turn: Turn, reason: str) -> None:
        self._lost(reason)

    def _lost(self, reason: str) -> None:
        assert self._lease is not None
        self._lease.release()
        if not self._result.called:
            self._result.errback(ServerUnavailable(f"server connection was lost: {reason}"))
