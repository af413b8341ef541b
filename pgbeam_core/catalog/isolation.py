"""Keeps what the isolation level of a transaction is that names none: servers decide that, per database and role."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, succeed

from pgbeam_core.api.pool import Identity, Lease, Pool
from pgbeam_core.api.query import Target
from pgbeam_core.internal.borrowed_query import BorrowedQuery
from pgbeam_core.internal.owner import Row

if TYPE_CHECKING:
    from pgbeam_core.session.session import Session

MAX_AGE = 15.0
"""Seconds after which a level in use is asked for again: a server that reads its configuration again may have another
one. What ALTER ROLE and ALTER DATABASE change holds for new servers, and each says its own when it has logged in."""
PATIENCE = 5.0
"""Seconds that asking may take, the wait for a server included."""
_MOST = 10_000
"""Identities remembered. Beyond that all are forgotten, until a server of theirs is opened."""
_ISOLATION_QUERY = (
    b"SELECT reset_val FROM pg_catalog.pg_settings WHERE name OPERATOR(pg_catalog.=) 'default_transaction_isolation'"
)
"""What RESET would return to, whatever a client has set meanwhile."""

Place = tuple[Target, Identity]


class Isolation:
    """Levels in lower case, as servers tell them."""

    def __init__(self, reactor: Any, pool: Callable[[Target], Pool]) -> None:
        self._reactor = reactor
        self._pool = pool
        self._known: dict[Place, tuple[str, float]] = {}
        self._asking: set[Place] = set()

    def told(self, target: Target, identity: Identity, level: str | None) -> None:
        """A server has said what it is there; None: it could not."""
        place = target, identity
        if level is None:
            self._known.pop(place, None)
            return
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[place] = level, self._reactor.seconds()

    def level(self, session: Session) -> str | None:
        """What holds for a session that has set nothing; None if that is not known."""
        place = session.project.primary, session.identity
        known = self._known.get(place)
        if known is None:
            return None
        level, at = known
        if self._reactor.seconds() - at > MAX_AGE and place not in self._asking:
            self._asking.add(place)
            self._ask(place)
        return level

    def _ask(self, place: Place) -> None:
        target, identity = place
        leased = self._pool(target).lease(identity, {})
        waiting: Deferred[Lease] = succeed(leased) if isinstance(leased, Lease) else leased
        answer: Deferred[Any] = waiting.addCallback(
            lambda lease: BorrowedQuery(lease.server, lease.release, _ISOLATION_QUERY).ask()
        )
        answer.addTimeout(PATIENCE, self._reactor)
        answer.addCallbacks(self._answered, lambda _: self.told(target, identity, None), callbackArgs=(place,))
        answer.addBoth(lambda _: self._asking.discard(place))

    def _answered(self, rows: list[Row], place: Place) -> None:
        level = rows[0][0] if rows else None
        self.told(*place, None if level is None else level.lower())
