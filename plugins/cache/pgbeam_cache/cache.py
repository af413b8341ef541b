"""One query's way through the cache: bypass, hit, stale, miss; and what its result brings."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from pgbeam_cache import keys
from pgbeam_cache.counts import Counts
from pgbeam_cache.flights import Flight, Flights
from pgbeam_cache.notes import Note
from pgbeam_cache.refreshes import Refreshes
from pgbeam_cache.settings import CacheSettings
from pgbeam_cache.store import Entry, Store
from pgbeam_cache.terms import Terms, terms
from pgbeam_cache.visits import Visit
from pgbeam_cache.wishes import Wish, obstacle
from pgbeam_cache.writes import Writes
from pgbeam_core import Answer, Beam, Query, Result, Session, Statement, Target

NAME = "cache"


class Cache:
    """The replies of one PgBeam process."""

    def __init__(self, beam: Beam) -> None:
        settings = self._settings_of(beam)
        self._beam = beam
        self.counts = Counts()
        self.store = Store(settings.max_entries, settings.l1_bytes, self._dead)
        self.flights = Flights(beam.reactor, self._lead)
        self.refreshes = Refreshes(beam, self._refresh_failed)
        self._writes: dict[tuple[str, str], Writes] = {}
        self._bypasses: dict[str, dict[str, str]] = {}

    @property
    def settings(self) -> CacheSettings:
        """As they are now: a reload brings new ones."""
        return self._settings_of(self._beam)

    def visit(self, session: Session) -> Visit:
        """What is remembered of a session."""
        visit: Visit | None = session.notes.get(NAME)
        if visit is None:
            writes = self._writes.setdefault((session.project.name, session.database), Writes())
            visit = session.notes[NAME] = Visit(session, writes)
        return visit

    # Asked before a query goes to the server.

    def execute(self, session: Session, query: Query, target: Target) -> Answer | Deferred[Answer | None] | None:
        """The remembered reply, or one that another client is waiting for; None to go on to the server."""
        statement = query.statement
        note = noted(statement)
        if note.effect is not None or note.ends:
            self.visit(session).sent(note)
        agreed = self._agreed(session, query, note)
        if isinstance(agreed, str):
            self._bypass(query, agreed)
            return None
        visit = self.visit(session)
        key = keys.key(visit.scope.of(target.role), note.text(statement), query)
        return self._answer(Wish(query, visit, note, key, agreed), self.settings, target)

    def _agreed(self, session: Session, query: Query, note: Note) -> Terms | str:
        """The terms of this execution, or the word for why it has none."""
        if query.in_transaction:
            return "transaction"
        if note.reason is not None:
            return note.reason
        agreed = terms(note, session, self.settings)
        if isinstance(agreed, str):
            return agreed
        return obstacle(self.visit(session), query, note) or agreed

    def _answer(self, wish: Wish, settings: CacheSettings, target: Target) -> Answer | Deferred[Answer | None] | None:
        entry = self.store.get(wish.key)
        if entry is not None and self._usable(entry, wish, settings):
            age = self._beam.now() - entry.born
            ttl, swr = wish.terms
            if age < ttl:
                self.counts.hits += 1
                return self._serve(entry, wish, "hit", age)
            if age < ttl + swr:
                self.counts.stale_hits += 1
                self._refresh(wish, settings, target)
                return self._serve(entry, wish, "stale", age)
        return self._miss(wish, settings)

    def _usable(self, entry: Entry, wish: Wish, settings: CacheSettings) -> bool:
        by_others = settings.invalidate == "tables"
        if by_others and not wish.visit.writes.unchanged(entry.tables, entry.taken):
            self.store.remove(entry)
            self.counts.invalidations += 1
            return False
        if entry.answer.description is None and wish.query.needs_description:
            return False
        return wish.visit.own.unchanged(entry.tables, entry.taken)

    def _serve(self, entry: Entry, wish: Wish, word: str, age: float) -> Answer:
        self.store.used(entry)
        entry.useful_for(sum(wish.terms))
        wish.explain(word, age)
        return entry.answer

    def _miss(self, wish: Wish, settings: CacheSettings) -> Deferred[Answer | None] | None:
        wish.query.explain(cache="miss")
        flight = self.flights.get((wish.key, wish.query.needs_description))
        by_others = settings.invalidate == "tables"
        if flight is not None and wish.visit.unchanged(wish.note.tables, flight.taken, by_others=by_others):
            wish.flight = flight
            wish.query.notes[NAME] = wish

            def landing() -> None:
                del wish.query.notes[NAME]
                self.counts.coalesced += 1
                wish.explain("hit", 0.0)
                wish.query.explain(coalesced="true")

            return self.flights.follow(flight, wish.query, settings.wait_s, landing)
        flight = Flight((wish.key, wish.query.needs_description), wish.taken)
        wish.query.notes[NAME] = wish
        self._lead(wish.query, flight)
        self.flights.start(flight)
        return None

    def _lead(self, query: Query, flight: Flight) -> None:
        wish: Wish = query.notes[NAME]
        wish.flight = flight
        wish.taken = flight.taken = wish.visit.writes.place
        wish.visit.leading = flight
        query.keep_result(self.settings.max_entry_bytes)

    def _bypass(self, query: Query, reason: str) -> None:
        self.counts.bypasses[reason] += 1
        facts = self._bypasses.get(reason)
        if facts is None:
            facts = self._bypasses[reason] = {"cache": "bypass", "reason": reason}
        query.facts.update(facts)

    # Told afterwards.

    def result(self, session: Session, query: Query, result: Result) -> None:
        """Keep and share a reply that was waited for; book what a statement wrote."""
        if NAME not in query.facts and result.source == "server":
            self._bypass(query, "pipeline")  # it was never asked about: it came behind a Flush
        if query.notes:
            wish: Wish | None = query.notes.pop(NAME, None)
            if wish is not None:
                self._landed(wish, result)
        note = noted(query.statement)
        if note.effect is not None or note.ends or note.forgets:
            self._wrote(self.visit(session), note, result)

    def _wrote(self, visit: Visit, note: Note, result: Result) -> None:
        error = result.error
        if error is not None and error[0].startswith("08") and result.source == "server":
            visit.interrupted()
            return
        visit.heard()
        effect = note.effect
        if error is None:
            if effect is not None:
                visit.wrote(effect, committed=result.committed)
            if note.forgets:
                visit.discarded()
        elif effect is not None and effect.anyway:
            visit.wrote(effect, committed=True)

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
        tables, settings = wish.note.tables, self.settings
        by_others = settings.invalidate == "tables"
        if wish.visit.unchanged(tables, wish.taken, by_others=by_others):
            self.store.max_entries, self.store.max_bytes = settings.max_entries, settings.l1_bytes
            entry = Entry(wish.key, answer, tables, self._beam.now() - result.server_time, wish.taken)
            entry.useful_for(sum(wish.terms))
            self.store.put(entry)
        return True

    def left(self, session: Session) -> None:
        """The client is gone, whatever it had under way."""
        visit: Visit | None = session.notes.pop(NAME, None)
        if visit is None:
            return
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
        self.refreshes.close()
        self.store.clear()

    # In the background.

    def _refresh(self, wish: Wish, settings: CacheSettings, target: Target) -> None:
        if not self._beam.pool(target).available:
            return
        started = self.refreshes.start(
            wish.key,
            wish.query,
            settings.max_entry_bytes,
            settings.refresh_timeout_s,
            lambda result: self._keep(wish, result),
        )
        if started:
            self.counts.refreshes += 1

    def _refresh_failed(self) -> None:
        self.counts.refresh_failures += 1

    def _dead(self, entry: Entry) -> bool:
        return entry.until <= self._beam.now()

    @staticmethod
    def _settings_of(beam: Beam) -> CacheSettings:
        settings: CacheSettings = beam.settings_of(NAME)
        return settings

    def stats(self) -> dict[str, Any]:
        """Counters and gauges."""
        return {
            **self.counts.as_dict(),
            "evictions": self.store.evictions,
            "entries": len(self.store),
            "bytes": self.store.bytes,
            "flights": len(self.flights),
            "refreshing": len(self.refreshes),
        }


def noted(statement: Statement) -> Note:
    """The note on a statement, made when it is first asked for."""
    note: Note | None = statement.notes.get(NAME)
    if note is None:
        note = statement.notes[NAME] = Note(statement)
    return note
