"""When relations were last written, as places in one sequence of writes.

Whoever reads takes the place before it asks the server; whatever was written at a later place may be missing from what
it read. So nothing has to be looked up or dropped when a write comes: a remembered reply is compared when it is found.
What other processes wrote stands on the board, and is compared in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pgbeam_cache.consistency.uncertain_writes import UncertainWrites
from pgbeam_cache.storage.packing import Versions
from pgbeam_cache.storage.second_level import SecondLevel
from pgbeam_cache.storage.version_table import slot

_MOST_NAMES = 10_000
"""Names remembered one by one. Beyond that everything counts as written, once."""


class Places:
    """The place of the last write to each relation, as one observer knows it."""

    __slots__ = ("_all", "_last")

    def __init__(self) -> None:
        self._last: dict[str, int] = {}
        self._all = 0

    def wrote(self, place: int, tables: Iterable[str], *, everything: bool) -> None:
        """There was a write to these, or to nobody knows what, at that place."""
        for table in tables:
            self._last[table] = place
        if everything or len(self._last) > _MOST_NAMES:
            self._all = place
            self._last.clear()

    def unchanged(self, tables: tuple[str, ...], since: int) -> bool:
        """Whether none of these was written after that place."""
        if self._all > since:
            return False
        last = self._last
        return all(last.get(table, 0) <= since for table in tables)

    def last(self, tables: tuple[str, ...]) -> int:
        """The place of the last write to any of these."""
        place = self._all
        last = self._last
        for table in tables:
            place = max(place, last.get(table, 0))
        return place


class Writes(Places):
    """The committed writes to one database that went through PgBeam."""

    __slots__ = ("_database", "_everywhere", "_project", "_second", "_slot", "_slots", "_uncertain", "catalog", "place")

    def __init__(
        self,
        project: str,
        database: str,
        second: SecondLevel | None,
        doubts: UncertainWrites,
        everywhere: Callable[[], None],
    ) -> None:
        """`everywhere` is called when something has changed for all databases of the project."""
        super().__init__()
        self.place = 0
        """Of the latest write of this process."""
        self.catalog = 0
        """The serial of the catalog that was looked at last."""
        self._uncertain = doubts
        self._everywhere = everywhere
        self._project = project
        self._database = database
        self._second = second
        self._slot: dict[str | None, int] = {}
        self._slots: dict[tuple[str, ...], tuple[int, ...]] = {}

    def advance(self) -> int:
        """The place for a new write."""
        self.place += 1
        return self.place

    def changed(self, tables: tuple[str, ...], *, everything: bool = False, everywhere: bool = False) -> int:
        """There was a write now; gives its place."""
        place = self.advance()
        if everywhere:
            self._everywhere()
        if tables or everything:
            self.wrote(place, tables, everything=everything)
        return place

    def in_doubt(self, tables: tuple[str, ...], *, everything: bool, everywhere: bool) -> None:
        """There may have been a write, or it may be still to come: it is recorded again and again for a while."""
        if not (tables or everything):
            return
        if self._uncertain.many:
            tables, everything = (), True

        def again() -> None:
            self.changed(tables, everything=everything, everywhere=everywhere)

        self._uncertain.repeat((self, frozenset(tables), everything, everywhere), again)

    def forget(self) -> None:
        """Something was changed for all databases of the project; other processes know it already."""
        super().wrote(self.advance(), (), everything=True)

    def redefined(self, serial: int) -> None:
        """There is another catalog than before, so somebody has changed definitions or rights, elsewhere perhaps."""
        if self.catalog:
            self.changed((), everything=True)
        self.catalog = serial

    def wrote(self, place: int, tables: Iterable[str], *, everything: bool) -> None:
        """Let other processes know too."""
        super().wrote(place, tables, everything=everything)
        if self._second is not None:
            names: list[str | None] = [None] if everything else list(tables)
            self._second.wrote(tuple([self._place_of(name) for name in names]))

    def _place_of(self, name: str | None) -> int:
        """Where a relation stands on the board; None: this database as a whole."""
        found = self._slot.get(name)
        if found is None:
            if len(self._slot) >= _MOST_NAMES:
                self._slot.clear()
            found = self._slot[name] = slot(self._project, self._database, name)
        return found

    def slots(self, tables: tuple[str, ...]) -> tuple[int, ...]:
        """Where relations stand on the board; before them all databases of the project, and this one as a whole."""
        found = self._slots.get(tables)
        if found is None:
            if len(self._slots) >= _MOST_NAMES:
                self._slots.clear()
            names: tuple[str | None, ...] = (None, *tables)
            here = [self._place_of(name) for name in names]
            found = self._slots[tables] = (slot(self._project, None, None), *here)
        return found

    def versions(self, tables: tuple[str, ...]) -> Versions:
        """What the board shows for them now; nothing without a board."""
        return () if self._second is None else self._second.board.versions(self.slots(tables))
