"""What must outlive PgBeam: the latest timeline of each primary, so that an old one is known for what it is."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.logger import Logger

from pgbeam_core.api.query import Target
from pgbeam_core.upstream.verdict import Known

log = Logger(__name__)

FILE = "upstreams.json"
_MOST = 1_000
"""Upstreams that are remembered."""


class Memory:
    """By the hosts of an upstream. `tell` lets other workers know; they call `heard`."""

    def __init__(self, folder: Path, tell: Callable[[list[Any]], None]) -> None:
        self.path = folder / FILE
        self._tell = tell
        self._known: dict[str, Known] | None = None

    def of(self, target: Target) -> Known:
        """What is known of the primary of a target."""
        return self._all().get(target.address, Known())

    def learn(self, target: Target, known: Known) -> None:
        """A primary was seen; written down where that is news."""
        if self._later(target.address, known):
            self._write()
            self._tell([target.address, known.system, known.timeline])

    def heard(self, said: Any) -> None:
        """Another worker has learned, and written it down."""
        address, system, timeline = said
        self._later(str(address), Known(int(system), int(timeline)))

    def _later(self, address: str, known: Known) -> bool:
        everything = self._all()
        before = everything.get(address, Known())
        if before.system == known.system and before.timeline >= known.timeline:
            return False
        if len(everything) >= _MOST and address not in everything:
            del everything[next(iter(everything))]
        everything[address] = known
        return True

    def _all(self) -> dict[str, Known]:
        if self._known is None:
            self._known = self._read()
        return self._known

    def _read(self) -> dict[str, Known]:
        try:
            found = json.loads(self.path.read_text("utf-8"))
            return {str(address): Known(int(system), int(timeline)) for address, (system, timeline) in found.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, AttributeError) as error:
            log.error("{path} cannot be read, old primaries may go unnoticed: {error}", path=self.path, error=error)
            return {}

    def _write(self) -> None:
        """At a promotion, and when an upstream is seen for the first time: rare enough to be done at once."""
        temporary = self.path.with_name(f"{FILE}.{os.getpid()}")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(json.dumps(self._known, indent=1), "utf-8")
            temporary.replace(self.path)
        except OSError as error:
            log.error("{path} cannot be written: {error}", path=self.path, error=error)
