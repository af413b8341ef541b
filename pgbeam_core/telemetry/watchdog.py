"""Watches that nobody holds the loop: how long it did not turn, how much of that it worked, and on what.

While there is work the loop itself beats: a timer that is late tells that one callback, or one round of them, took as
long. The time that its thread was on a processor tells a loop that was held from a machine that let it wait.

While there is nothing to do the loop is left asleep. A thread beside it sees by the loop's processor time when work
begins, and wakes the timer; and where a beat is overdue, it notes which code the loop is in.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from types import FrameType
from typing import Any

from twisted.logger import Logger

log = Logger(__name__)

BEAT_S = 0.025
"""Between two beats while there is work; a gap is measured too short by no more than this."""
LOOK_S = 0.1
"""Between two looks of the thread while there is none, for less than 0.1 % of a core."""
LATE_S = 0.05
"""A beat that is later than this is a gap worth counting."""
BUSY = 0.2
"""Part of its time that a loop works in from which on it is not asleep."""
REST_S = 1.0
"""A loop that was less busy for so long is left asleep."""
CHECK_S = 0.5
"""A sleeping loop beats once in so long all the same: one that is blocked uses no processor."""
SAY_EVERY_S = 10.0
"""Between two lines in the log."""
_MOST_LOOKS = 40
"""Looks at one gap: what holds the loop for longer is known by then."""
_BENEATH = sys.stdlib_module_names | {"twisted", "uvloop", "zope", "pluggy"}
"""Top-level packages in which nobody is at work on his own account."""
_AROUND = ("pgbeam_core.cli.", "pgbeam_core.workers.__main__", "__main__")
"""Modules that start the loop, and so are behind everything that runs."""
_HELD = (
    "the loop was held for {gap:.0f} ms, {held:.0f} ms of them at work, in {where}; "
    "{count} such gaps since the last line like this"
)
_WAITED = (
    "the loop did not turn for {gap:.0f} ms, only {held:.0f} ms of them at work: the machine is busy, or "
    "something waits in {where}; {count} such gaps since the last line like this"
)


class Watchdog:
    """Of one loop. To be started, and stopped, in the loop's thread.

    `now`: monotonic seconds. `cpu`: makes of a thread's ident what tells its seconds on a processor. `served`: who was
    attended to for the longest time since that moment, in words; asked for each line in the log, with a gap behind it.
    """

    def __init__(
        self,
        reactor: Any,
        *,
        now: Callable[[], float] = time.monotonic,
        cpu: Callable[[int], Callable[[], float]] | None = None,
        served: Callable[[float], str] = lambda _since: "",
    ) -> None:
        self._reactor = reactor
        self._now = now
        self._cpu_of = cpu or processor_time
        self._served = served
        self.gaps = 0
        """Beats that were later than LATE_S."""
        self.held = 0
        """Those of them in which the loop's thread worked for longer than LATE_S."""
        self.longest_s = 0.0
        """The latest beat."""
        self.longest_held_s = 0.0
        """The most that the loop's thread worked while a beat was due."""
        self.worst = ""
        """Where the loop was seen in the longest such time."""
        self._worked: Callable[[], float]
        self._worked_before = 0.0
        self._busy_until = 0.0
        self._said = float("-inf")
        self._unsaid = 0
        self._timer: Any = None
        self._looker: Looker | None = None

    @property
    def looker(self) -> Looker:
        """The thread beside the loop. Only once started."""
        assert self._looker is not None
        return self._looker

    def start(self) -> None:
        if self._looker is None:
            self._worked = self._cpu_of(threading.get_ident())
            self._looker = Looker(self._now, self._worked, self._wake)
            self._looker.start()
            self._busy_until = self._now() + REST_S
            self._next()

    def stop(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        if self._looker is not None:
            self._looker.stop()

    def stats(self) -> dict[str, float]:
        return {
            "gaps": self.gaps,
            "gaps_held": self.held,
            "longest_gap_ms": round(self.longest_s * 1000, 1),
            "longest_held_ms": round(self.longest_held_s * 1000, 1),
        }

    def _wake(self, due: float, worked: float) -> None:
        """In the looker's thread: the loop is to beat again, and was to do so at that moment."""
        self._reactor.callFromThread(self._woken, due, worked)

    def _woken(self, due: float, worked: float) -> None:
        if self._timer is None and not self.looker.over:
            self._worked_before = worked
            self._judge(self._now() - due)
            self._next()

    def _next(self) -> None:
        self._worked_before = self._worked()
        self.looker.due = self._now() + BEAT_S
        self._timer = self._reactor.callLater(BEAT_S, self._beat)

    def _beat(self) -> None:
        moment = self._now()
        assert self.looker.due is not None
        late = moment - self.looker.due
        if self._worked() - self._worked_before > BUSY * (BEAT_S + max(late, 0.0)):
            self._busy_until = moment + REST_S
        self._judge(late)
        if moment < self._busy_until:
            self._next()
        else:
            self._timer = None
            self.looker.due = None

    def _judge(self, late: float) -> None:
        # What it worked since the last beat, some of it before this one was due: never more than that was late.
        held = min(max(late, 0.0), self._worked() - self._worked_before)
        self.longest_s = max(self.longest_s, late)
        if held > self.longest_held_s:
            self.longest_held_s, self.worst = held, self.looker.seen()
        if late > LATE_S:
            self._count(late, held)
        self.looker.forget()

    def _count(self, late: float, held: float) -> None:
        self.gaps += 1
        self.held += held > LATE_S
        self._unsaid += 1
        moment = self._now()
        if moment - self._said < SAY_EVERY_S:
            return
        where = self.looker.seen() or "a place unseen"
        if served := self._served(moment - late - LOOK_S - BEAT_S):  # work was noticed so late
            where += f", for {served}"
        words = _HELD if held > late / 2 else _WAITED
        log.warn(words, gap=late * 1000, held=held * 1000, where=where, count=self._unsaid)
        self._said, self._unsaid = moment, 0


class Looker:
    """The thread beside the loop. What it notes are names of code, never values. To be started in the loop's thread."""

    def __init__(self, now: Callable[[], float], worked: Callable[[], float], wake: Callable[[float, float], None]):
        self.due: float | None = None
        """When the loop is to beat next; None while it sleeps. The loop's to set."""
        self.over = False
        self._now = now
        self._worked = worked
        self._wake = wake
        self._loop = threading.get_ident()
        self._ended = threading.Event()
        self._places: Counter[str] = Counter()
        self._looks = 0
        self._looked = now()
        self._worked_before = worked()
        self._checked = now()

    def start(self) -> None:
        threading.Thread(target=self._run, name="pgbeam-watchdog", daemon=True).start()

    def stop(self) -> None:
        """Look no more; nobody has to wait for it."""
        self.over = True
        self._ended.set()

    def seen(self) -> str:
        """Where the loop was most often, if it was seen since it turned last."""
        common = self._places.most_common(1)
        return common[0][0] if common else ""

    def forget(self) -> None:
        if self._looks:
            self._places, self._looks = Counter(), 0

    def look(self) -> None:
        """One look: at a loop that is overdue, or whether one that sleeps has begun to work."""
        moment, due = self._now(), self.due
        if due is not None:
            if moment - due > LATE_S / 4:
                self._note()
        else:
            self._see_whether_awake(moment)
        self._looked, self._worked_before = moment, self._worked()

    def _see_whether_awake(self, moment: float) -> None:
        since = moment - self._looked
        working = self._worked() - self._worked_before > BUSY * since
        if not working and moment - self._checked < CHECK_S:
            return
        self._checked = moment
        # This thread could not look in time either while the loop was in a call that let no other thread run.
        kept_out = working and since > LOOK_S + LATE_S
        self.due = self._looked + LOOK_S if kept_out else moment
        if working:
            self._note()
        self._wake(self.due, self._worked_before if kept_out else self._worked())

    def _note(self) -> None:
        if self._looks < _MOST_LOOKS:
            self._looks += 1
            frame = sys._current_frames().get(self._loop)
            if frame is not None:
                self._places[place(frame)] += 1

    def _run(self) -> None:
        try:
            while not self._ended.wait(LOOK_S if self.due is None else BEAT_S):
                self.look()
        except RuntimeError:  # the loop is closed
            return


def processor_time(thread: int) -> Callable[[], float]:
    """What tells the seconds that a thread was on a processor; where threads have no such clock, the process."""
    if not hasattr(time, "pthread_getcpuclockid"):
        return time.process_time
    clock = time.pthread_getcpuclockid(thread)
    return lambda: time.clock_gettime(clock)


def place(frame: FrameType) -> str:
    """`module.function, line N` of the innermost code that works on its own account; compiled code has no frames."""
    at: FrameType | None = frame
    while at is not None:
        module = str(at.f_globals.get("__name__", ""))
        if module.startswith(_AROUND):
            break
        if module.partition(".")[0] not in _BENEATH:
            return f"{module}.{at.f_code.co_qualname}, line {at.f_lineno}"
        at = at.f_back
    return "compiled code, or the loop itself"
