"""What one worker lets the others know. In a single process there is nobody else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.logger import Logger

from pgbeam_core.errors import PluginError

log = Logger(__name__)


class Broadcast:
    """Small and rare facts, by name: a failed login, not a query. They travel as JSON, within milliseconds."""

    def __init__(self) -> None:
        self._subscribers: dict[str, Callable[[Any], None]] = {}
        self.send: Callable[[str, Any], None] = lambda name, value: None
        """Carries what is published here to the other workers."""
        self.overlaps = 0
        """Odd while another PgBeam, whose place this one takes or that takes its place, has clients of its own; even
        otherwise, and another number after each such time. What is published reaches that one too."""

    def subscribe(self, name: str, subscriber: Callable[[Any], None]) -> None:
        """Call that with each value that another worker publishes under a name. A plugin's names begin with its own."""
        if name in self._subscribers:
            raise PluginError(f'there is a subscriber to "{name}" already')
        self._subscribers[name] = subscriber

    def publish(self, name: str, value: Any) -> None:
        """Let all other workers know."""
        self.send(name, value)

    def overlap(self, on: bool) -> None:
        """Such a time begins, or ends."""
        if on != bool(self.overlaps % 2):
            self.overlaps += 1

    def received(self, name: str, value: Any, *, strict: bool = True) -> None:
        """strict: who published it has the same plugins; else it may be about one that is not here."""
        if not strict and name not in self._subscribers:
            return
        try:
            self._subscribers[name](value)
        except Exception:
            log.failure("the subscriber to {name} raised", name=name)
