"""Cancel requests to one server, one at a time: who asked for one never waits for longer than it takes."""

from __future__ import annotations

from collections import deque
from typing import Any

from twisted.internet.defer import Deferred

from pgbeam_core.internal.owner import InternalOwner
from pgbeam_core.net.cancel import Cancelling
from pgbeam_core.session.turns import Turn


class Case:
    """A server that owes a turn of PgBeam's own and one of a client's, and the cancel requests to it."""

    def __init__(self) -> None:
        self.own, self.clients = Turn(InternalOwner(), simple=True), Turn(InternalOwner(), simple=True)
        self.turns: deque[Any] = deque([self.own, self.clients])
        self.asked: list[Deferred[None]] = []
        self.cancelling = Cancelling(self._ask, self.turns)

    def _ask(self) -> Deferred[None]:
        self.asked.append(Deferred())
        return self.asked[-1]


def test_a_turn_behind_another_is_cancelled_when_its_time_comes() -> None:
    """And not before: it is not the one before it that the client wants to end."""
    case = Case()
    done = case.cancelling.cancel(case.clients)
    assert not case.asked
    case.turns.popleft()
    case.cancelling.go_on()
    assert len(case.asked) == 1
    assert not done.called
    case.turns.popleft()
    settled = case.cancelling.settled()
    assert settled is not None
    case.asked[0].callback(None)
    assert done.called
    assert settled.called


def test_a_turn_that_ends_before_it_can_be_cancelled_keeps_nobody_waiting() -> None:
    """Both replies came at once, and the server went back to its pool before anybody looked at the cancel request."""
    case = Case()
    done = case.cancelling.cancel(case.clients)
    case.turns.clear()
    assert case.cancelling.settled() is None
    assert done.called
    assert not case.asked


def test_a_second_request_waits_for_the_first() -> None:
    """Its turn has ended meanwhile: nothing is asked once more, and nobody waits any longer."""
    case = Case()
    case.turns.popleft()
    first = case.cancelling.cancel(case.clients)
    second = case.cancelling.cancel(case.clients)
    case.turns.clear()
    assert case.cancelling.settled() is not None
    case.asked[0].callback(None)
    assert first.called
    assert second.called
    assert len(case.asked) == 1
    assert case.cancelling.settled() is None
