"""The writes to each database that somebody has visited."""

from __future__ import annotations

from functools import partial
from typing import Any

from pgbeam_cache.consistency.uncertain_writes import UncertainWrites
from pgbeam_cache.consistency.writes import Writes
from pgbeam_cache.storage.second_level import SecondLevel
from pgbeam_cache.storage.version_table import slot
from pgbeam_core import Broadcast


class Databases:
    """Gives the Writes of a database, the same to all its sessions."""

    def __init__(self, second: SecondLevel | None, reactor: Any, broadcast: Broadcast) -> None:
        self._second = second
        self._broadcast = broadcast
        self._overlaps = broadcast.overlaps
        self._uncertain = UncertainWrites(reactor)
        self._writes: dict[tuple[str, str], Writes] = {}

    def writes(self, project: str, database: str) -> Writes:
        found = self._writes.get((project, database))
        if found is None:
            everywhere = partial(self._changed, project)
            found = Writes(project, database, self._second, self._uncertain, everywhere)
            self._writes[project, database] = found
        return found

    def all_seen(self) -> bool:
        """Whether the writes of all who write through PgBeam are seen here: without a board those of another process
        are not, while it takes the place of this one, or leaves it."""
        overlaps = self._broadcast.overlaps
        if self._second is None and overlaps != self._overlaps:
            self._overlaps = overlaps
            for writes in self._writes.values():
                writes.forget()
        return self._second is not None or not overlaps % 2

    def close(self) -> None:
        self._uncertain.close()

    def _changed(self, project: str) -> None:
        """Databases come, go and change their names, and roles their rights, from whatever database one looks."""
        for (name, _), writes in self._writes.items():
            if name == project:
                writes.forget()
        if self._second is not None:
            self._second.wrote((slot(project, None, None),))
