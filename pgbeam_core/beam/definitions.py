"""Definitions of tables, functions and roles: what is known of them, and when that is looked up anew."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from twisted.internet.task import LoopingCall

from pgbeam_core.api.pool import Pool
from pgbeam_core.api.query import Target
from pgbeam_core.catalog.catalog import Catalog
from pgbeam_core.catalog.surveys import Survey
from pgbeam_core.control.broadcast import Broadcast
from pgbeam_core.session.session import Session

RIGHTS_AGE = 60.0
"""Seconds; roles and rights that were changed past PgBeam hold for all statements after that."""
_DEFINED = "definitions"
"""Published: definitions have changed."""
_MOST_SURVEYS = 500
"""Databases whose catalogs are remembered. Beyond that all are forgotten, and asked for again."""


class Definitions:
    """Of all targets. pool: gives that of a target. surveyed: told each catalog that was found."""

    def __init__(
        self,
        reactor: Any,
        broadcast: Broadcast,
        pool: Callable[[Target], Pool],
        surveyed: Callable[[Catalog], None],
    ) -> None:
        self.changes = 0
        """Changes that were seen, here or in another worker."""
        self.epoch = 0
        """Counts like `changes`, and every RIGHTS_AGE: what servers knew before is renewed."""
        self._reactor = reactor
        self._broadcast = broadcast
        self._pool = pool
        self._surveyed = surveyed
        self._surveys: dict[tuple[str | int, ...], Survey] = {}
        self._ageing = LoopingCall(self._age)
        self._ageing.clock = reactor
        broadcast.subscribe(_DEFINED, self.changed)

    def start(self) -> None:
        """Begin to doubt what was known for long."""
        self._ageing.start(RIGHTS_AGE, now=False)

    def stop(self) -> None:
        """What was known is doubted no more."""
        if self._ageing.running:
            self._ageing.stop()

    def changed(self, _value: object = None) -> None:
        """Some were seen to change, past this PgBeam or in another worker."""
        self.changes += 1
        self.epoch += 1

    def changed_here(self) -> None:
        """A statement that defines, or may have, was completed: the other workers are told."""
        self.changed()
        self._broadcast.publish(_DEFINED, None)

    def survey(self, session: Session) -> Survey:
        """What is known of the catalog of a session's database, on its project's primary."""
        project = session.project
        place: tuple[str | int, ...] = (project.name, session.identity.database, *session.identity.oids[2:])
        found = self._surveys.get(place)
        if found is None:
            if len(self._surveys) >= _MOST_SURVEYS:
                self._surveys.clear()
            found = Survey(
                lambda: self._pool(project.primary), self._reactor, lambda: self.changes, self.changed, self._surveyed
            )
            self._surveys[place] = found
        return found

    def forget(self, projects: Collection[str]) -> None:
        """What is known of their databases: they are set otherwise from now on."""
        self._surveys = {place: survey for place, survey in self._surveys.items() if place[0] not in projects}

    def _age(self) -> None:
        self.epoch += 1
