"""The watchdog of the loop, on a clock of the test's own; its thread is asked to look by hand."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher

from pgbeam_core import watchdog
from pgbeam_core.watchdog import BEAT_S, LATE_S, SAY_EVERY_S, Watchdog


class Loop:
    """A loop that can be held; its thread's time on a processor is a number."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.worked = 0.0
        self.watchdog = Watchdog(self.clock, now=self.clock.seconds, cpu=lambda: self.worked)
        self.watchdog.start()
        self.watchdog.looker.stop()

    def turns(self, seconds: float) -> None:
        """It turns as it should, with nothing to do."""
        self.clock.pump([BEAT_S] * round(seconds / BEAT_S))

    def held(self, seconds: float, worked: float | None = None) -> None:
        """A callback takes that long from when a beat is due, and works all of it, or as long as it says."""
        self.clock.rightNow += BEAT_S
        self.clock.rightNow += seconds
        self.worked += seconds if worked is None else worked
        beside = threading.Thread(target=self.watchdog.looker.look)
        beside.start()
        beside.join()
        self.clock.advance(0)


@pytest.fixture
def loop() -> Loop:
    """One that has turned for a while."""
    loop = Loop()
    loop.turns(1)
    return loop


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """What is logged."""
    said: list[str] = []

    def observe(event: dict[str, object]) -> None:
        said.append(str(event["log_format"]).format(**event))

    globalLogPublisher.addObserver(observe)
    yield said
    globalLogPublisher.removeObserver(observe)


def test_a_loop_that_turns_has_no_gap(loop: Loop, lines: list[str]) -> None:
    """A healthy PgBeam counts nothing and says nothing."""
    loop.turns(60)
    assert loop.watchdog.stats() == {"gaps": 0, "gaps_held": 0, "longest_gap_ms": 0, "longest_held_ms": 0}
    assert lines == []


def test_a_held_loop_is_measured_counted_and_named(loop: Loop, lines: list[str]) -> None:
    """Who looks at stats or the log sees for how long everybody had to wait, and where in the code."""
    loop.held(0.3)
    assert loop.watchdog.stats() == {"gaps": 1, "gaps_held": 1, "longest_gap_ms": 300, "longest_held_ms": 300}
    (line,) = lines
    assert line.startswith("the loop was held for 300 ms, 300 ms of them at work, in ")
    assert f"{__name__}.Loop.held, line " in line
    assert "Loop.held" in loop.watchdog.worst


def test_a_short_gap_is_measured_and_not_counted(loop: Loop, lines: list[str]) -> None:
    """What nobody notices fills no log."""
    loop.held(LATE_S - 0.01)
    assert loop.watchdog.stats() == {"gaps": 0, "gaps_held": 0, "longest_gap_ms": 40, "longest_held_ms": 40}
    assert lines == []


def test_a_machine_that_lets_it_wait_holds_nothing(loop: Loop, lines: list[str]) -> None:
    """A busy machine, or a call that sleeps, is told from work that took too long."""
    loop.held(0.3, worked=0.001)
    assert loop.watchdog.stats() == {"gaps": 1, "gaps_held": 0, "longest_gap_ms": 300, "longest_held_ms": 1}
    assert "did not turn for 300 ms, only 1 ms of them at work" in lines[0]


def test_work_before_the_beat_was_due_counts_for_no_more_than_the_gap(loop: Loop) -> None:
    """A loop with much to do in small pieces is not taken for one that is held."""
    loop.worked += BEAT_S
    loop.held(0.002)
    assert loop.watchdog.stats()["longest_held_ms"] == 2


def test_a_line_every_ten_seconds_has_the_count(loop: Loop, lines: list[str]) -> None:
    """A loop that is held again and again does not flood the log, and none of it is lost."""
    for _ in range(5):
        loop.held(0.1)
    assert len(lines) == 1
    loop.turns(SAY_EVERY_S)
    loop.held(0.1)
    assert len(lines) == 2
    assert "; 5 such gaps since the last line" in lines[1]
    assert loop.watchdog.stats()["gaps"] == 6


def test_a_gap_whose_place_was_not_seen_is_told_all_the_same(loop: Loop, lines: list[str]) -> None:
    """The thread beside it may not get its turn in time; the gap is measured by the loop itself."""
    loop.clock.rightNow += BEAT_S + 0.2
    loop.worked += 0.2
    loop.clock.advance(0)
    assert "in a place unseen" in lines[0]


def test_stopped_it_beats_no_more(loop: Loop) -> None:
    """A PgBeam that has stopped leaves no timer and no thread."""
    loop.watchdog.stop()
    assert loop.clock.getDelayedCalls() == []
    deadline = time.monotonic() + 5
    while any(thread.name == "pgbeam-watchdog" for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_looks_at_one_gap_are_bounded(loop: Loop) -> None:
    """A loop that never turns again costs the thread beside it next to nothing."""
    loop.clock.rightNow += 1000
    for _ in range(1000):
        loop.watchdog.looker.look()
    assert loop.watchdog.looker._looks == watchdog._MOST_LOOKS
