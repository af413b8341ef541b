"""The way of a miss past the second level, before it goes to the server."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from pgbeam_cache.policy.keys import KeyScope
from pgbeam_cache.serving.flights import Flight
from pgbeam_cache.serving.lookup import Lookup
from pgbeam_cache.storage.packing import Packed
from pgbeam_cache.storage.second_level import SecondLevelResult
from pgbeam_cache.storage.store import Entry
from pgbeam_core import Answer, Catalog, PgBeamError, Result

if TYPE_CHECKING:
    from pgbeam_cache.serving.cache import Cache

_PATIENCE_S = 1.0
"""Longest wait for the server's catalog before a reply that was found is served."""


class SecondLookups:
    """Asks the second level, and gives it what the server said."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    def look(self, lookup: Lookup, flight: Flight) -> Deferred[Answer | None]:
        """The reply from the second level; None when the query has to go to the server, as the leader of its flight."""
        asked: Deferred[Answer | None] = Deferred(lambda _: self._cache.flights.failed(flight))
        self._ask(lookup).addCallback(self._looked, lookup, flight, asked)
        return asked

    def before(self, lookup: Lookup, run: Callable[[], Deferred[Result]]) -> Deferred[Result]:
        """Run a refresh; where the second level has versions of its own, get them first."""
        second = self._cache.second
        if second is None or not second.remote:
            return run()
        return self._ask(lookup).addCallback(self._stamped, lookup, lookup.state.scope, run)

    def keep(self, lookup: Lookup, answer: Answer, server_time: float) -> None:
        """Give the second level a reply that has just come."""
        second = self._cache.second
        if second is None:
            return
        versions = lookup.tokens if second.remote else lookup.versions
        if versions is not None:
            seconds = sum(lookup.terms) + self._cache.settings.stale_if_error_s
            second.keep(lookup.key, answer, second.wall() - server_time, versions, seconds)

    def _ask(self, lookup: Lookup) -> Deferred[SecondLevelResult]:
        assert self._cache.second is not None
        return self._cache.second.look(lookup.key, lookup.state.writes.slots(lookup.tables), lookup.versions)

    def _stamped(
        self, found: SecondLevelResult, lookup: Lookup, scope: KeyScope, run: Callable[[], Deferred[Result]]
    ) -> Deferred[Result]:
        if lookup.state.special or lookup.state.scope is not scope:
            raise PgBeamError("the session has other settings now", sqlstate="55000")
        lookup.tokens = found.tokens
        return run()

    def _looked(self, found: SecondLevelResult, lookup: Lookup, flight: Flight, asked: Deferred[Answer | None]) -> None:
        if asked.called:
            return  # its client has left
        lookup.tokens = found.tokens
        if found.packed is None:
            self._go_on(lookup, flight, asked)
            return
        survey, session = lookup.state.survey, lookup.state.session
        if lookup.note.names_nothing or survey.peek() is not None:
            self._found(survey.peek(), found.packed, lookup, flight, asked)
        else:
            survey.wait(session, _PATIENCE_S).addCallback(self._found, found.packed, lookup, flight, asked)

    def _found(
        self, catalog: Catalog | None, packed: Packed, lookup: Lookup, flight: Flight, asked: Deferred[Answer | None]
    ) -> None:
        """There is a reply, and what a catalog says of the query."""
        if asked.called:
            return
        known = lookup.note.names_nothing or catalog is not None or lookup.state.survey.unreachable
        answer = self._serve(catalog, packed, lookup) if known else None
        if answer is None:
            self._go_on(lookup, flight, asked)
            return
        del lookup.query.notes["cache"]
        self._cache.flights.again(flight, self._cache.again)
        asked.callback(answer)

    def _serve(self, catalog: Catalog | None, packed: Packed, lookup: Lookup) -> Answer | None:
        cache = self._cache
        assert cache.second is not None
        tables, reason = lookup.note.seen(lookup.query.statement, catalog)
        if reason is not None or tables != lookup.tables:
            return None
        age = max(0.0, cache.second.wall() - packed.born)
        born = cache.beam.now() - age
        entry = Entry(
            lookup.key, packed.answer, tables, born, lookup.write_place, versions=lookup.versions, foreign=True
        )
        answer = cache.serve(entry, lookup, cache.settings)
        if answer is not None:
            cache.second.hits += 1
            cache.keeping.remember(entry, lookup, cache.settings)
        return answer

    def _go_on(self, lookup: Lookup, flight: Flight, asked: Deferred[Answer | None]) -> None:
        self._cache.lead(lookup.query, flight)
        asked.callback(None)
