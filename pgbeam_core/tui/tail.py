"""The end of the log, kept for the screen."""

from __future__ import annotations

from collections import deque
from typing import Any

from pgbeam_core.tui.asking import Ask
from pgbeam_core.tui.picture import printable


class Tail:
    """A stream that remembers the last lines written to it, made fit to be shown."""

    def __init__(self, most: int = 200) -> None:
        self._lines: deque[str] = deque(maxlen=most)

    def write(self, text: str) -> None:
        self._lines.extend(printable(line) for line in text.rstrip("\n").split("\n"))

    def flush(self) -> None:
        """Does nothing: each line is written as it comes. Streams have this method."""

    def isatty(self) -> bool:
        return False

    @property
    def lines(self) -> tuple[str, ...]:
        return tuple(self._lines)


class Following:
    """The end of another process's log, where that tells it: with `dashboard = true`."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._lines: deque[str] = deque(maxlen=200)
        self._since = 0
        self._asking = False
        self._why_not = "…"

    @property
    def lines(self) -> tuple[str, ...]:
        return tuple(self._lines) or (self._why_not,)

    def look(self) -> None:
        """Ask for what is new, unless that was asked already and is still to come."""
        if not self._asking:
            self._asking = True
            self._ask("log", since=self._since).addCallbacks(self._took, self._failed)

    def _took(self, told: Any) -> None:
        self._asking, self._why_not = False, "nothing yet"
        for line in told["lines"]:
            self._since = line["number"]
            text = f"{line['time'][11:19]} {line['level']:<5} {line['logger'] or ''}: {line['event']}"
            self._lines.append(printable(" ".join(text.splitlines())))

    def _failed(self, _failure: Any) -> None:
        self._asking, self._why_not = False, "this PgBeam shows its log with dashboard = true only"
