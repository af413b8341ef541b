"""Writes that nobody has heard the end of.

A server that is busy does not notice that it was left: what a client has sent off before it went may be committed
seconds or minutes later. So such a write is recorded at once, and again after one second, two more, four more, and so
on. What was read in between is outdated, at the latest, after as long again as the write had taken.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

_FIRST_S = 1.0
_LONGEST_S = 1024.0
_MANY = 1000


class UncertainWrites:
    """Calls functions again and again, at longer and longer intervals."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._calls: dict[Hashable, Any] = {}

    @property
    def many(self) -> bool:
        """There are so many that they should be taken together."""
        return len(self._calls) >= _MANY

    def repeat(self, what: Hashable, write: Callable[[], None]) -> None:
        """Call `write` from now on; if the same `what` is repeated already, from the beginning."""
        before = self._calls.pop(what, None)
        if before is not None:
            before.cancel()
        self._later(what, write, _FIRST_S)

    def close(self) -> None:
        calls, self._calls = self._calls, {}
        for call in calls.values():
            call.cancel()

    def _later(self, what: Hashable, write: Callable[[], None], seconds: float) -> None:
        self._calls[what] = self._reactor.callLater(seconds, self._again, what, write, seconds)

    def _again(self, what: Hashable, write: Callable[[], None], seconds: float) -> None:
        del self._calls[what]
        if seconds < _LONGEST_S:
            self._later(what, write, 2 * seconds)
        write()
