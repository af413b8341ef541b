"""One host of a target, and one who waits for the primary among them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from pgbeam_core.api.query import Target
from pgbeam_core.errors import PgBeamError
from pgbeam_core.upstream.verdict import Claim

MISSED = 2
"""Answers in a row for which a primary may take too long before it counts as gone."""


class Member:
    """What is known of one host. state: not asked, primary, standby, fenced, no login or down."""

    def __init__(self, place: Target) -> None:
        self.place = place
        self.state = "not asked"
        self.why = ""
        """Why it is not the primary."""
        self.servers: set[Any] = set()
        """Those that clients use, or may use."""
        self.missed = 0
        """Answers that it has owed for too long, in a row."""
        self.left = False
        """The name stands for other addresses now."""
        self.ruled_out_at = -1e9
        """When a server of a client has said that this is no primary."""
        self.answer: Claim | None = None

    @property
    def address(self) -> str:
        """host:port, and the address where the host is a name."""
        place = self.place
        return f"{place.address} ({place.hostaddr})" if place.hostaddr else place.address

    def __repr__(self) -> str:
        return self.address

    @property
    def is_there(self) -> bool:
        """Whether its answer is worth waiting for."""
        return self.state != "down"

    def heard(self, said: Claim) -> None:
        """It has answered, and is to be judged by that."""
        self.answer, self.missed = said, 0
        if self.state in ("down", "not asked", "no login"):
            self.state = "standby" if said.recovering else "asked"

    def leads(self) -> None:
        """It is the primary from now on."""
        self.state, self.why = "primary", ""

    def is_not(self, why: str) -> None:
        """It is there, and no primary."""
        self.state, self.why = "standby", why

    def fence(self, why: str) -> bool:
        """It takes writes and must get none. True if that is news."""
        news = self.state != "fenced" or self.why != why
        self.state, self.why = "fenced", why
        return news

    def is_down(self, why: str, missed: int) -> None:
        """It does not answer, for the how manieth time."""
        self.state, self.why, self.missed = "down", why, missed

    def turns_away(self, why: str) -> None:
        """It is there, and does not let PgBeam in."""
        if self.state != "primary":
            self.state = "no login"
        self.why, self.missed = why, 0

    def abandon(self, reason: str) -> None:
        """Hang up on all its servers, whatever they are doing."""
        for server in list(self.servers):
            server.abandon(reason)

    def abandon_unused(self, reason: str) -> None:
        """Hang up on those that nobody uses."""
        for server in list(self.servers):
            if server.lease is None and not server.sharers:
                server.abandon(reason)


class Search:
    """One who waits for the primary. doubts: how many there were when it began to; a later one is not its business."""

    def __init__(
        self, clock: Any, seconds: float, doubts: int, among: list[Search], too_long: Callable[[Search], None]
    ) -> None:
        self.doubts = doubts
        self.found: Deferred[Member] = Deferred(lambda _: self._leave())
        self._clock = clock
        self._until = clock.seconds() + seconds
        self._among = among
        self._timer = clock.callLater(seconds, too_long, self) if seconds else None
        among.append(self)

    @property
    def has_waited_enough(self) -> bool:
        """Whether it has waited long enough."""
        done: bool = self._clock.seconds() >= self._until
        return done

    def succeed(self, member: Member) -> None:
        self._leave()
        self.found.callback(member)

    def fail(self, error: PgBeamError) -> None:
        self._leave()
        self.found.errback(Failure(error))

    def _leave(self) -> None:
        if self in self._among:
            self._among.remove(self)
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
