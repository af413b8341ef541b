"""When the pool stops asking a target that does not answer, and when it asks again."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from twisted.internet.task import Clock

from pgbeam_core import PasswordNeeded, ServerUnavailable
from pgbeam_pool.breaker import Breaker
from tests.plugins.pool.machinery import ANNA, BOB, Machinery, Openings


@pytest.fixture
def clock() -> Clock:
    """Time that passes when told to."""
    return Clock()


@pytest.fixture
def breaker(clock) -> Breaker:
    """A breaker of a target that nobody has tried yet."""
    return Breaker(clock.seconds)


def fail(breaker: Breaker, times: int) -> None:
    """That many attempts without an answer."""
    for _ in range(times):
        breaker.failed(probe=breaker.open and breaker.allows())


def test_two_failures_do_not_open_it(breaker):
    """A target that fails twice is tried again at once."""
    fail(breaker, 2)
    assert not breaker.open
    assert breaker.allows()


def test_three_failures_in_a_row_open_it(breaker):
    """After the third failure in a row nobody waits for the target."""
    fail(breaker, 3)
    assert breaker.open
    assert not breaker.allows()


def test_a_success_in_between_starts_the_count_again(breaker):
    """Only failures in a row count."""
    fail(breaker, 2)
    breaker.succeeded()
    fail(breaker, 2)
    assert not breaker.open


def test_after_5_s_one_probe_is_let_through(breaker, clock):
    """One attempt at a time finds out whether the target is back."""
    fail(breaker, 3)
    clock.advance(4.9)
    assert not breaker.allows()
    clock.advance(0.2)
    assert breaker.allows()
    assert not breaker.allows()


def test_a_probe_that_succeeds_closes_it(breaker, clock):
    """The target is back: everybody may connect."""
    fail(breaker, 3)
    clock.advance(5)
    breaker.allows()
    breaker.succeeded()
    assert not breaker.open
    assert breaker.allows()
    assert breaker.allows()


def test_the_wait_doubles_up_to_60_s(breaker, clock):
    """A target that stays away is asked less and less often."""
    fail(breaker, 3)
    for wait in (5, 10, 20, 40, 60, 60):
        clock.advance(wait - 0.1)
        assert not breaker.allows()
        clock.advance(0.2)
        assert breaker.allows()
        breaker.failed(probe=True)


def test_after_a_success_the_wait_starts_at_5_s_again(breaker, clock):
    """A target that came back is not punished for the last time."""
    fail(breaker, 3)
    clock.advance(5)
    fail(breaker, 1)
    clock.advance(10)
    breaker.allows()
    breaker.succeeded()
    fail(breaker, 3)
    clock.advance(5)
    assert breaker.allows()


def test_a_probe_that_was_given_up_lets_another_one_through(breaker, clock):
    """A client that left during the probe tells nothing about the target."""
    fail(breaker, 3)
    clock.advance(5)
    breaker.allows()
    breaker.given_up(probe=True)
    assert breaker.open
    assert breaker.allows()


def test_a_late_failure_of_an_attempt_from_before_has_no_say(breaker, clock):
    """Attempts under way when the breaker opened may fail after it: the target is asked after 5 s, not sooner or
    later."""
    fail(breaker, 3)
    clock.advance(3)
    breaker.failed()
    clock.advance(1.9)
    assert not breaker.allows()
    clock.advance(0.2)
    assert breaker.allows()


def test_a_late_end_of_an_attempt_from_before_is_not_taken_for_the_probe(breaker, clock):
    """While one probe is under way there is no second one, whatever older attempts come to."""
    fail(breaker, 3)
    clock.advance(5)
    assert breaker.allows()
    breaker.failed()
    breaker.given_up()
    assert not breaker.allows()


def test_who_waits_when_it_opens_is_told_at_once():
    """Nobody waits for attempts of his own against a target that does not answer."""
    machinery = Machinery(max_active=3)
    waiting = [machinery.lease() for _ in range(5)]
    for _ in range(3):
        machinery.openings.fail(ServerUnavailable("down"))
    assert [one.message for one in waiting] == ["down"] * 3 + ["upstream unavailable (circuit breaker open)"] * 2
    machinery.check()


def test_an_open_breaker_is_closed_by_a_probe_of_its_own():
    """Everybody may be served from the cache meanwhile: the target is found to be back without any client's help."""
    machinery = Machinery()
    machinery.pool.upkeep.clients[ANNA] = 1
    for _ in range(3):
        machinery.lease()
        machinery.openings.fail(ServerUnavailable("down"))
    machinery.clock.advance(4.9)
    assert not machinery.openings.pending
    machinery.clock.advance(0.2)
    machinery.openings.fail(ServerUnavailable("down"))
    machinery.clock.advance(9.9)
    assert not machinery.openings.pending
    machinery.clock.advance(0.2)
    assert len(machinery.openings.pending) == 1
    assert machinery.lease().message == "upstream unavailable (circuit breaker open)"
    machinery.openings.succeed()
    assert machinery.pool.available
    machinery.check()
    machinery.pool.close("the test is over")
    assert not machinery.clock.getDelayedCalls()


def test_a_refusal_closes_it_too():
    """A server that asks the probe for a password is there."""
    machinery = Machinery()
    machinery.pool.upkeep.clients[ANNA] = 1
    for _ in range(3):
        machinery.lease()
        machinery.openings.fail(ServerUnavailable("down"))
    machinery.clock.advance(5.1)
    machinery.openings.fail(PasswordNeeded("it asks for a password"))
    assert machinery.pool.available


def test_without_clients_nobody_is_probed():
    """A parked project leaves its servers alone; the next client is the probe."""
    machinery = Machinery()
    for _ in range(3):
        machinery.lease()
        machinery.openings.fail(ServerUnavailable("down"))
    machinery.clock.advance(100)
    assert not machinery.openings.pending
    assert machinery.lease().waits
    machinery.openings.succeed()
    assert machinery.pool.available


class Holding(Openings):
    """An Opener that waits for a primary by itself."""

    holds = missing = True
    found: Callable[[], None]

    def on_found(self, call: Callable[[], None]) -> None:
        self.found = call


def test_who_waits_for_a_primary_goes_on_waiting():
    """Each has failover_hold_s of its own; when there is a primary again the breaker is closed at once."""
    machinery = Machinery(opener=Holding)
    waiting = [machinery.lease() for _ in range(5)]
    for _ in range(3):
        machinery.openings.fail(ServerUnavailable("no primary"))
    assert [one.waits for one in waiting] == [False] * 3 + [True] * 2
    assert machinery.lease().message == "upstream unavailable (circuit breaker open)"
    machinery.openings.missing = False
    machinery.openings.found()
    assert machinery.pool.available
    assert machinery.lease().waits


def test_a_server_that_never_becomes_clean_does_not_keep_its_place():
    """It has stopped in the middle of DISCARD ALL: its place is needed."""
    machinery = Machinery(max_active=1)
    asked = machinery.leased()
    asked.server.state.add("temp_table")
    asked.lease.release()
    waiting = machinery.lease(BOB)
    machinery.clock.advance(14)
    machinery.pool.tidy()
    assert waiting.waits
    assert not machinery.openings.pending
    machinery.clock.advance(2)
    machinery.pool.tidy()
    assert len(machinery.openings.pending) == 1
    machinery.check()
