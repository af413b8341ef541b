"""One query's way through the cache: bypass, hit, stale, miss; and what its result brings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred

from pgbeam_cache import keys
from pgbeam_cache.bookings import booked
from pgbeam_cache.counts import Counts
from pgbeam_cache.databases import Databases
from pgbeam_cache.flights import Flight, Flights
from pgbeam_cache.lookups import Lookups
from pgbeam_cache.notes import Note, digest
from pgbeam_cache.parking import Parking
from pgbeam_cache.refreshes import Refreshes
from pgbeam_cache.rules import Rules
from pgbeam_cache.second import FOLDER, open_second
from pgbeam_cache.settings import CacheSettings
from pgbeam_cache.shapes import Shapes
from pgbeam_cache.shelf import Thread
from pgbeam_cache.store import Entry, Store
from pgbeam_cache.terms import Terms, terms
from pgbeam_cache.visits import Visit
from pgbeam_cache.wishes import Wish, obstacle
from pgbeam_cache.writes import Writes
from pgbeam_core import Answer, Beam, Catalog, Query, Result, Session, Statement, Target

NAME = "cache"
_SAMPLE = "cache.sample"
"""Where a query notes the request whose reply is only looked at."""
_SAMPLE_BYTES = 64 * 1024
_LONGEST_SHAPE = 32 * 1024
"""Bytes of a text; longer ones are bulk, and taking them apart would take long."""
_PATIENCE_S = 1.0
"""Longest wait for the server's catalog before a remembered reply is served."""
_LAG_S = 60.0
"""So long after a write its session trusts no reply that a replica gave to another one."""

Outcome = Answer | Deferred[Answer | None] | None


class Cache:
    """The replies of one PgBeam process."""

    def __init__(self, beam: Beam) -> None:
        settings = self._settings_of(beam)
        self.beam = beam
        self.counts = Counts()
        self.store = Store(settings.max_entries, settings.l1_bytes, self._dead)
        self.flights = Flights(beam.reactor, self.lead)
        self.refreshes = Refreshes(beam, self._refresh_failed)
        self.shapes = Shapes(settings.max_shapes)
        path = Path(beam.settings.state_dir) / FOLDER / "rules.json"
        self.rules = Rules(path, Thread(beam.reactor), beam.reactor)
        self.second = open_second(beam, settings)
        self._lookups = Lookups(self)
        self.databases = Databases(self.second, beam.reactor)
        self._parking = Parking(beam.reactor, self.store.drop)

    @property
    def settings(self) -> CacheSettings:
        """As they are now: a reload brings new ones."""
        return self._settings_of(self.beam)

    def visit(self, session: Session) -> Visit:
        """What is remembered of a session."""
        visit: Visit | None = session.notes.get(NAME)
        if visit is None:
            writes = self.databases.writes(session.project.name, _place(session))
            visit = session.notes[NAME] = Visit(session, writes, self.beam.survey(session), self.beam.now)
            self._parking.came(session.project.name)
        return visit

    # Asked before a query goes to the server.

    def execute(self, session: Session, query: Query, target: Target) -> Outcome:
        """The remembered reply, or one that another client is waiting for; None to go on to the server."""
        statement = query.statement
        note = noted(statement)
        settings = self.settings
        if note.acts and query.needs_server:
            visit = self.visit(session)
            visit.sent(note)
            visit.survey.catalog(session, settings.rights_check_s)  # what it writes is widened by it
        agreed = self._agreed(session, query, note, settings)
        if isinstance(agreed, str):
            self._sample(query, note)
            self.bypass(query, agreed)
            return None
        visit = self.visit(session)
        key = keys.key(visit.scope.of(target.role), digest(statement, note), query)
        wish = Wish(query, visit, note, key, agreed)
        catalog = None if note.plain else visit.survey.catalog(session, settings.rights_check_s)
        if catalog is not None or note.plain:
            return self._seen(wish, catalog, settings)
        if note.own_functions:
            self.bypass(query, "volatile")
            return None
        wish.begin()
        if self.store.get(key) is None and self.flights.get((key, query.needs_description)) is None:
            return self._miss(wish, settings)
        return visit.survey.wait(session, _PATIENCE_S).addCallback(self.known, wish)

    def _agreed(self, session: Session, query: Query, note: Note, settings: CacheSettings) -> Terms | str:
        """The terms of this execution, or the word for why it has none."""
        if query.in_transaction and not query.lazily:
            return "transaction"
        if note.reason is not None:
            return note.reason
        agreed = terms(note, query.statement, session, settings, self.rules.current)
        if isinstance(agreed, str):
            return agreed
        return obstacle(self.visit(session), query, note) or agreed

    def known(self, catalog: Catalog | None, wish: Wish) -> Outcome:
        """The catalog has come; or there is none: then a reply may be served only if no server could be asked."""
        if catalog is None and not wish.visit.survey.unreachable:
            self.bypass(wish.query, "unknown")
            return None
        return self._seen(wish, catalog, self.settings)

    def _seen(self, wish: Wish, catalog: Catalog | None, settings: CacheSettings) -> Outcome:
        writes = wish.visit.writes
        if catalog is not None and catalog.serial != writes.catalog:
            writes.redefined(catalog.serial)
        tables, reason = wish.note.seen(wish.query.statement, catalog)
        if reason is not None:
            self.bypass(wish.query, reason)
            return None
        wish.reads(tables)
        return self._answer(wish, settings)

    def _answer(self, wish: Wish, settings: CacheSettings) -> Outcome:
        entry = self.store.get(wish.key)
        answer = None if entry is None else self.serve(entry, wish, settings)
        return self._miss(wish, settings) if answer is None else answer

    def serve(self, entry: Entry, wish: Wish, settings: CacheSettings) -> Answer | None:
        """The reply of an entry, if this query may have it; fresh, or stale while a refresh is begun."""
        if not self._usable(entry, wish, settings):
            return None
        age = self.beam.now() - entry.born
        ttl, swr = wish.terms
        if age < ttl:
            self.counts.hits += 1
            wish.explain("hit", age)
        elif age < ttl + swr:
            self.counts.stale_hits += 1
            wish.explain("stale", age)
            self._refresh(wish, settings)
        else:
            return None
        self.store.used(entry)
        entry.useful_for(ttl + swr)
        return entry.answer

    def _usable(self, entry: Entry, wish: Wish, settings: CacheSettings) -> bool:
        visit, tables = wish.visit, wish.tables
        by_others = settings.invalidate == "tables"
        if by_others and not self._holds(entry, visit.writes, tables):
            self.store.remove(entry)
            self.counts.invalidations += 1
            return False
        if entry.answer.description is None and wish.query.needs_description:
            return False
        if visit.wrote_at is not None and self._is_behind(wish):
            return False
        if not entry.foreign:
            return visit.own.unchanged(tables, entry.taken)
        return by_others or visit.own.unchanged(tables, 0)  # its own writes show on the board too

    def _is_behind(self, wish: Wish) -> bool:
        """Whether a replica may have given other sessions what is from before a write of this one."""
        target, visit = wish.query.target, wish.visit
        if target is None or target.role == "primary" or visit.wrote_at is None:
            return False
        return self.beam.now() - visit.wrote_at < _LAG_S and not visit.own.unchanged(wish.tables, 0)

    def _holds(self, entry: Entry, writes: Writes, tables: tuple[str, ...]) -> bool:
        """Whether nothing that it was read from was written since, as far as anybody knows."""
        if not writes.unchanged(tables, entry.taken):
            return False
        return self.second is None or (entry.tables == tables and entry.stamps == writes.stamps(tables))

    def _miss(self, wish: Wish, settings: CacheSettings) -> Deferred[Answer | None] | None:
        wish.query.explain(cache="miss")
        place = (wish.key, wish.query.needs_description)
        flight = self.flights.get(place)
        by_others = settings.invalidate == "tables"
        wish.query.notes[NAME] = wish
        joins = flight is not None and wish.visit.unchanged(wish.tables, flight.taken, by_others=by_others)
        if flight is not None and joins and not self._is_behind(wish):
            wish.flight = flight
            return self.flights.follow(flight, wish.query, settings.wait_s, lambda: self._coalesced(wish))
        flight = Flight(place, wish.taken)
        self.flights.start(flight)
        if self.second is not None:
            return self._lookups.look(wish, flight)
        self.lead(wish.query, flight)
        return None

    def _coalesced(self, wish: Wish) -> None:
        del wish.query.notes[NAME]
        self.counts.coalesced += 1
        wish.explain("hit", 0.0)
        wish.query.explain(coalesced="true")

    def again(self, query: Query) -> Outcome:
        """A follower asks anew: there is an entry now."""
        return self._answer(query.notes.pop(NAME), self.settings)

    def lead(self, query: Query, flight: Flight) -> None:
        """This query goes to the server, for all of its flight."""
        wish: Wish = query.notes[NAME]
        wish.flight = flight
        wish.begin()
        flight.taken = wish.taken
        wish.visit.leading = flight
        query.keep_result(self.settings.max_entry_bytes)

    def bypass(self, query: Query, reason: str) -> None:
        """Not for the cache, for this reason."""
        self.counts.bypasses[reason] += 1
        facts = query.facts
        facts["cache"], facts["reason"] = "bypass", reason

    def _sample(self, query: Query, note: Note) -> None:
        """Now and then, look whether a reply that is not cached is the same as before."""
        statement = query.statement
        if note.reason is not None or not query.answerable or len(statement.text) > _LONGEST_SHAPE:
            return
        if query.bound_size > keys.LONGEST_BOUND:
            return
        shape = self.shapes.of(statement, note)
        if shape.wants_sample:
            shape.sampled()
            scope = self.visit(query.session).scope.of("")
            query.notes[_SAMPLE] = keys.key(scope, digest(statement, note), query)
            query.keep_result(_SAMPLE_BYTES)

    # Told afterwards.

    def result(self, session: Session, query: Query, result: Result) -> None:
        """Keep and share a reply that was waited for; book what a statement wrote."""
        if NAME not in query.facts and result.source == "server":
            self.bypass(query, "pipeline")  # it was never asked about: it came behind a Flush
        statement = query.statement
        note = noted(statement)
        tracked = len(statement.text) <= _LONGEST_SHAPE
        if tracked:
            shape = self.shapes.of(statement, note)
            self.shapes.executed(shape, result)
        if query.notes:
            wish: Wish | None = query.notes.pop(NAME, None)
            request = query.notes.pop(_SAMPLE, None) if wish is None else wish.key
            if tracked and request is not None and result.kept is not None:
                shape.replied(request, result.kept)
            if wish is not None:
                self._landed(wish, result)
        if note.acts or note.forgets or note.sets_role or self.beam.reads_may_write:
            booked(self.visit(session), statement, note, result, run=result.source != NAME)

    def _landed(self, wish: Wish, result: Result) -> None:
        if result.source == "server":
            self.counts.misses += 1
        flight = wish.flight
        if flight is None or wish.visit.leading is not flight:
            return
        wish.visit.leading = None
        if result.error is not None:
            self.flights.failed(flight)
        elif result.kept is None:
            self.counts.not_kept += 1
            self.flights.scatter(flight)
        else:
            self._keep(wish, result)
            self.flights.landed(flight, result.kept)

    def _keep(self, wish: Wish, result: Result) -> bool:
        """Remember a reply, unless what it was read from was written meanwhile. Gives whether there is a reply."""
        answer = result.kept
        if answer is None or result.error is not None:
            return False
        tables, settings = wish.tables, self.settings
        by_others = settings.invalidate == "tables"
        if wish.visit.unchanged(tables, wish.taken, by_others=by_others):
            born = self.beam.now() - result.server_time
            self.remember(Entry(wish.key, answer, tables, born, wish.taken, stamps=wish.stamps), wish, settings)
            self._lookups.keep(wish, answer, result.server_time)
        return True

    def remember(self, entry: Entry, wish: Wish, settings: CacheSettings) -> None:
        """Put an entry into the memory of this process."""
        self.store.max_entries, self.store.max_bytes = settings.max_entries, settings.l1_bytes
        entry.owner = wish.visit.session.project.name
        entry.useful_for(sum(wish.terms))
        self.store.put(entry)

    def left(self, session: Session) -> None:
        """The client is gone, whatever it had under way."""
        visit: Visit | None = session.notes.pop(NAME, None)
        if visit is None:
            return
        self._parking.left(session.project.name, self.settings.park_after_s)
        visit.interrupted()
        flight, visit.leading = visit.leading, None
        if flight is not None:
            self.flights.failed(flight)

    def over(self, session: Session, *, committed: bool) -> None:
        """An explicit transaction has ended."""
        visit: Visit | None = session.notes.get(NAME)
        if visit is not None:
            visit.over(committed=committed)

    def close(self) -> None:
        """PgBeam stops."""
        self.rules.close()
        self.databases.close()
        self._parking.close()
        self.refreshes.close()
        self.store.clear()
        if self.second is not None:
            self.second.close()

    # In the background.

    def _refresh(self, wish: Wish, settings: CacheSettings) -> None:
        target = wish.query.target
        if target is not None and not self.beam.pool(target).available:
            return
        started = self.refreshes.start(
            wish.key,
            lambda: self._lookups.before(wish, lambda: self.beam.rerun(wish.query, settings.max_entry_bytes)),
            settings.refresh_timeout_s,
            lambda result: self._keep(wish, result),
        )
        if started:
            self.counts.refreshes += 1

    def _refresh_failed(self) -> None:
        self.counts.refresh_failures += 1

    def _dead(self, entry: Entry) -> bool:
        return entry.until <= self.beam.now()

    @staticmethod
    def _settings_of(beam: Beam) -> CacheSettings:
        return beam.settings_of(CacheSettings)

    def stats(self) -> dict[str, Any]:
        """Counters and gauges."""
        return {
            **self.counts.as_dict(),
            "evictions": self.store.evictions,
            "entries": len(self.store),
            "bytes": self.store.bytes,
            "flights": len(self.flights),
            "refreshing": len(self.refreshes),
            "shapes": len(self.shapes),
            "rules": len(self.rules.current),
            **({"l2": self.second.stats()} if self.second is not None else {}),
        }


def _place(session: Session) -> str:
    """A database, told apart from another one that has had its name before."""
    return " ".join((session.database, *map(str, session.identity.oids[2:])))


def noted(statement: Statement) -> Note:
    """The note on a statement, made when it is first asked for."""
    note: Note | None = statement.notes.get(NAME)
    if note is None:
        note = statement.notes[NAME] = Note(statement)
    return note
