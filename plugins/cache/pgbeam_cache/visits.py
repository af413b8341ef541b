"""What the cache remembers of one session."""

from __future__ import annotations

from pgbeam_cache.flights import Flight
from pgbeam_cache.keys import Scope
from pgbeam_cache.notes import Effect, Note
from pgbeam_cache.writes import Places, Writes
from pgbeam_core import Session, Survey

_POLLUTING = frozenset({"temp_table", "setting", "load", "unknown"})
"""Pins after which the same text may mean something else to this session than to others."""


class Visit:
    """One session: whom it may share with, what it wrote, and what it has under way."""

    __slots__ = (
        *("_pending", "_scope", "_tainted", "_under_way"),
        *("called", "leading", "own", "session", "survey", "writes"),
    )

    def __init__(self, session: Session, writes: Writes, survey: Survey) -> None:
        self.session = session
        self.survey = survey
        """What is known of the catalog of its database."""
        self.writes = writes
        """The writes to its database."""
        self.own = Places()
        """Its own among them, and calls of functions that may have written."""
        self.called = False
        """It has called functions that may have written nobody knows what."""
        self.leading: Flight | None = None
        """The flight that waits for its query."""
        self._under_way: list[Note] = []
        """Statements that may commit something, on their way: their results have not come."""
        self._pending: list[Effect] = []
        """Of statements in the open transaction."""
        self._scope: Scope | None = None
        self._tainted = False

    @property
    def scope(self) -> Scope:
        """For the settings that it has now."""
        scope = self._scope
        if scope is None or scope.settings != self.session.settings.now:
            scope = self._scope = Scope(self.session)
        return scope

    @property
    def special(self) -> bool:
        """Whether it has state on its server that no key can hold: temporary tables, settings nobody knows, …"""
        session = self.session
        pins = session.pins
        return self._tainted or bool(session.settings.unknown) or bool(pins and not pins.isdisjoint(_POLLUTING))

    def unchanged(self, tables: tuple[str, ...], since: int, *, by_others: bool) -> bool:
        """Whether what was read at that place is still what this session has to see."""
        return self.own.unchanged(tables, since) and (not by_others or self.writes.unchanged(tables, since))

    def sent(self, note: Note) -> None:
        """A statement goes to the server; until `heard`, nobody knows what became of it."""
        if note.ends or not self.session.in_transaction:
            self._under_way.append(note)

    def heard(self) -> None:
        """The reply has come."""
        self._under_way.clear()

    def wrote(self, effect: Effect, *, committed: bool) -> None:
        """A statement with that effect has succeeded; unless `committed`, its transaction goes on."""
        if effect.unseen and self.session.keeps_server:
            # A function may have made a temporary table, and the server stays.
            self._tainted = True
        if committed or effect.anyway:
            self._apply(effect)
        if not committed:
            self._pending.append(effect)

    def over(self, *, committed: bool) -> None:
        """The open transaction has ended."""
        pending, self._pending = self._pending, []
        if committed and pending:
            self._apply(
                Effect(
                    tuple({table for effect in pending for table in effect.tables}),
                    everything=any(effect.everything for effect in pending),
                    unseen=any(effect.unseen for effect in pending),
                )
            )

    def interrupted(self) -> None:
        """A connection was lost while something was under way that may commit: it may have."""
        notes, self._under_way = self._under_way, []
        if notes:
            self.over(committed=True)
        for note in notes:
            if note.effect is not None:
                self._apply(note.effect)

    def discarded(self) -> None:
        """DISCARD ALL."""
        self._tainted = False

    def _apply(self, effect: Effect) -> None:
        writes = self.writes
        place = writes.advance()
        tables, everything = self._widened(effect)
        if tables or everything:
            writes.wrote(place, tables, everything=everything)
        self.called = self.called or effect.unseen
        self.own.wrote(place, tables, everything=everything or effect.unseen)

    def _widened(self, effect: Effect) -> tuple[tuple[str, ...], bool]:
        """What an effect reaches: views, partitions, cascades and triggers; without a catalog it may be anything."""
        if effect.everything or not effect.tables:
            return effect.tables, effect.everything
        catalog = self.survey.peek()
        tables = None if catalog is None else catalog.writing(effect.tables)
        return effect.tables if tables is None else tables, tables is None
