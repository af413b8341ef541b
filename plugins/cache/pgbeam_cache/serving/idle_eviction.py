"""A project whose clients have all been gone for a while gives back the memory of what they read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any


class IdleEviction:
    """Counts the clients of projects. `park` is called with the name of a project that has had none for long enough."""

    def __init__(self, reactor: Any, park: Callable[[str], None]) -> None:
        self._reactor = reactor
        self._park = park
        self._clients: Counter[str] = Counter()
        self._calls: dict[str, Any] = {}

    def came(self, project: str) -> None:
        self._clients[project] += 1
        call = self._calls.pop(project, None)
        if call is not None:
            call.cancel()

    def left(self, project: str, seconds: float) -> None:
        """One client less; if it was the last, park the project after that time. 0: never."""
        self._clients[project] -= 1
        if not self._clients[project]:
            del self._clients[project]
            if seconds:
                self._calls[project] = self._reactor.callLater(seconds, self._now, project)

    def close(self) -> None:
        calls, self._calls = self._calls, {}
        for call in calls.values():
            call.cancel()

    def _now(self, project: str) -> None:
        del self._calls[project]
        self._park(project)
