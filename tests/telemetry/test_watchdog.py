"""The watchdog of the loop, on a clock of the test's own; its thread is asked to look by hand."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from functools import partial

import pytest
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher

from pgbeam_core.telemetry import watchdog
from pgbeam_core.telemetry.watchdog import BEAT_S, CHECK_S, LATE_S, LOOK_S, REST_S, SAY_EVERY_S, Watchdog


class Loop:
    """A loop that can be held; its thread's time on a processor is a number."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.clock.callFromThread = partial(self.clock.callLater, 0)  # type: ignore[attr-defined]
        self.worked = 0.0
        self.watchdog = Watchdog(self.clock, now=self.clock.seconds, cpu=lambda _thread: lambda: self.worked)
        self.watchdog.start()

    @property
    def asleep(self) -> bool:
        """Whether no beat is to come."""
        return self.clock.getDelayedCalls() == []

    def turns(self, seconds: float, busy: float = 0.5) -> None:
        """It turns as it should, and is busy for that part of its time."""
        for _ in range(round(seconds / BEAT_S)):
            self.worked += busy * BEAT_S
            self.clock.advance(BEAT_S)
            self.watchdog.looker.look()

    def passes(self, seconds: float, worked: float = 0.0) -> None:
        """Time in which it cannot turn."""
        self.clock.rightNow += seconds
        self.worked += worked

    def looked_at(self) -> None:
        """By the thread beside it."""
        beside = threading.Thread(target=self.watchdog.looker.look)
        beside.start()
        beside.join()

    def held(self, seconds: float, worked: float | None = None) -> None:
        """A callback takes that long from when a beat is due, and works all of it, or as long as it says."""
        self.passes(BEAT_S)
        self.passes(seconds, seconds if worked is None else worked)
        self.looked_at()
        self.clock.advance(0)


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> Loop:
    """One that has worked for a while, beside a thread that looks when it is told to."""
    monkeypatch.setattr(watchdog.Looker, "start", lambda self: None)
    loop = Loop()
    loop.turns(2)
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
    assert f"{__name__}.Loop.looked_at, line " in line
    assert "Loop.looked_at" in loop.watchdog.worst


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
    loop.passes(BEAT_S + 0.2, worked=0.2)
    loop.clock.advance(0)
    assert "in a place unseen" in lines[0]


def test_a_loop_with_nothing_to_do_sleeps(loop: Loop) -> None:
    """An idle PgBeam costs next to nothing: no beat keeps its processor awake, but for one look now and then."""
    loop.turns(REST_S + 1, busy=0.01)
    assert loop.asleep
    woken = 0
    for _ in range(100):
        loop.passes(LOOK_S - BEAT_S)
        loop.watchdog.looker.look()
        woken += not loop.asleep
        loop.clock.advance(0)
        loop.clock.advance(BEAT_S)
        assert loop.asleep
    assert 0 < woken <= 100 * LOOK_S / CHECK_S + 1
    assert loop.watchdog.gaps == 0


def test_a_sleeping_loop_that_is_held_is_noticed(loop: Loop, lines: list[str]) -> None:
    """The first heavy query after a quiet night is measured from the next look on."""
    loop.turns(REST_S + 1, busy=0.0)
    loop.passes(LOOK_S, worked=LOOK_S)
    loop.looked_at()
    loop.passes(0.4, worked=0.4)
    loop.looked_at()
    loop.clock.advance(0)
    assert loop.watchdog.stats() == {"gaps": 1, "gaps_held": 1, "longest_gap_ms": 400, "longest_held_ms": 400}
    assert "Loop.looked_at" in lines[0]


def test_a_call_that_lets_no_thread_run_is_noticed(loop: Loop, lines: list[str]) -> None:
    """A parser written in C that keeps all of Python waiting is measured by how late the look itself was."""
    loop.turns(REST_S + 1, busy=0.0)
    loop.passes(4.0, worked=4.0)
    loop.looked_at()
    loop.clock.advance(0)
    assert loop.watchdog.longest_held_s == pytest.approx(4.0, abs=2 * LOOK_S)
    assert len(lines) == 1


def test_a_sleeping_loop_that_is_blocked_is_noticed(loop: Loop, lines: list[str]) -> None:
    """A call that waits for a disk uses no processor, and holds everybody up all the same."""
    loop.turns(REST_S + 1, busy=0.0)
    loop.passes(CHECK_S)
    loop.looked_at()
    loop.passes(3.0)
    loop.looked_at()
    loop.clock.advance(0)
    assert loop.watchdog.stats() == {"gaps": 1, "gaps_held": 0, "longest_gap_ms": 3000, "longest_held_ms": 0}
    assert "did not turn for 3000 ms" in lines[0]


def test_stopped_it_beats_no_more() -> None:
    """A PgBeam that has stopped leaves no timer and no thread."""
    loop = Loop()
    loop.watchdog.stop()
    assert loop.asleep
    deadline = time.monotonic() + 5
    while any(thread.name == "pgbeam-watchdog" for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_looks_at_one_gap_are_bounded(loop: Loop) -> None:
    """A loop that never turns again costs the thread beside it next to nothing."""
    loop.passes(1000)
    for _ in range(1000):
        loop.watchdog.looker.look()
    assert loop.watchdog.looker._looks == watchdog._MOST_LOOKS


def test_a_thread_has_a_clock_of_its_own() -> None:
    """What other threads work does not count for the loop."""
    clock = watchdog.processor_time(threading.get_ident())
    before = clock()
    busy = threading.Thread(target=lambda: sum(range(2_000_000)))
    busy.start()
    busy.join()
    among_others = clock() - before
    sum(range(4_000_000))
    assert among_others < clock() - before - among_others
