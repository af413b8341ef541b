"""Watches that nobody holds the loop: how long it did not turn, how much of that it worked, and on what.

The loop itself beats: a timer that is late tells that one callback, or one round of them, took as long. The time that
its thread was on a processor tells a loop that was held from a machine that let it wait. A thread beside it looks only
whether a beat is overdue, and then notes where the loop's thread is; it never touches what belongs to the loop.
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

log = Logger()

BEAT_S = 0.025
"""Between two beats; a gap is measured too short by no more than this."""
LATE_S = 0.05
"""A beat that is later than this is a gap worth counting."""
SAY_EVERY_S = 10.0
"""Between two lines in the log."""
_MOST_LOOKS = 40
"""Looks at one gap: what holds the loop for longer is known by then."""
_BENEATH = sys.stdlib_module_names | {"twisted", "uvloop", "zope", "pluggy"}
"""Top-level packages in which nobody is at work on his own account."""
_AROUND = ("pgbeam_core.cli.", "pgbeam_core.workers.__main__", "__main__")
"""Modules that start the loop, and so are behind everything that runs."""


class Watchdog:
    """Of one loop. To be started, and stopped, in the loop's thread.

    `now` and `cpu` are monotonic seconds, and seconds of the calling thread on a processor.
    """

    def __init__(
        self, reactor: Any, *, now: Callable[[], float] = time.monotonic, cpu: Callable[[], float] = time.thread_time
    ) -> None:
        self._reactor = reactor
        self._now = now
        self._cpu = cpu
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
        self.due = 0.0
        self._worked = 0.0
        self._said = float("-inf")
        self._unsaid = 0
        self._timer: Any = None
        self.looker = Looker(self, now)

    def start(self) -> None:
        """Begin to beat."""
        if self._timer is None:
            self._next()
            self.looker.start()

    def stop(self) -> None:
        """Beat no more."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        self.looker.stop()

    def stats(self) -> dict[str, float]:
        """What `stats` shows."""
        return {
            "gaps": self.gaps,
            "gaps_held": self.held,
            "longest_gap_ms": round(self.longest_s * 1000, 1),
            "longest_held_ms": round(self.longest_held_s * 1000, 1),
        }

    def _next(self) -> None:
        self._worked = self._cpu()
        self.due = self._now() + BEAT_S
        self._timer = self._reactor.callLater(BEAT_S, self._beat)

    def _beat(self) -> None:
        late = self._now() - self.due
        # What it worked since the last beat, some of it before this one was due: never more than that was late.
        held = min(max(late, 0.0), self._cpu() - self._worked)
        self.longest_s = max(self.longest_s, late)
        if held > self.longest_held_s:
            self.longest_held_s, self.worst = held, self.looker.seen()
        if late > LATE_S:
            self._count(late, held)
        self.looker.forget()
        self._next()

    def _count(self, late: float, held: float) -> None:
        self.gaps += 1
        self.held += held > LATE_S
        self._unsaid += 1
        moment = self._now()
        if moment - self._said < SAY_EVERY_S:
            return
        words = _HELD if held > late / 2 else _WAITED
        log.warn(
            words, gap=late * 1000, held=held * 1000, where=self.looker.seen() or "a place unseen", count=self._unsaid
        )
        self._said, self._unsaid = moment, 0


_HELD = (
    "the loop was held for {gap:.0f} ms, {held:.0f} ms of them at work, in {where}; "
    "{count} such gaps since the last line like this"
)
_WAITED = (
    "the loop did not turn for {gap:.0f} ms, only {held:.0f} ms of them at work: the machine is busy, or "
    "something waits in {where}; {count} such gaps since the last line like this"
)


class Looker:
    """The thread that looks where an overdue loop is. What it notes are names of code, never values."""

    def __init__(self, watchdog: Watchdog, now: Callable[[], float]) -> None:
        self._watchdog = watchdog
        self._now = now
        self._loop = 0
        self._over = threading.Event()
        self._places: Counter[str] = Counter()
        self._looks = 0

    def start(self) -> None:
        """Look at the calling thread from now on."""
        self._loop = threading.get_ident()
        threading.Thread(target=self._run, name="pgbeam-watchdog", daemon=True).start()

    def stop(self) -> None:
        """Look no more; nobody has to wait for it."""
        self._over.set()

    def seen(self) -> str:
        """Where the loop was most often, if it was seen since the last beat."""
        common = self._places.most_common(1)
        return common[0][0] if common else ""

    def forget(self) -> None:
        """The loop has turned."""
        if self._looks:
            self._places, self._looks = Counter(), 0

    def look(self) -> None:
        """Note where the loop is if it is overdue."""
        if self._looks < _MOST_LOOKS and self._now() - self._watchdog.due > LATE_S / 4:
            self._looks += 1
            frame = sys._current_frames().get(self._loop)
            if frame is not None:
                self._places[place(frame)] += 1

    def _run(self) -> None:
        while not self._over.wait(BEAT_S):
            self.look()


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
