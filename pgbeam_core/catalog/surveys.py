"""Keeps what is known of databases' catalogs: asked for when it is needed, on a server of the client's own identity."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from pgbeam_core.api.pool import Lease, Pool
from pgbeam_core.catalog.catalog import Catalog, Row
from pgbeam_core.catalog.catalog_query import CATALOG_QUERY
from pgbeam_core.errors import ServerUnavailable
from pgbeam_core.internal.borrowed_query import BorrowedQuery

if TYPE_CHECKING:
    from pgbeam_core.session.session import Session

MAX_AGE = 60.0
"""Seconds that a catalog is believed: what has changed it may not have come through PgBeam. Half of that, if it is used
then, it is asked for again."""
PATIENCE = 10.0
"""Seconds that a survey may take, the wait for a server included."""
PAUSE = 5.0
"""Seconds after a failed survey before the next."""
log = Logger(__name__)


class Survey:
    """What is known of the catalog of one database. `epoch` counts the definitions that PgBeam has seen change."""

    def __init__(
        self,
        pool: Callable[[], Pool],
        reactor: Any,
        epoch: Callable[[], int],
        noticed: Callable[[], object] = bool,
        told: Callable[[Catalog], object] = bool,
    ) -> None:
        """`noticed` is called when something has changed that PgBeam has not seen change, `told` with each catalog."""
        self.latest: Catalog | None = None
        """The catalog as it was known last, outdated or not."""
        self.unreachable = False
        """There was no server to ask when it was last tried."""
        self._pool = pool
        self._reactor = reactor
        self.epoch = epoch
        self._noticed = noticed
        self._told_to = told
        self._max_age = MAX_AGE
        self._of_epoch = -1
        self._at = 0.0
        self._not_before = 0.0
        self._asking: Deferred[Any] | None = None
        self._waiting: list[Deferred[Catalog | None]] = []

    def peek(self) -> Catalog | None:
        """The catalog, if it is known, not too old, and no definition was seen to change since. Asks nobody."""
        known = self._of_epoch == self.epoch() and self._reactor.seconds() - self._at <= self._max_age
        return self.latest if known else None

    def catalog(self, session: Session, max_age: float = MAX_AGE) -> Catalog | None:
        """The same; sees to it that there will be one, on a server leased for this session's identity."""
        self._max_age = max_age
        age = self._reactor.seconds() - self._at
        known = self._of_epoch == self.epoch()
        if not known or 2 * age > max_age:
            self._ask(session)
        return self.latest if known and age <= max_age else None

    @property
    def asking(self) -> bool:
        """Whether a server is being asked now."""
        return self._asking is not None

    def wait(self, session: Session, seconds: float) -> Deferred[Catalog | None]:
        """The catalog when it is there; None if it cannot be had in that time. Cancelling gives up.

        Nor can it be had by a session that holds a server meanwhile: that may be the one which is to be asked.
        """
        found = self.catalog(session, self._max_age)
        if found is not None or self._asking is None or (session.lease is not None and not session.keeps_server):
            return succeed(found)
        waiting: Deferred[Catalog | None] = Deferred(self._forget)
        self._waiting.append(waiting)
        waiting.addTimeout(seconds, self._reactor, lambda _value, _seconds: None)
        return waiting

    def _forget(self, waiting: Deferred[Catalog | None]) -> None:
        if waiting in self._waiting:
            self._waiting.remove(waiting)

    def _ask(self, session: Session) -> None:
        now = self._reactor.seconds()
        if self._asking is not None or now < self._not_before:
            return
        epoch = self.epoch()
        asking = self._on_a_server(session)
        if asking is None:
            return
        self._asking = asking
        asking.addTimeout(PATIENCE, self._reactor)
        asking.addCallbacks(self._told, self._failed, callbackArgs=(epoch, session))

    def _on_a_server(self, session: Session) -> Deferred[list[Row]] | None:
        """Ask; None if the one server of this session is busy."""
        lease = session.lease
        if session.keeps_server and lease is not None:
            server = lease.server
            free = server.alive and server.status == b"I" and not server.owed and not session.in_transaction
            return BorrowedQuery(server, lambda: None, CATALOG_QUERY, pooled=False).ask() if free else None
        leased = self._pool().lease(session.identity, {})
        waiting: Deferred[Lease] = succeed(leased) if isinstance(leased, Lease) else leased
        return waiting.addCallback(lambda lease: BorrowedQuery(lease.server, lease.release, CATALOG_QUERY).ask())

    def _told(self, rows: list[Row], epoch: int, session: Session) -> None:
        found, before = Catalog(rows), self.latest
        if before is None or before.rows != found.rows:
            self.latest = found
            self._told_to(found)
            if before is not None and epoch == self._of_epoch == self.epoch():
                self._noticed()
                epoch = self.epoch()
        self._asking, self.unreachable = None, False
        self._of_epoch, self._at = epoch, self._reactor.seconds()
        if epoch == self.epoch():
            self._tell(self.latest)
        elif self._waiting:
            self._ask(session)
            if self._asking is None:
                self._tell(None)

    def _failed(self, failure: Failure) -> None:
        self._asking = None
        self.unreachable = isinstance(failure.value, ServerUnavailable)
        self._not_before = self._reactor.seconds() + PAUSE
        if not isinstance(failure.value, CancelledError):
            log.info("a catalog could not be read: {error}", error=failure.getErrorMessage())
        self._tell(None)

    def _tell(self, catalog: Catalog | None) -> None:
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(catalog)
