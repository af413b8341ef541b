"""When the pool stops asking a target that does not answer, and when it asks again."""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock

from pgbeam_pool.breaker import Breaker


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
        breaker.allows()
        breaker.failed()


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
        breaker.failed()


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
    breaker.given_up()
    assert breaker.open
    assert breaker.allows()


def test_a_late_failure_of_an_attempt_from_before_does_not_shorten_the_wait(breaker, clock):
    """Attempts under way when the breaker opened may fail after it: the target is still asked after 5 s, not sooner."""
    fail(breaker, 3)
    clock.advance(3)
    breaker.failed()
    clock.advance(4.9)
    assert not breaker.allows()
    clock.advance(0.2)
    assert breaker.allows()
