"""Work for clients that are not logged in is done in slices."""

from __future__ import annotations

from collections.abc import Callable

from pgbeam_core.net.throttle import SLICE_S, WINDOW_S, Throttle


class Loop:
    """A loop whose turns and whose time pass when told."""

    def __init__(self) -> None:
        self.now = 0.0
        self.soon: list[Callable[[], None]] = []
        self.throttle = Throttle(self.soon.append, lambda: self.now)
        self.done: list[int] = []

    def work(self, number: int, seconds: float) -> Callable[[], None]:
        """Something that takes so long."""

        def step() -> None:
            self.now += seconds
            self.done.append(number)

        return step

    def turn(self) -> float:
        """One turn of the loop; how long it took."""
        begun, soon = self.now, self.soon[:]
        self.soon.clear()
        for call in soon:
            call()
        return self.now - begun


def test_little_is_done_at_once() -> None:
    """A single login waits for nothing."""
    loop = Loop()
    loop.throttle.do(loop.work(1, 0.001))
    assert loop.done == [1]
    assert not loop.soon


def test_a_thousand_handshakes_hold_up_nobody_for_long() -> None:
    """However many come in one turn of the loop, it is short, and all are served in the order in which they came."""
    loop = Loop()
    for number in range(1000):
        loop.throttle.do(loop.work(number, 0.002))
    assert loop.now <= SLICE_S + 0.002
    while loop.soon:
        assert loop.turn() <= SLICE_S + 0.002
    assert loop.done == list(range(1000))


def test_who_comes_later_waits_behind_those_who_wait() -> None:
    """Nobody overtakes, although there is time again."""
    loop = Loop()
    for number in range(10):
        loop.throttle.do(loop.work(number, SLICE_S))
    loop.now += 10 * WINDOW_S
    loop.throttle.do(loop.work(10, 0.0))
    while loop.soon:
        loop.turn()
    assert loop.done == list(range(11))


def test_many_short_turns_do_not_add_up() -> None:
    """What was spent a while ago does not count any more."""
    loop = Loop()
    for number in range(50):
        loop.now += WINDOW_S * 1.1
        loop.throttle.do(loop.work(number, SLICE_S))
    assert loop.done == list(range(50))
