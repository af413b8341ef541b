"""What becomes of a reply that was waited for: it is kept, and shared with those who follow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgbeam_cache.policy import keys
from pgbeam_cache.policy.cacheability import digest
from pgbeam_cache.serving.lookup import Lookup
from pgbeam_cache.serving.second_lookups import SecondLookups
from pgbeam_cache.settings import CacheSettings
from pgbeam_cache.storage.store import Entry
from pgbeam_core import Result, Role

if TYPE_CHECKING:
    from pgbeam_cache.serving.cache import Cache

_MOST_SCOPES = 1_000
"""Scopes that are remembered in words."""


class Keeping:
    """Puts replies into both levels, unless what they were read from was written meanwhile."""

    def __init__(self, cache: Cache, second_lookups: SecondLookups) -> None:
        self._cache = cache
        self._second_lookups = second_lookups

    def landed(self, lookup: Lookup, result: Result) -> None:
        """The query of a lookup has ended: its flight, if it leads one, has landed, or not."""
        cache = self._cache
        if result.source == "server":
            cache.counts.misses += 1
        flight = lookup.flight
        if flight is None or lookup.state.leading is not flight:
            return
        lookup.state.leading = None
        if result.error is not None:
            cache.flights.failed(flight)
        elif result.kept is None:
            cache.counts.not_kept += 1
            cache.flights.scatter(flight)
        else:
            self.keep(lookup, result)
            cache.flights.landed(flight, result.kept)

    def keep(self, lookup: Lookup, result: Result) -> bool:
        """Remember a reply, unless what it was read from was written meanwhile. Gives whether there is a reply."""
        answer = result.kept
        if answer is None or result.error is not None:
            return False
        tables, settings = lookup.tables, self._cache.settings
        by_others = settings.invalidate == "tables"
        if lookup.state.unchanged(tables, lookup.write_place, by_others=by_others):
            born = self._cache.beam.now() - result.server_time
            entry = Entry(lookup.key, answer, tables, born, lookup.write_place, versions=lookup.versions)
            self._note_parts(entry, lookup)
            self.remember(entry, lookup, settings)
            self._second_lookups.keep(lookup, answer, result.server_time)
        return True

    def _note_parts(self, entry: Entry, lookup: Lookup) -> None:
        """What its key is made of, for who asks why another query does not get it."""
        query, scope, scopes = lookup.query, lookup.state.scope, self._cache.scopes
        role = Role.PRIMARY if query.target is None else query.target.role
        parts = entry.parts = keys.parts(scope.of(role), digest(query.statement, lookup.note), query)
        if parts.scope not in scopes:
            if len(scopes) >= _MOST_SCOPES:
                scopes.clear()
            scopes[parts.scope] = scope.describes(role)

    def remember(self, entry: Entry, lookup: Lookup, settings: CacheSettings) -> None:
        """Put an entry into the memory of this process."""
        store = self._cache.store
        store.max_entries, store.max_bytes = settings.max_entries, settings.l1_bytes
        entry.owner = lookup.state.session.project.name
        entry.useful_for(sum(lookup.terms) + settings.stale_if_error_s)
        store.put(entry)
