"""When relations were last written, as places in one sequence of writes.

Whoever reads takes the place before it asks the server; whatever was written at a later place may be missing from what
it read. So nothing has to be looked up or dropped when a write comes: a remembered reply is compared when it is found.
"""

from __future__ import annotations

from collections.abc import Iterable

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


class Writes(Places):
    """The committed writes to one database that went through PgBeam."""

    __slots__ = ("place",)

    def __init__(self) -> None:
        super().__init__()
        self.place = 0
        """Of the latest write."""

    def advance(self) -> int:
        """The place for a new write."""
        self.place += 1
        return self.place
