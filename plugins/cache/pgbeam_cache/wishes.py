"""What one query wants of the cache, and what may keep it from that."""

from __future__ import annotations

from pgbeam_cache.flights import Flight
from pgbeam_cache.keys import LONGEST_BOUND
from pgbeam_cache.notes import Note
from pgbeam_cache.packing import Stamps
from pgbeam_cache.terms import Terms
from pgbeam_cache.visits import Visit
from pgbeam_core import Query


class Wish:
    """What one query wants of the cache; it goes with the query until its result has come."""

    __slots__ = ("flight", "key", "note", "query", "stamps", "tables", "taken", "terms", "tokens", "visit")

    def __init__(self, query: Query, visit: Visit, note: Note, key: bytes, agreed: Terms) -> None:
        self.query = query
        self.visit = visit
        self.note = note
        self.key = key
        self.terms = agreed
        self.tables = note.tables
        """Names of all relations that it reads, as far as they are known."""
        self.taken = visit.writes.place
        """The place in the sequence of writes before its query went to the server."""
        self.stamps: Stamps = ()
        """Of the board, before its query went to the server."""
        self.tokens: Stamps | None = None
        """Of the second level, before its query went to the server, where these are not those of the board."""
        self.flight: Flight | None = None

    def reads(self, tables: tuple[str, ...]) -> None:
        """It reads these, and nothing has been asked yet."""
        self.tables, self.tokens = tables, None
        self.begin()

    def begin(self) -> None:
        """Its query goes to the server now, or somewhere else first."""
        writes = self.visit.writes
        self.taken, self.stamps = writes.place, writes.stamps(self.tables)

    def explain(self, word: str, age: float) -> None:
        """For the debug notice: served from a reply that is `age` seconds old."""
        ttl, swr = self.terms
        self.query.facts.update(cache=word, age=f"{int(age)}s", ttl=f"{ttl}s", swr=f"{swr}s")


def obstacle(visit: Visit, query: Query, note: Note) -> str | None:
    """Why this execution cannot share, though its text could."""
    if not query.answerable:
        return "pipeline"
    if visit.special:
        return "state"
    if query.bound_size > LONGEST_BOUND:
        return "size"
    scope = visit.scope
    if scope.odd_encoding:
        return "encoding"
    if scope.odd_strings and note.awkward:
        return "unknown"
    if query.mentions_clock:
        return "volatile"
    return None
