"""What one worker has to tell the others. In a single process nobody else is there to hear it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.logger import Logger

from pgbeam_core.errors import PluginError

log = Logger(__name__)


class News:
    """Small and rare facts, by name: a failed login, not a query. They travel as JSON, within milliseconds."""

    def __init__(self) -> None:
        self._listeners: dict[str, Callable[[Any], None]] = {}
        self.send: Callable[[str, Any], None] = lambda name, value: None
        """Carries what is told here to the other workers."""

    def hear(self, name: str, listener: Callable[[Any], None]) -> None:
        """Call that with each value that another worker tells under a name. A plugin's names begin with its own."""
        if name in self._listeners:
            raise PluginError(f'there is somebody already who hears the news of "{name}"')
        self._listeners[name] = listener

    def tell(self, name: str, value: Any) -> None:
        """Let all other workers know."""
        self.send(name, value)

    def received(self, name: str, value: Any) -> None:
        """Another worker has told."""
        try:
            self._listeners[name](value)
        except Exception:
            log.failure("the news of {name} could not be heard", name=name)
