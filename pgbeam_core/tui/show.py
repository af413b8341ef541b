"""Keeps the picture on the terminal up to date until somebody presses q."""

from __future__ import annotations

import atexit
from typing import Any, TextIO, cast

from rich.console import Console
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger, globalLogPublisher

from pgbeam_core.telemetry.logs import Log
from pgbeam_core.telemetry.samples import View, Watched, Window
from pgbeam_core.tui.asking import Ask, own
from pgbeam_core.tui.browser import Browser
from pgbeam_core.tui.canvas import Canvas
from pgbeam_core.tui.lists import screen
from pgbeam_core.tui.tail import Following, Tail
from pgbeam_core.tui.terminal import CTRL_C, END_OF_TRANSMISSION, Terminal, open_terminal

log = Logger(__name__)

LOOK_EVERY_S = 0.5
MIND_SIZE_EVERY_S = 0.2
QUIT = ("q", "Q", CTRL_C, END_OF_TRANSMISSION)
FAREWELL = "PgBeam drains and stops. Ctrl-C stops it at once.\n"


class Show:
    """The picture, from `start` to `close`. `quit` fires when its user wants PgBeam to end; it is closed by then."""

    def __init__(
        self,
        service: Watched,
        fd: int,
        clock: Any,
        *,
        ask: Ask | None = None,
        farewell: str = FAREWELL,
        follows_log: bool = False,
    ) -> None:
        """`fd` is a terminal that does not block; it is closed with the show.

        ask: of whom more than the overview is asked. follows_log: the log is asked for too; else it is this process's.
        """
        self.quit: Deferred[None] = Deferred()
        self._tail = Tail()
        self._service = service
        self._window = Window(service)
        self._view = View()
        self._size = (0, 0)
        self._terminal = Terminal(clock, fd, self._pressed)
        self._console = Console(file=cast("TextIO", self._terminal), force_terminal=True, legacy_windows=False)
        self._canvas = Canvas(self._console)
        self._log = Log(cast("TextIO", self._tail), service.settings.log_level, "human")
        self._calls = [LoopingCall(self.look), LoopingCall(self.mind_size)]
        for call in self._calls:
            call.clock = clock
        self._open = True
        self._farewell = farewell
        self._browser = Browser(ask, self._draw)
        self._lines = Following(ask) if follows_log and ask is not None else None

    def start(self) -> None:
        globalLogPublisher.addObserver(self._log)
        self._canvas.open()
        for call, every in zip(self._calls, (LOOK_EVERY_S, MIND_SIZE_EVERY_S), strict=True):
            call.start(every).addErrback(self._broken)

    def close(self) -> None:
        """Give the terminal back as it was."""
        if not self._open:
            return
        self._open = False
        globalLogPublisher.removeObserver(self._log)
        for call in self._calls:
            if call.running:
                call.stop()
        try:
            self._canvas.close()
        finally:
            self._terminal.close()

    def look(self) -> None:
        """Take a new look at the service, and draw it."""
        self._log.level = self._service.settings.log_level
        if self._lines is not None:
            self._lines.look()
        self._view = self._window.look(self._tail.lines if self._lines is None else self._lines.lines)
        self._browser.look()
        self._draw()

    def mind_size(self) -> None:
        """Draw again if the terminal has another size now."""
        if self._terminal.size != self._size:
            self._draw()

    def _draw(self) -> None:
        """Unless the terminal has not taken the last picture yet: the next one will be newer."""
        if self._open and self._terminal.idle:
            self._size = self._terminal.size
            self._console.size = self._size
            self._canvas.draw(screen(self._browser, self._view, *self._size), *self._size)

    def _pressed(self, key: str) -> None:
        if key not in (CTRL_C, END_OF_TRANSMISSION) and self._browser.press(key):
            return
        if key in QUIT and not self.quit.called:
            self._canvas.close()
            self._terminal.write(self._farewell)
            self.close()
            self.quit.callback(None)

    def _broken(self, failure: Any) -> None:
        """A picture that cannot be drawn is no reason to stop serving."""
        self.close()
        log.failure("the TUI failed; PgBeam goes on without it", failure=failure)


def run_tui(service: Any) -> Deferred[None]:
    """Show a running PgBeam, a `Watched`, in this terminal. The Deferred fires when its user wants PgBeam to end.

    Raises PgBeamError where there is no terminal. The terminal is put back in order at the end, whichever it is.
    """
    reactor = service.reactor
    show = Show(service, open_terminal(), reactor, ask=own(service.control))
    atexit.register(show.close)
    # Before the reactor hangs up on all its descriptors, the terminal among them.
    reactor.addSystemEventTrigger("before", "shutdown", show.close)
    show.start()
    return show.quit
