"""What one session knows of the catalog, to tell which statements may leave what only their server knows.

A function that a statement calls may set a parameter, create a temporary table or take a lock, and no text tells. The
catalog tells what functions do. Without it everything that calls one is doubted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgbeam_core.api.statement import Statement
from pgbeam_core.session.remains import verdict
from pgbeam_core.session.runtime import Runtime
from pgbeam_core.session.session import Session

if TYPE_CHECKING:
    from pgbeam_core.catalog.catalog import Catalog

LOOKS_AGAIN_S = 1.0
NO_CATALOG = -2
"""The serial of none: no verdict has it."""


class CatalogView:
    """The catalog of a session's database as it was at the last look; each query asks, so few of them look."""

    __slots__ = ("_epoch", "_runtime", "_serial", "_session", "_until", "catalog")

    def __init__(self, session: Session, runtime: Runtime) -> None:
        self._session = session
        self._runtime = runtime
        self.catalog: Catalog | None = None
        """None while nobody has read it."""
        self._serial = NO_CATALOG
        self._epoch = -1
        self._until = 0.0
        """Until when the catalog need not be asked for again, if no definition is seen to change."""

    def may_leave(self, statement: Statement, now: float) -> bool:
        """Whether a statement may leave what only its server knows."""
        if now >= self._until or self._runtime.epoch != self._epoch:
            self._look(now)
        found = statement._verdict
        return found.leaves if found.serial == self._serial else verdict(statement, self.catalog)

    def checks_types(self, now: float) -> bool:
        """Whether a constant or a parameter may run code of users, as it becomes a value of its type."""
        if now >= self._until or self._runtime.epoch != self._epoch:
            self._look(now)
        return self.catalog is None or self.catalog.has_checked_types

    def _look(self, now: float) -> None:
        """See what is known of the catalog now."""
        runtime = self._runtime
        self.catalog, self._epoch = runtime.catalog(self._session), runtime.epoch
        self._serial = NO_CATALOG if self.catalog is None else self.catalog.serial
        self._until = now + LOOKS_AGAIN_S if self.catalog is not None else 0.0
