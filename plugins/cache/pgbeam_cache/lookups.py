"""The way of a miss past the second level, before it goes to the server."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from pgbeam_cache.flights import Flight
from pgbeam_cache.keys import Scope
from pgbeam_cache.packing import Packed
from pgbeam_cache.second import Found
from pgbeam_cache.store import Entry
from pgbeam_cache.wishes import Wish
from pgbeam_core import Answer, Catalog, PgBeamError, Result

if TYPE_CHECKING:
    from pgbeam_cache.cache import Cache

_PATIENCE_S = 1.0
"""Longest wait for the server's catalog before a reply that was found is served."""


class Lookups:
    """Asks the second level, and gives it what the server said."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    def look(self, wish: Wish, flight: Flight) -> Deferred[Answer | None]:
        """The reply from the second level; None when the query has to go to the server, as the leader of its flight."""
        asked: Deferred[Answer | None] = Deferred(lambda _: self._cache.flights.failed(flight))
        self._ask(wish).addCallback(self._looked, wish, flight, asked)
        return asked

    def before(self, wish: Wish, run: Callable[[], Deferred[Result]]) -> Deferred[Result]:
        """Run a refresh; where the second level has stamps of its own, get them first."""
        second = self._cache.second
        if second is None or not second.remote:
            return run()
        return self._ask(wish).addCallback(self._stamped, wish, wish.visit.scope, run)

    def keep(self, wish: Wish, answer: Answer, server_time: float) -> None:
        """Give the second level a reply that has just come."""
        second = self._cache.second
        if second is None:
            return
        stamps = wish.tokens if second.remote else wish.stamps
        if stamps is not None:
            second.keep(wish.key, answer, second.wall() - server_time, stamps, sum(wish.terms))

    def _ask(self, wish: Wish) -> Deferred[Found]:
        assert self._cache.second is not None
        return self._cache.second.look(wish.key, wish.visit.writes.slots(wish.tables), wish.stamps)

    def _stamped(self, found: Found, wish: Wish, scope: Scope, run: Callable[[], Deferred[Result]]) -> Deferred[Result]:
        if wish.visit.special or wish.visit.scope is not scope:
            raise PgBeamError("the session has other settings now", sqlstate="55000")
        wish.tokens = found.tokens
        return run()

    def _looked(self, found: Found, wish: Wish, flight: Flight, asked: Deferred[Answer | None]) -> None:
        if asked.called:
            return  # its client has left
        wish.tokens = found.tokens
        if found.packed is None:
            self._go_on(wish, flight, asked)
            return
        survey, session = wish.visit.survey, wish.visit.session
        if wish.note.plain or survey.peek() is not None:
            self._found(survey.peek(), found.packed, wish, flight, asked)
        else:
            survey.wait(session, _PATIENCE_S).addCallback(self._found, found.packed, wish, flight, asked)

    def _found(
        self, catalog: Catalog | None, packed: Packed, wish: Wish, flight: Flight, asked: Deferred[Answer | None]
    ) -> None:
        """There is a reply, and what a catalog says of the query."""
        if asked.called:
            return
        known = wish.note.plain or catalog is not None or wish.visit.survey.unreachable
        answer = self._serve(catalog, packed, wish) if known else None
        if answer is None:
            self._go_on(wish, flight, asked)
            return
        del wish.query.notes["cache"]
        self._cache.flights.again(flight, self._cache.again)
        asked.callback(answer)

    def _serve(self, catalog: Catalog | None, packed: Packed, wish: Wish) -> Answer | None:
        cache = self._cache
        assert cache.second is not None
        tables, reason = wish.note.seen(wish.query.statement, catalog)
        if reason is not None or tables != wish.tables:
            return None
        age = max(0.0, cache.second.wall() - packed.born)
        born = cache.beam.now() - age
        entry = Entry(wish.key, packed.answer, tables, born, wish.taken, stamps=wish.stamps, foreign=True)
        answer = cache.serve(entry, wish, cache.settings)
        if answer is not None:
            cache.second.hits += 1
            cache.remember(entry, wish, cache.settings)
        return answer

    def _go_on(self, wish: Wish, flight: Flight, asked: Deferred[Answer | None]) -> None:
        self._cache.lead(wish.query, flight)
        asked.callback(None)
