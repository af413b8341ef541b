"""Keeps watch over the hosts of one target: which of them is the primary, and since when it is not that one any more.

They are asked in rounds: again and again while PgBeam has servers there or wants one, and at once when one was lost. A
member that was there before is waited for before another one, or the same one again, is taken for the primary; only
one that has been promoted since needs no witness.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import Logger

from pgbeam_core.api.query import Target
from pgbeam_core.errors import PgBeamError, ServerUnavailable
from pgbeam_core.upstream.member import MISSED, Member, Search
from pgbeam_core.upstream.memory import Memory
from pgbeam_core.upstream.names import Names
from pgbeam_core.upstream.rounds import Rounds
from pgbeam_core.upstream.verdict import Judgement, Row, judge, supersedes

log = Logger(__name__)

SEARCH_S = 0.25
"""Seconds between two rounds while there is no primary and somebody waits for one."""
SEARCHED_FOR_S = 600.0
"""So long it is looked for though nobody waits: whoever comes then finds it at once."""


class Members:
    """Of one target.

    ask(place): HOST_QUERY put to one host. names: what the hosts stand for; without, they are asked by what they are
    called. found(): told whenever there is a primary again, or another one.
    """

    def __init__(
        self,
        target: Target,
        clock: Any,
        memory: Memory,
        *,
        ask: Callable[[Target], Deferred[list[Row]]],
        names: Names | None = None,
        interval: float = 2.0,
    ) -> None:
        self.target = target
        self.primary: Member | None = None
        self.failovers = 0
        """Times that another member became the primary."""
        self.found: Callable[[], None] = lambda: None
        self.names = names or Names(target, clock, lambda host, port: succeed([]))
        self._interval = interval
        self._clock = clock
        self._memory = memory
        self._members: dict[Target, Member] = {}
        self._rounds = Rounds(
            clock,
            ask=ask,
            places=lambda: self.names.places(doubted=self.primary is None or self._settled != self._doubts),
            begins=self._begins,
            heard=self._heard,
            interval=interval,
        )
        self._judged = -1e9
        self._doubts, self._asked, self._settled = 1, 0, 0
        """Reasons to doubt who is the primary: all, those before the last round, those before the last verdict."""
        self._lost_at: float | None = clock.seconds()
        self._next: Any = None
        self._searches: list[Search] = []
        self._warned = self._closed = False

    # For those who want the primary.

    @property
    def missing(self) -> bool:
        """There is no primary, as far as is known."""
        return self.primary is None and self._judged > 0

    def find(self, seconds: float) -> Deferred[Member]:
        """The primary, as soon as there is one; ServerUnavailable if there is none within that time.

        It is not taken for granted after something was lost there, or when nobody has looked for long.
        """
        if self._closed:
            return fail(ServerUnavailable(f"{self.target.address} is not in the settings any more"))
        if self.primary is not None and self._settled == self._doubts and self._is_fresh():
            return succeed(self.primary)
        search = Search(self._clock, seconds, self._doubts, self._searches, self._too_long)
        if not self._rounds.awaited:
            self._look()
        return search.found

    def suspect(self, member: Member) -> None:
        """A server of it was lost, or could not be opened: all are asked anew."""
        if not self._closed and (member is self.primary or self.primary is None):
            self._doubts += 1
            self._look()

    def told_otherwise(self, member: Member, why: str) -> None:
        """A server of it was opened for a client, and turned out to be no primary's."""
        member.ruled_out_at = self._clock.seconds()
        member.is_not(why)
        if member is self.primary:
            self._loses_primary(why)
        self._doubts += 1
        self._look()

    def adopt(self, member: Member, server: Any) -> None:
        """A server of it was opened."""
        member.servers.add(server)
        server.ended = lambda expected: self._ended(member, server, expected=expected)
        self._schedule()

    def rows(self) -> list[tuple[str, str, int, str]]:
        """(address, state, servers, why it is not the primary) of each member."""
        return [
            (each.address, each.state, len(each.servers), each.why) for each in self._members.values() if not each.left
        ]

    def close(self) -> None:
        """Ask nobody any more; who waits for the primary waits in vain."""
        self._closed = True
        if self._next is not None:
            self._next.cancel()
            self._next = None
        self._rounds.close()
        for search in list(self._searches):
            search.fail(ServerUnavailable(f"{self.target.address} is not in the settings any more"))

    # Rounds.

    def _is_fresh(self) -> bool:
        return self._next is not None or self._clock.seconds() - self._judged <= self._interval

    def _look(self) -> None:
        if self._next is not None:
            self._next.cancel()
            self._next = None
        self._rounds.begin()

    def _begins(self, places: list[Target] | None) -> list[Member]:
        """Whom to ask, the names standing for these addresses now."""
        self._asked = self._doubts
        for place in places or ():
            self._members.setdefault(place, Member(place)).left = False
        if places is not None:
            for place in [place for place in self._members if place not in places]:
                self._leave(self._members[place])
        return [member for member in self._members.values() if not member.left]

    def _heard(self, member: Member | None) -> None:
        """One more has answered, or will not; None: there is nobody to ask."""
        rounds = self._rounds
        said = None if member is None else rounds.said.get(member.place)
        promoted = said is not None and supersedes(said, self._memory.of(self.target))
        if promoted or not rounds.awaited:
            self._judge()

    def _judge(self) -> None:
        """By what this round has brought so far."""
        rounds = self._rounds
        said = {place: rounds.said[place] for place in self._members if place in rounds.said}
        current = None if self.primary is None else self.primary.place
        writable = self.target.session_attrs == "read-write"
        self._judged = self._clock.seconds()
        self._apply(judge(said, self._memory.of(self.target), current, writable=writable))
        if not rounds.awaited:
            if rounds.again and self._next is None:
                self._next = self._clock.callLater(0, self._due)
            else:
                self._schedule()

    def _apply(self, verdict: Judgement) -> None:
        for place, why in verdict.not_primary.items():
            member = self._members[place]
            if place in verdict.fenced:
                if member.fence(why):
                    log.error(
                        "{target}: {member} takes writes and is not the primary: {why}. Nothing is sent to it",
                        target=self.target.address,
                        member=member.address,
                        why=why,
                    )
            else:
                member.is_not(why)
            member.abandon(f"{member.address} is not the primary: {why}")
        chosen = self._members[verdict.primary] if verdict.primary is not None else self._by_trial()
        if verdict.primary is not None:
            self._memory.learn(self.target, verdict.known)
        if chosen is not None:
            self._has_primary(chosen)
        elif self.primary is not None and not 0 < self.primary.missed < MISSED:
            self._loses_primary(self.primary.why)
        if self.primary is None:
            for search in [search for search in self._searches if search.has_waited_enough]:
                self._too_long(search)

    def _by_trial(self) -> Member | None:
        """None says what it is, for PgBeam has no login there, and never had: servers of clients will tell."""
        known = self._memory.of(self.target)
        shut = [member for member in self._members.values() if member.state == "no login" and not member.left]
        if self._rounds.outstanding or self._rounds.said or known.timeline or not shut:
            return None
        if not self._warned:
            self._warned = True
            log.warn(
                "{target}: PgBeam cannot log in to ask which host is the primary, so it tries them; name a user (and "
                "password) in the URL",
                target=self.target.address,
            )
        if self.primary in shut:
            return self.primary
        return min(shut, key=lambda member: member.ruled_out_at)

    def _has_primary(self, member: Member) -> None:
        before, self.primary = self.primary, member
        self._settled = self._asked
        last, self._lost_at = self._lost_at, None
        member.leads()
        if before is not member:
            if before is not None or (last is not None and self.failovers):
                log.warn("{target}: the primary is {member} now", target=self.target.address, member=member.address)
            else:
                log.info("{target}: the primary is {member}", target=self.target.address, member=member.address)
            self.failovers += before is not None
            if before is not None:
                before.abandon(f"the primary is {member.address} now")
        for search in [search for search in self._searches if search.doubts <= self._settled]:
            search.succeed(member)
        if before is not member:
            self.found()

    def _loses_primary(self, why: str) -> None:
        assert self.primary is not None
        log.error(
            "{target}: {member} is not the primary any more: {why}",
            target=self.target.address,
            member=self.primary.address,
            why=why or "it cannot be reached",
        )
        lost, self.primary = self.primary, None
        self._lost_at = self._clock.seconds()
        lost.abandon_unused(f"{lost.address} is not the primary any more")

    def _schedule(self) -> None:
        """The next round, if anybody has use for it."""
        if self._closed or self._next is not None or self._rounds.awaited:
            return
        now = self._clock.seconds()
        if self._searches:
            pause = SEARCH_S
        elif any(member.servers for member in self._members.values()) or (
            self._lost_at is not None and now - self._lost_at < SEARCHED_FOR_S
        ):
            pause = max(self._interval - (now - self._rounds.began), SEARCH_S)
        else:
            return
        self._next = self._clock.callLater(pause, self._due)

    def _due(self) -> None:
        self._next = None
        self._look()

    # What becomes of servers and of those who wait.

    def _ended(self, member: Member, server: Any, *, expected: bool) -> None:
        member.servers.discard(server)
        if not expected:
            self.suspect(member)

    def _leave(self, member: Member) -> None:
        """Its name stands for other addresses now."""
        if not member.left:
            log.info(
                "{target}: {member} is not among its addresses any more", target=self.target.address, member=member
            )
        member.left = True
        member.abandon_unused("its name stands for other addresses now")
        if member is self.primary:
            self._loses_primary("its name stands for other addresses now")
        if not member.servers:
            self._members.pop(member.place, None)

    def _too_long(self, search: Search) -> None:
        whys = "; ".join(_whys(self._members.values()))
        message = f"upstream unavailable (no primary among {self.target.address})"
        search.fail(ServerUnavailable(message, hint=f"{whys}." if whys else None))


def _whys(members: Iterable[Member]) -> Iterable[str]:
    return (f"{member.address}: {member.why or member.state}" for member in members if not member.left)


def is_turned_off(error: BaseException) -> bool:
    """Whether a server has refused a login because it starts, stops, or has been told to go."""
    return isinstance(error, PgBeamError) and error.sqlstate in ("57P01", "57P02", "57P03")
