"""One query's way through the cache: bypass, hit, stale, miss; and what its result brings."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.defer import Deferred

from pgbeam_cache.consistency.databases import Databases
from pgbeam_cache.consistency.record_writes import record_writes
from pgbeam_cache.consistency.session_state import SessionState
from pgbeam_cache.consistency.writes import Writes
from pgbeam_cache.policy import keys
from pgbeam_cache.policy.cacheability import Cacheability, digest, noted
from pgbeam_cache.policy.rules import Rules
from pgbeam_cache.policy.shapes import Shapes
from pgbeam_cache.policy.terms import Terms, terms
from pgbeam_cache.serving.counts import CacheCounts
from pgbeam_cache.serving.flights import Flight, Flights
from pgbeam_cache.serving.idle_eviction import IdleEviction
from pgbeam_cache.serving.keeping import Keeping
from pgbeam_cache.serving.lookup import Lookup, obstacle, reaches
from pgbeam_cache.serving.refreshes import Refreshes
from pgbeam_cache.serving.samples import Samples
from pgbeam_cache.serving.second_lookups import SecondLookups
from pgbeam_cache.settings import NAME, CacheSettings
from pgbeam_cache.storage.async_store import Thread
from pgbeam_cache.storage.second_level import FOLDER, open_second
from pgbeam_cache.storage.store import Entry, Store
from pgbeam_core import Answer, Beam, Catalog, Query, Result, Role, Session, Target

_PATIENCE_S = 1.0
"""Longest wait for the server's catalog before a remembered reply is served."""
_LAG_S = 60.0
"""So long after a write its session trusts no reply that a replica gave to another one."""

Outcome = Answer | Deferred[Answer | None] | None


class Cache:
    """The replies of one PgBeam process."""

    def __init__(self, beam: Beam) -> None:
        settings = beam.settings_of(CacheSettings)
        self.settings = settings
        """As they are now."""
        self.beam = beam
        self.counts = CacheCounts()
        self.store = Store(settings.max_entries, settings.l1_bytes, self._dead)
        self.flights = Flights(beam.reactor, self.lead)
        self.refreshes = Refreshes(beam, self._refresh_failed)
        self.shapes = Shapes(settings.max_shapes)
        self.samples = Samples(self.shapes, foretells=beam.settings.dashboard)
        self.scopes: dict[bytes, str] = {}
        path = Path(beam.settings.state_dir) / FOLDER / "rules.json"
        self.rules = Rules(path, Thread(beam.reactor), beam.reactor)
        self.second = open_second(beam, settings)
        self._lookups = SecondLookups(self)
        self.keeping = Keeping(self, self._lookups)
        self.databases = Databases(self.second, beam.reactor, beam.broadcast)
        self._parking = IdleEviction(beam.reactor, self.store.drop)

    def reload(self) -> None:
        """Go on by the settings that hold now."""
        self.settings = self.beam.settings_of(CacheSettings)

    def state_of(self, session: Session) -> SessionState:
        """What is remembered of a session."""
        state: SessionState | None = session.notes.get(NAME)
        if state is None:
            writes = self.databases.writes(session.project.name, _place(session))
            state = session.notes[NAME] = SessionState(session, writes, self.beam.survey(session), self.beam.now)
            self._parking.came(session.project.name)
        return state

    # Asked before a query goes to the server.

    def execute(self, session: Session, query: Query, target: Target) -> Outcome:
        """The remembered reply, or one that another client is waiting for; None to go on to the server."""
        statement = query.statement
        note = noted(statement)
        settings = self.settings
        if (note.acts or self.beam.reads_may_write) and query.needs_server:
            state = self.state_of(session)
            state.sent(note, statement)
            state.survey.catalog(session, settings.rights_check_s)  # what it writes is widened by it
        agreed = self.agreed(session, query, note, settings)
        if isinstance(agreed, str):
            self.samples.begin(query, note, self.state_of, agreed)
            self.bypass(query, agreed)
            return None
        state = self.state_of(session)
        key = keys.key(state.scope.of(target.role), digest(statement, note), query)
        self.samples.looked_up(query, note, state)
        lookup = Lookup(query, state, note, key, agreed)
        catalog = None if note.names_nothing else state.survey.catalog(session, settings.rights_check_s)
        if catalog is not None or note.names_nothing:
            return self._seen(lookup, catalog, settings)
        if note.own_functions:
            self.bypass(query, "volatile")
            return None
        lookup.begin()
        if self.store.get(key) is None and self.flights.get((key, query.needs_description)) is None:
            return self._miss(lookup, settings)
        return state.survey.wait(session, _PATIENCE_S).addCallback(self.known, lookup)

    def agreed(self, session: Session, query: Query, note: Cacheability, settings: CacheSettings) -> Terms | str:
        """The terms of this execution, or the word for why it has none."""
        if query.in_transaction and not query.lazily:
            return "transaction"
        if note.reason is not None:
            return note.reason
        agreed = terms(note, query.statement, session, settings, self.rules.of(session.project.name))
        if isinstance(agreed, str):
            return agreed
        if not self.databases.all_seen():
            return "restart"
        return obstacle(self.state_of(session), query, note) or agreed

    def known(self, catalog: Catalog | None, lookup: Lookup) -> Outcome:
        """The catalog has come; or there is none: then a reply may be served only if no server could be asked."""
        if catalog is None and not lookup.state.survey.unreachable:
            self.bypass(lookup.query, "unknown")
            return None
        return self._seen(lookup, catalog, self.settings)

    def _seen(self, lookup: Lookup, catalog: Catalog | None, settings: CacheSettings) -> Outcome:
        writes = lookup.state.writes
        if catalog is not None and catalog.serial != writes.catalog:
            writes.redefined(catalog.serial)
        tables, reason = lookup.note.seen(lookup.query.statement, catalog)
        if reason is not None:
            self.bypass(lookup.query, reason)
            return None
        lookup.reads(tables)
        return self._answer(lookup, settings)

    def _answer(self, lookup: Lookup, settings: CacheSettings) -> Outcome:
        entry = self.store.get(lookup.key)
        answer = None if entry is None else self.serve(entry, lookup, settings)
        return self._miss(lookup, settings) if answer is None else answer

    def serve(self, entry: Entry, lookup: Lookup, settings: CacheSettings) -> Answer | None:
        """The reply of an entry, if this query may have it; fresh, or stale while a refresh is begun."""
        if not self._usable(entry, lookup, settings):
            return None
        age = self.beam.now() - entry.born
        ttl, swr = lookup.terms
        if age < ttl:
            self.counts.hits += 1
            lookup.explain("hit", age)
        elif age < ttl + swr or (age < ttl + swr + settings.stale_if_error_s and not reaches(self.beam, lookup)):
            self.counts.stale_hits += 1
            lookup.explain("stale", age)
            self._refresh(lookup, settings)
        else:
            return None
        self.store.used(entry)
        entry.useful_for(ttl + swr + settings.stale_if_error_s)
        return entry.answer

    def _usable(self, entry: Entry, lookup: Lookup, settings: CacheSettings) -> bool:
        state, tables = lookup.state, lookup.tables
        by_others = settings.invalidate == "tables"
        if by_others and not self._holds(entry, state.writes, tables):
            self.store.remove(entry)
            self.counts.invalidations += 1
            return False
        if entry.answer.description is None and lookup.query.needs_description:
            return False
        if state.wrote_at is not None and self._is_behind(lookup):
            return False
        if not entry.foreign:
            return state.own.unchanged(tables, entry.write_place)
        return by_others or state.own.unchanged(tables, 0)  # its own writes show on the board too

    def _is_behind(self, lookup: Lookup) -> bool:
        """Whether a replica may have given other sessions what is from before a write of this one."""
        target, state = lookup.query.target, lookup.state
        if target is None or target.role is Role.PRIMARY or state.wrote_at is None:
            return False
        return self.beam.now() - state.wrote_at < _LAG_S and not state.own.unchanged(lookup.tables, 0)

    def _holds(self, entry: Entry, writes: Writes, tables: tuple[str, ...]) -> bool:
        """Whether nothing that it was read from was written since, as far as anybody knows."""
        if not writes.unchanged(tables, entry.write_place):
            return False
        return self.second is None or (entry.tables == tables and entry.versions == writes.versions(tables))

    def _miss(self, lookup: Lookup, settings: CacheSettings) -> Deferred[Answer | None] | None:
        lookup.query.explain(cache="miss")
        place = (lookup.key, lookup.query.needs_description)
        flight = self.flights.get(place)
        by_others = settings.invalidate == "tables"
        lookup.query.notes[NAME] = lookup
        joins = flight is not None and lookup.may_join(flight, by_others=by_others)
        if flight is not None and joins and not self._is_behind(lookup):
            lookup.flight = flight
            return self.flights.follow(flight, lookup.query, settings.wait_s, lambda: self._coalesced(lookup))
        flight = Flight(place, lookup.write_place, lookup.versions)
        self.flights.start(flight)
        if self.second is not None:
            return self._lookups.look(lookup, flight)
        self.lead(lookup.query, flight)
        return None

    def _coalesced(self, lookup: Lookup) -> None:
        del lookup.query.notes[NAME]
        self.counts.coalesced += 1
        lookup.explain("hit", 0.0)
        lookup.query.explain(coalesced="true")

    def again(self, query: Query) -> Outcome:
        """A follower asks anew: there is an entry now."""
        return self._answer(query.notes.pop(NAME), self.settings)

    def lead(self, query: Query, flight: Flight) -> None:
        """This query goes to the server, for all of its flight."""
        lookup: Lookup = query.notes[NAME]
        lookup.flight = flight
        lookup.begin()
        flight.write_place, flight.versions = lookup.write_place, lookup.versions
        lookup.state.leading = flight
        query.keep_result(self.settings.max_entry_bytes)

    def bypass(self, query: Query, reason: str) -> None:
        """Not for the cache, for this reason."""
        self.counts.bypasses[reason] += 1
        facts = query.facts
        facts["cache"], facts["reason"] = "bypass", reason

    # Told afterwards.

    def result(self, session: Session, query: Query, result: Result) -> None:
        """Keep and share a reply that was waited for; book what a statement wrote."""
        if NAME not in query.facts and result.source == "server":
            self.bypass(query, "pipeline")  # it was never asked about: it came behind a Flush
        statement = query.statement
        note = noted(statement)
        lookup: Lookup | None = query.notes.pop(NAME, None) if query.notes else None
        self.samples.executed(query, note, result, None if lookup is None else lookup.key)
        if lookup is not None:
            self.keeping.landed(lookup, result)
        if note.acts or note.forgets or note.sets_role or self.beam.reads_may_write:
            record_writes(self.state_of(session), statement, note, result, run=result.source != NAME)

    def left(self, session: Session) -> None:
        """The client is gone, whatever it had under way."""
        state: SessionState | None = session.notes.pop(NAME, None)
        if state is None:
            return
        self._parking.left(session.project.name, self.settings.park_after_s)
        state.interrupted()
        flight, state.leading = state.leading, None
        if flight is not None:
            self.flights.failed(flight)

    def transaction_over(self, session: Session, *, committed: bool) -> None:
        """An explicit transaction has ended."""
        state: SessionState | None = session.notes.get(NAME)
        if state is not None:
            state.transaction_over(committed=committed)

    def close(self) -> None:
        self.rules.close()
        self.databases.close()
        self._parking.close()
        self.refreshes.close()
        self.store.clear()
        if self.second is not None:
            self.second.close()

    # In the background.

    def _refresh(self, lookup: Lookup, settings: CacheSettings) -> None:
        if not reaches(self.beam, lookup):
            lookup.query.explain(unavailable="true")
            return
        started = self.refreshes.start(
            lookup.key,
            lambda: self._lookups.before(lookup, lambda: self.beam.rerun(lookup.query, settings.max_entry_bytes)),
            settings.refresh_timeout_s,
            lambda result: self.keeping.keep(lookup, result),
        )
        if started:
            self.counts.refreshes += 1

    def _refresh_failed(self) -> None:
        self.counts.refresh_failures += 1

    def _dead(self, entry: Entry) -> bool:
        return entry.until <= self.beam.now()


def _place(session: Session) -> str:
    """A database, told apart from another one that has had its name before."""
    return " ".join((session.identity.database, *map(str, session.identity.oids[2:])))
