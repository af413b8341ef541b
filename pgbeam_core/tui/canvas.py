"""The terminal's other screen: a picture is drawn over the one before, line by line, where it differs."""

from __future__ import annotations

from rich.console import Console, RenderableType
from rich.control import Control
from rich.segment import Segment, Segments

_CLEAR = "\x1b[2J"


class Canvas:
    """From `open` to `close`. What has not changed is not written again: nothing flickers, and slow lines keep up."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lines: list[list[Segment]] = []
        self._size = (0, 0)
        self._open = False

    def open(self) -> None:
        """Leave what was on the terminal as it is, below."""
        self._open = True
        self._console.set_alt_screen(True)
        self._console.show_cursor(False)

    def close(self) -> None:
        """Show again what was there before; once is enough."""
        if self._open:
            self._open = False
            self._console.show_cursor(True)
            self._console.set_alt_screen(False)

    def draw(self, picture: RenderableType, width: int, height: int) -> None:
        """At a size that is new, all of it."""
        options = self._console.options.update(width=width, height=height)
        lines = self._console.render_lines(picture, options)[:height]
        changed: list[Segment] = []
        if (width, height) != self._size:
            self._size, self._lines = (width, height), []
            changed.append(Segment(_CLEAR, None, []))
        known = self._lines
        for place, line in enumerate(lines):
            if place >= len(known) or known[place] != line:
                changed += [Control.move_to(0, place).segment, *line]
        for place in range(len(lines), len(known)):
            changed += [Control.move_to(0, place).segment, Segment(" " * width)]
        self._lines = lines
        if changed:
            self._console.print(Segments(changed), end="", crop=False, soft_wrap=True)
