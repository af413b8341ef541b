"""The end of the log, kept for the screen."""

from __future__ import annotations

from collections import deque

from pgbeam_core.tui.picture import printable


class Tail:
    """A stream that remembers the last lines written to it, made fit to be shown."""

    def __init__(self, most: int = 200) -> None:
        self._lines: deque[str] = deque(maxlen=most)

    def write(self, text: str) -> None:
        self._lines.extend(printable(line) for line in text.rstrip("\n").split("\n"))

    def flush(self) -> None:
        """Nothing is held back."""

    def isatty(self) -> bool:
        return False

    @property
    def lines(self) -> tuple[str, ...]:
        return tuple(self._lines)
