"""What one query wants of the cache, and what may keep it from that."""

from __future__ import annotations

from pgbeam_cache.consistency.session_state import SessionState
from pgbeam_cache.policy.cacheability import Cacheability
from pgbeam_cache.policy.keys import LONGEST_BOUND
from pgbeam_cache.policy.terms import Terms
from pgbeam_cache.serving.flights import Flight
from pgbeam_cache.storage.packing import Versions
from pgbeam_core import Beam, Query


class Lookup:
    """What one query wants of the cache; it goes with the query until its result has come."""

    __slots__ = ("flight", "key", "note", "query", "state", "tables", "terms", "tokens", "versions", "write_place")

    def __init__(self, query: Query, state: SessionState, note: Cacheability, key: bytes, agreed: Terms) -> None:
        self.query = query
        self.state = state
        self.note = note
        self.key = key
        self.terms = agreed
        self.tables = note.tables
        """Names of all relations that it reads, as far as they are known."""
        self.write_place = state.writes.place
        """The place in the sequence of writes before its query went to the server."""
        self.versions: Versions = ()
        """Of the board, before its query went to the server."""
        self.tokens: Versions | None = None
        """Of the second level, before its query went to the server, where these are not those of the board."""
        self.flight: Flight | None = None

    def reads(self, tables: tuple[str, ...]) -> None:
        """It reads these, and nothing has been asked yet."""
        self.tables, self.tokens = tables, None
        self.begin()

    def begin(self) -> None:
        """Its query goes to the server now, or somewhere else first."""
        writes = self.state.writes
        self.write_place, self.versions = writes.place, writes.versions(self.tables)

    def may_join(self, flight: Flight, *, by_others: bool) -> bool:
        """Whether what that flight brings has all that this query has to see."""
        if by_others and self.versions != flight.versions:  # another process has written
            return False
        return self.state.unchanged(self.tables, flight.write_place, by_others=by_others)

    def explain(self, word: str, age: float) -> None:
        """For the debug notice: served from a reply that is `age` seconds old."""
        ttl, swr = self.terms
        self.query.facts.update(cache=word, age=f"{int(age)}s", ttl=f"{ttl}s", swr=f"{swr}s")


def obstacle(state: SessionState, query: Query, note: Cacheability) -> str | None:
    """Why this execution cannot share, though its text could."""
    if not query.answerable:
        return "pipeline"
    if state.special:
        return "state"
    if query.bound_size > LONGEST_BOUND:
        return "size"
    scope = state.scope
    if scope.odd_encoding:
        return "encoding"
    if scope.odd_strings and note.awkward:
        return "unknown"
    if query.mentions_clock:
        return "volatile"
    return None


def reaches(beam: Beam, lookup: Lookup) -> bool:
    """Whether there is a server that could answer, as far as is known."""
    target = lookup.query.target
    return target is None or beam.pool(target).available
