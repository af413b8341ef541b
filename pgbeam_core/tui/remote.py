"""A live screen of a PgBeam in another process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from pgbeam_core.tui.asking import Ask, Elsewhere, in_threads
from pgbeam_core.tui.show import Show
from pgbeam_core.tui.terminal import open_terminal

log = Logger(__name__)

EVERY_S = 0.5
MOST_MISSED = 6
"""Looks in a row without an answer, after which it is gone."""


class Onlooker:
    """Asks again and again, and tells when nobody answers any more."""

    def __init__(self, there: Elsewhere, ask: Ask, gone: Callable[[Any], None]) -> None:
        self._there = there
        self._ask = ask
        self._gone = gone
        self._missed = 0
        self._asking = False
        self._call = LoopingCall(self.look)
        self._call.clock = there.reactor

    def start(self) -> None:
        self._call.start(EVERY_S, now=False).addErrback(self._gone)

    def stop(self) -> None:
        if self._call.running:
            self._call.stop()

    def look(self) -> None:
        """Ask, unless an answer is still to come."""
        if not self._asking:
            self._asking = True
            self._ask("view").addCallbacks(self._came, self._failed)

    def _came(self, seen: Any) -> None:
        self._asking, self._missed = False, 0
        self._there.took(seen)

    def _failed(self, failure: Any) -> None:
        self._asking = False
        self._missed += 1
        if self._missed >= MOST_MISSED:
            self._gone(failure)


def show_elsewhere(reactor: Any, blocking: Callable[..., Any], seen: Any) -> Deferred[None]:
    """Show it in this terminal; fires when its user leaves, fails with PgBeamError when that PgBeam is gone."""
    there = Elsewhere(reactor, seen)
    ask = in_threads(reactor, blocking)
    ended: Deferred[None] = Deferred()
    show = Show(there, open_terminal(), reactor, ask=ask, farewell="", follows_log=True)

    def end(result: Any) -> None:
        follower.stop()
        show.close()
        if not ended.called:
            ended.callback(result)

    follower = Onlooker(there, ask, end)
    reactor.addSystemEventTrigger("before", "shutdown", show.close)
    show.quit.addBoth(end)
    show.start()
    follower.start()
    return ended
