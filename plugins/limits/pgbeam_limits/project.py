"""What the limits know of one project."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from pgbeam_core import Refusal, Session
from pgbeam_limits.admission import Admission, Bounds, Room, Share
from pgbeam_limits.counts import LimitCounts
from pgbeam_limits.networks import Address, Network
from pgbeam_limits.settings import LimitsSettings

TOO_MANY_CONNECTIONS = Refusal("53300", "too many connections for project")
MOST_USERS = 10_000
"""Users without clients whose buckets are remembered until they are full again."""

_OF_QUERIES = ("queries_per_second", "max_concurrent_queries")
Row = tuple[str, str | None, float, float | None, int]
"""Limit, whose, used, most, refused."""


class ProjectLimits:
    """Who is there, what runs, and what is left of the rates."""

    def __init__(self, settings: LimitsSettings, now: float) -> None:
        self.settings = settings
        self.counts = LimitCounts()
        self.room = Room(*_bounds(settings), now)
        self.databases: Counter[str] = Counter()
        """Clients that are logged in, by database."""
        self.networks: Counter[str] = Counter()
        """The same by entry of the allowlist."""
        self._users: dict[str, Share] = {}

    def set(self, settings: LimitsSettings) -> None:
        """These hold from now on; nobody who is there has to leave for them."""
        self.settings = settings
        self.room.bound(*_bounds(settings))

    def network_of(self, address: Address) -> Network | None:
        """The entry of the allowlist that lets an address in."""
        return next((net for net in self.settings.networks if address in net.range), None)

    def full_for(self, session: Session) -> Refusal | None:
        """Why one more client like this one may not come in; None if it may."""
        settings, counts, user = self.settings, self.counts, self._users.get(session.user)
        if 0 < settings.max_connections <= self.room.share.clients:
            counts.refused_by_max_connections += 1
            return TOO_MANY_CONNECTIONS
        if user is not None and 0 < settings.max_connections_per_user <= user.clients:
            counts.refused_by_max_connections_per_user += 1
            return Refusal("53300", f'too many connections for role "{session.user}"')
        if 0 < settings.max_connections_per_database <= self.databases[session.database]:
            counts.refused_by_max_connections_per_database += 1
            return Refusal("53300", f'too many connections for database "{session.database}"')
        return None

    def enter(self, session: Session, network: str | None, now: float) -> Admission:
        """It has logged in, and may stay."""
        user = self._users.get(session.user)
        if user is None:
            if len(self._users) >= MOST_USERS:
                self._forget_rested(now)
            user = self._users[session.user] = Share(self.room.per_user, now)
        user.clients += 1
        self.room.share.clients += 1
        self.databases[session.database] += 1
        if network is not None:
            self.networks[network] += 1
        return Admission(self.room, user)

    def leave(self, session: Session, network: str | None, now: float) -> None:
        """It has left. What its user has used of the rate is not forgotten for that."""
        user = self._users[session.user]
        user.clients -= 1
        self.room.share.clients -= 1
        if not user.clients and self._has_rested(user, now):
            del self._users[session.user]
        _take(self.databases, session.database)
        if network is not None:
            _take(self.networks, network)

    def _has_rested(self, user: Share, now: float) -> bool:
        bounds = self.room.per_user
        return not bounds.rate or user.bucket.is_full(bounds.rate, bounds.size, now)

    def _forget_rested(self, now: float) -> None:
        for name in [name for name, user in self._users.items() if not user.clients and self._has_rested(user, now)]:
            del self._users[name]

    def rows(self, now: float) -> Iterator[Row]:
        """One for each limit that is set, and each of whom it is about."""
        counts, room, settings = self.counts, self.room, self.settings
        yield from _row(
            "max_connections", None, room.share.clients, room.all.clients, counts.refused_by_max_connections
        )
        refused = counts.refused_by_queries_per_second
        yield from _rate("queries_per_second", None, room.share, room.all, now, refused)
        refused = counts.refused_by_max_concurrent_queries
        yield from _row("max_concurrent_queries", None, room.share.running, room.all.running, refused)
        for name, user in self._users.items():
            refused = counts.refused_by_max_connections_per_user
            yield from _row("max_connections_per_user", name, user.clients, room.per_user.clients, refused)
            refused = counts.refused_by_queries_per_second
            yield from _rate("queries_per_second_per_user", name, user, room.per_user, now, refused)
            refused = counts.refused_by_max_concurrent_queries
            yield from _row("max_concurrent_queries_per_user", name, user.running, room.per_user.running, refused)
        refused = counts.refused_by_max_connections_per_database
        for name, clients in self.databases.items():
            yield from _row(
                "max_connections_per_database", name, clients, settings.max_connections_per_database, refused
            )
        for network in settings.networks:
            yield "allowed_cidrs", network.entry, self.networks[network.entry], None, counts.refused_by_allowlist

    def rows_for(self, user: str, now: float) -> list[tuple[str, float, float]]:
        """(limit, used, most) of those that a query of that user meets."""
        return [
            (limit, used, most)
            for limit, whose, used, most, _ in self.rows(now)
            if most is not None and whose in (None, user) and limit.startswith(_OF_QUERIES)
        ]


def _bounds(settings: LimitsSettings) -> tuple[Bounds, Bounds]:
    """Those of the project, and those of each user."""
    everything = Bounds(
        settings.max_connections, settings.queries_per_second, settings.burst, settings.max_concurrent_queries
    )
    per_user = Bounds(
        settings.max_connections_per_user,
        settings.queries_per_second_per_user,
        settings.burst_per_user,
        settings.max_concurrent_queries_per_user,
    )
    return everything, per_user


def _row(limit: str, whose: str | None, used: float, most: float, refused: int) -> Iterator[Row]:
    if most:
        yield limit, whose, used, most, refused


def _rate(limit: str, whose: str | None, share: Share, bounds: Bounds, now: float, refused: int) -> Iterator[Row]:
    """Used: how much of the burst is, now."""
    if bounds.rate:
        left = share.bucket.left(bounds.rate, bounds.size, now)
        yield limit, whose, round(bounds.size - left, 3), bounds.size, refused


def _take(counter: Counter[str], key: str) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]
