"""Has a server say who it is logged in as, by the identifiers that no renaming changes."""

from __future__ import annotations

from typing import NamedTuple

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from pgbeam_core.errors import ServerUnavailable
from pgbeam_core.internal.owner import Row, RowCollector
from pgbeam_core.net.server import ServerProtocol
from pgbeam_core.session.turns import Turn
from pgbeam_core.wire import frontend

IDENTITY_QUERY = b"""\
SELECT a.usesysid, pg_catalog.quote_ident(current_user)::pg_catalog.regrole::pg_catalog.oid, a.datid,
 pg_catalog.current_setting('default_transaction_isolation'), pg_catalog.pg_is_in_recovery(),
 (SELECT d.datistemplate FROM pg_catalog.pg_database AS d WHERE d.oid OPERATOR(pg_catalog.=) a.datid)
 FROM pg_catalog.pg_stat_get_activity(pg_catalog.pg_backend_pid()) AS a"""
"""Names of this schema come first whatever the search path is, and no operator is used that somebody may have made.

The role in effect may be another one than that of the login: by `options`, or by ALTER ROLE … SET role.
"""


class Told(NamedTuple):
    """What a server has said of itself; nothing if it could not."""

    oids: tuple[int, ...] = ()
    isolation: str | None = None
    """The isolation level of a transaction that names none, in lower case."""
    recovering: bool = False
    in_template: bool = False


_MOST_BYTES = 64 * 1024


class Identification(RowCollector):
    """One query and what is told. Owns its turn."""

    def __init__(self) -> None:
        super().__init__(_MOST_BYTES)
        self.answer: Deferred[Told] = Deferred()

    def ask(self, server: ServerProtocol) -> Deferred[Told]:
        """Send it. Fails with ServerUnavailable if the server goes away."""
        server.statements.unnamed = None
        server.send(Turn(self, simple=True), frontend.Query(IDENTITY_QUERY).to_bytes())
        return self.answer

    def turn_over(self, turn: Turn, ready: bytes) -> None:
        """It has answered; with an error if it is no PostgreSQL, and knows no such thing."""
        self.answer.callback(Told() if turn.error is not None else _told(self.rows()))

    def turn_lost(self, turn: Turn, reason: str) -> None:
        self.answer.errback(Failure(ServerUnavailable(reason)))


def _told(rows: list[Row]) -> Told:
    if len(rows) != 1 or len(rows[0]) != 6:
        return Told()
    known = [value for value in rows[0] if value is not None]
    if len(known) != 6:
        return Told()
    *oids, isolation, recovering, template = known
    if not all(oid.isascii() and oid.isdigit() for oid in oids):
        return Told()
    return Told(tuple(int(oid) for oid in oids), isolation.lower(), recovering == "t", template == "t")
