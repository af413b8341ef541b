"""Plugins for tests of the core."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pgbeam_core import hookimpl


@dataclass(frozen=True)
class GuardSettings:
    """A plugin that must not be passed over."""

    on_error: str = "refuse"


class Guard:
    """Refuses whatever it cannot judge."""

    def __init__(self) -> None:
        self.broken = False

    @hookimpl
    def settings_spec(self) -> type:
        """See GuardSettings."""
        return GuardSettings

    @hookimpl
    def connect(self) -> None:
        """Raise when broken."""
        if self.broken:
            raise RuntimeError("broken")


class Speaker:
    """Says its name wherever it is asked, and notes with what."""

    def __init__(self, name: str, answer: Any = None) -> None:
        self.name = name
        self.answer = answer
        self.calls: list[Any] = []

    def called(self, *arguments: Any) -> Any:
        """Note, and answer or raise."""
        self.calls.append(arguments)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer
