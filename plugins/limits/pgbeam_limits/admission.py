"""Whether one more query may run: rates and numbers at once, of a project and of each of its users."""

from __future__ import annotations

from pgbeam_limits.bucket import Bucket

RATE = "rate"
CONCURRENT = "concurrent"


class Bounds:
    """What a project, or each of its users, may use. 0 is no limit."""

    __slots__ = ("clients", "rate", "running", "size")

    def __init__(self, clients: int, rate: float, burst: int, running: int) -> None:
        self.clients = clients
        self.rate = rate
        self.size = float(burst) or max(rate, 1.0)
        """Of the token bucket."""
        self.running = running


class Share:
    """What a project, or one of its users, uses now."""

    __slots__ = ("bucket", "clients", "running")

    def __init__(self, bounds: Bounds, now: float) -> None:
        self.clients = 0
        """That are logged in."""
        self.running = 0
        """Clients that have queries running, or waiting for a server."""
        self.bucket = Bucket(bounds.size, now)

    def is_spent(self, bounds: Bounds) -> bool:
        """Whether no more clients may have queries running."""
        return 0 < bounds.running <= self.running


class Room:
    """One project: what all of it and each user of it may use."""

    __slots__ = ("all", "counts_queries", "counts_running", "per_user", "share")

    def __init__(self, everything: Bounds, per_user: Bounds, now: float) -> None:
        self.share = Share(everything, now)
        self.all = everything
        self.per_user = per_user
        self.counts_running = False
        self.counts_queries = False
        self.bound(everything, per_user)

    def bound(self, everything: Bounds, per_user: Bounds) -> None:
        """These hold from now on."""
        self.all = everything
        self.per_user = per_user
        self.counts_running = everything.running > 0 or per_user.running > 0
        self.counts_queries = self.counts_running or everything.rate > 0 or per_user.rate > 0


class Admission:
    """One client that is logged in."""

    __slots__ = ("_room", "_running", "_user")

    def __init__(self, room: Room, user: Share) -> None:
        self._room = room
        self._user = user
        self._running = 0

    def ask(self, now: float, *, ends: bool) -> str | None:
        """Why one more query of its may not run; None if it may.

        ends: it ends a transaction. Refused, that would hold its locks and its server for longer, to nobody's good.
        """
        room = self._room
        if room.counts_running and not (self._running or ends) and self._are_too_many_running(room):
            return CONCURRENT
        return None if self._take_tokens(room, now) or ends else RATE

    def _are_too_many_running(self, room: Room) -> bool:
        return room.share.is_spent(room.all) or self._user.is_spent(room.per_user)

    def _take_tokens(self, room: Room, now: float) -> bool:
        """One of its user's and one of its project's, or none."""
        rate, size = room.per_user.rate, room.per_user.size
        if rate and not self._user.bucket.take(rate, size, now):
            return False
        if room.all.rate and not room.share.bucket.take(room.all.rate, room.all.size, now):
            if rate:
                self._user.bucket.tokens += 1.0
            return False
        return True

    @property
    def counts_queries(self) -> bool:
        """Whether anything is bounded that a query uses."""
        return self._room.counts_queries

    @property
    def counts_running(self) -> bool:
        """Whether it matters how many clients have queries running."""
        return self._room.counts_running

    def begin(self) -> None:
        """One of its queries runs."""
        self._running += 1
        if self._running == 1:
            self._room.share.running += 1
            self._user.running += 1

    def end(self) -> None:
        """One of them runs no more."""
        self._running -= 1
        if not self._running:
            self._room.share.running -= 1
            self._user.running -= 1

    def leave(self) -> None:
        """Whatever ran for it, it has left."""
        if self._running:
            self._running = 1
            self.end()
