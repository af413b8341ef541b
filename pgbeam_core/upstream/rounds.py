"""Asks all hosts of a target, one round after another. A host is asked one question at a time; one that was down is not
waited for, and its answer counts whenever it comes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as TimedOut
from twisted.logger import Logger
from twisted.python.failure import Failure

from pgbeam_core.api.query import Target
from pgbeam_core.errors import PasswordNeeded, ServerRefused
from pgbeam_core.upstream.member import MISSED, Member
from pgbeam_core.upstream.verdict import Claim, Row, answer

log = Logger(__name__)

PROBE_S = 1.0, 5.0
"""The shortest and the longest time for one answer; between them it is as long as the time between two rounds."""
_ANSWERED = ("28", "3D", "42", "53")
"""Classes of SQLSTATE of a server that is well and turns PgBeam away: credentials, database, privileges, no room."""


class Rounds:
    """Of one target.

    ask(place): the question put to one host. places(): the hosts as their names stand for now. begins(places): gives
    whom to ask; None: the names could not be looked up. heard(member): one has answered, or will not; None: there is
    nobody to ask. `said` has what came in this round.
    """

    def __init__(
        self,
        clock: Any,
        *,
        ask: Callable[[Target], Deferred[list[Row]]],
        places: Callable[[], Deferred[list[Target]]],
        begins: Callable[[list[Target] | None], list[Member]],
        heard: Callable[[Member | None], None],
        interval: float,
    ) -> None:
        self.said: dict[Target, Claim] = {}
        """What was answered in this round."""
        self.outstanding: dict[Member, Deferred[Any]] = {}
        self.again = False
        """Another round is wanted after this one: what is in doubt came up when it had begun."""
        self.began = -1e9
        self._clock = clock
        self._ask = ask
        self._places = places
        self._begins = begins
        self._heard = heard
        least, most = PROBE_S
        self._limit = min(max(interval, least), most)
        self._looking = False
        """The names are being looked up."""
        self._closed = False

    @property
    def awaited(self) -> bool:
        """Whether somebody is to be heard before the round is judged."""
        return self._looking or any(member.is_there for member in self.outstanding)

    def begin(self) -> None:
        """Ask all of them, unless that is going on: then once more behind it."""
        if self.awaited:
            self.again = True
            return
        self.again = False
        self.began = self._clock.seconds()
        self._looking = True
        self._places().addBoth(self._looked_up)

    def close(self) -> None:
        """Ask nobody any more, and listen to nobody."""
        self._closed = True
        for asking in list(self.outstanding.values()):
            asking.cancel()

    def _looked_up(self, places: list[Target] | Failure) -> None:
        self._looking = False
        if self._closed:
            return
        if isinstance(places, Failure):
            log.warn("{error}: the addresses from before are asked", error=places.getErrorMessage())
        self.said = {}
        members = self._begins(None if isinstance(places, Failure) else places)
        asked = [member for member in members if member not in self.outstanding]
        self.outstanding.update({member: self._ask(member.place) for member in asked})
        for member in asked:
            asking = self.outstanding[member]
            asking.addTimeout(self._limit, self._clock)
            asking.addCallback(_first)
            asking.addCallbacks(self._answered, self._not_answered, callbackArgs=(member,), errbackArgs=(member,))
            asking.addErrback(_unexpected)
        if not asked:
            self._heard(None)

    def _answered(self, said: Claim, member: Member) -> None:
        self.outstanding.pop(member, None)
        if not self._closed:
            member.heard(said)
            self.said[member.place] = said
            self._heard(member)

    def _not_answered(self, failure: Failure, member: Member) -> None:
        self.outstanding.pop(member, None)
        if self._closed:
            return
        error = failure.value
        refused = isinstance(error, ServerRefused) and error.sqlstate[:2] in _ANSWERED
        if refused or isinstance(error, PasswordNeeded):
            member.turns_away(str(error))
        elif isinstance(error, TimedOut):
            member.is_down("it does not answer", member.missed + 1)
        else:
            member.is_down(str(error) or "it cannot be reached", MISSED)
        self._heard(member)


def _first(rows: list[Row]) -> Claim:
    return answer(rows[0] if rows else ())


def _unexpected(failure: Failure) -> None:
    log.failure("what a host has said was not understood", failure=failure)
