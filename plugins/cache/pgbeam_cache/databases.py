"""The writes to each database that somebody has visited."""

from __future__ import annotations

from functools import partial
from typing import Any

from pgbeam_cache.boards import slot
from pgbeam_cache.doubts import Doubts
from pgbeam_cache.second import SecondLevel
from pgbeam_cache.writes import Writes


class Databases:
    """Gives the Writes of a database, the same to all its sessions."""

    def __init__(self, second: SecondLevel | None, reactor: Any) -> None:
        self._second = second
        self._doubts = Doubts(reactor)
        self._writes: dict[tuple[str, str], Writes] = {}

    def writes(self, project: str, database: str) -> Writes:
        """Those to one database."""
        found = self._writes.get((project, database))
        if found is None:
            everywhere = partial(self._changed, project)
            found = Writes(project, database, self._second, self._doubts, everywhere)
            self._writes[project, database] = found
        return found

    def close(self) -> None:
        """PgBeam stops."""
        self._doubts.close()

    def _changed(self, project: str) -> None:
        """Databases come, go and change their names, and roles their rights, from whatever database one looks."""
        for (name, _), writes in self._writes.items():
            if name == project:
                writes.forget()
        if self._second is not None:
            self._second.wrote((slot(project, None, None),))
