"""What the cache remembers of one session."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from pgbeam_cache.consistency.writes import Places, Writes
from pgbeam_cache.policy.cacheability import Cacheability, Effect
from pgbeam_cache.policy.keys import KeyScope
from pgbeam_core import Session, Statement, Survey

if TYPE_CHECKING:
    from pgbeam_cache.serving.flights import Flight

_POLLUTING = frozenset({"temp_table", "setting", "load", "unknown"})
"""Pins after which the same text may mean something else to this session than to others."""


class SessionState:
    """One session: whom it may share with, what it wrote, and what it has under way."""

    __slots__ = (
        *("_doubtful", "_now", "_pending", "_role_of", "_scope", "_under_way"),
        *("leading", "own", "session", "survey", "writes", "wrote_at"),
    )

    def __init__(self, session: Session, writes: Writes, survey: Survey, now: Callable[[], float]) -> None:
        self.session = session
        self.survey = survey
        """What is known of the catalog of its database."""
        self.writes = writes
        """The writes to its database."""
        self.own = Places()
        """Its own among them."""
        self.wrote_at: float | None = None
        """When it last wrote, in seconds of `now`."""
        self.leading: Flight | None = None
        """The flight that waits for its query."""
        self._under_way: list[Cacheability] = []
        """Statements that may commit something, on their way: their results have not come."""
        self._pending: list[Effect] = []
        """Of statements in the open transaction."""
        self._scope: KeyScope | None = None
        self._doubtful = False
        """Something has run that may have left nobody knows what on its server."""
        self._role_of = survey.epoch()
        """The state of all definitions when it set its role."""
        self._now = now

    @property
    def scope(self) -> KeyScope:
        """For the settings that it has now."""
        scope = self._scope
        now = self.session.settings.now
        if scope is None or (scope.settings is not now and scope.settings != now):
            scope = self._scope = KeyScope(self.session)
        return scope

    @property
    def special(self) -> bool:
        """Whether it has state on its server that no key can hold: temporary tables, settings nobody knows, …"""
        session = self.session
        pins = session.pins
        if self._doubtful:
            if session.lease is not None:
                return True  # it keeps its server, or this is just being asked what was left on it
            self._doubtful = False
        if (pins or session.keeps_server) and self._role_of != self.survey.epoch() and "role" in session.settings.now:
            return True  # by its name it may be another one than the role in effect
        return bool(session.settings.unknown) or bool(pins and not pins.isdisjoint(_POLLUTING))

    def unchanged(self, tables: tuple[str, ...], since: int, *, by_others: bool) -> bool:
        """Whether what was read at that place is still what this session has to see."""
        return self.own.unchanged(tables, since) and (not by_others or self.writes.unchanged(tables, since))

    def sent(self, note: Cacheability, statement: Statement) -> None:
        """A statement goes to the server; until `heard`, nobody knows what became of it."""
        if note.ends or not self.session.in_transaction:
            if note.effect is None:  # as a text that only reads, and may run code of users that writes
                note.effect_in(statement, self.survey.latest)
            self._under_way.append(note)

    def heard(self, note: Cacheability) -> None:
        """The reply to a statement has come; replies come in order."""
        under_way = self._under_way
        if note in under_way:
            del under_way[: under_way.index(note) + 1]

    def wrote(self, effect: Effect, *, committed: bool) -> None:
        """A statement with that effect has succeeded; unless `committed`, its transaction goes on."""
        self._doubtful = self._doubtful or effect.unseen
        if committed or effect.anyway:
            self._apply(effect)
        if not committed:
            self._pending.append(effect)

    def transaction_over(self, *, committed: bool) -> None:
        """The open transaction has ended."""
        pending, self._pending = self._pending, []
        if committed and pending:
            self._apply(_together(pending))

    def interrupted(self) -> None:
        """A connection was lost while something was under way that may commit: it may have, or be about to."""
        notes, self._under_way = self._under_way, []
        if not notes:
            return
        pending, self._pending = self._pending, []
        effects = [note.latest_effect for note in notes]
        effect = _together(pending + [effect for effect in effects if effect is not None])
        tables, everything = self._apply(effect)
        self.writes.in_doubt(tables, everything=everything, everywhere=effect.everywhere)

    def set_role(self) -> None:
        """It has set its role, or may have."""
        self._role_of = self.survey.epoch()

    def discarded(self) -> None:
        self._doubtful = False

    def _apply(self, effect: Effect) -> tuple[tuple[str, ...], bool]:
        tables, everything = self._widened(effect)
        place = self.writes.changed(tables, everything=everything, everywhere=effect.everywhere)
        self.wrote_at = self._now()
        self.own.wrote(place, tables, everything=everything)
        return tables, everything

    def _widened(self, effect: Effect) -> tuple[tuple[str, ...], bool]:
        """What an effect reaches: views, partitions, cascades and triggers; without a catalog it may be anything."""
        if effect.everything or not effect.tables:
            return effect.tables, effect.everything
        catalog = self.survey.peek()
        tables = None if catalog is None else catalog.writing(effect.tables)
        self._doubtful = self._doubtful or tables is None
        return effect.tables if tables is None else tables, tables is None


def _together(effects: Sequence[Effect]) -> Effect:
    """What all of them do, once they are committed."""
    if len(effects) == 1 and not effects[0].anyway:
        return effects[0]
    return Effect(
        tuple({table for effect in effects for table in effect.tables}),
        everything=any(effect.everything for effect in effects),
        everywhere=any(effect.everywhere for effect in effects),
        unseen=any(effect.unseen for effect in effects),
    )
