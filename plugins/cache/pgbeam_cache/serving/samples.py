"""What passes by: each shape's executions are counted, and now and then a reply that is not cached is looked at."""

from __future__ import annotations

from collections.abc import Callable

from pgbeam_cache.consistency.session_state import SessionState
from pgbeam_cache.policy import keys
from pgbeam_cache.policy.cacheability import Cacheability, digest
from pgbeam_cache.policy.shapes import Shape, Shapes
from pgbeam_cache.policy.traffic import NEVER, RecentTraffic
from pgbeam_core import Query, Result, Session, Statement

_SAMPLE = "cache.sample"
"""Where a query notes the request whose reply is only looked at."""
_SAMPLE_BYTES = 64 * 1024
_CURABLE = frozenset({"off", "rule", "ttl"})
"""Reasons that a rule would do away with."""
_LONGEST_SHAPE = 32 * 1024
"""Bytes of a text; longer ones are bulk, and taking them apart would take long."""


class Samples:
    """Tells whether caching a shape would pay: whether its reply is the same as before."""

    def __init__(self, shapes: Shapes, *, foretells: bool) -> None:
        """`foretells`: what comes is remembered for a while, to tell what a rule would have given."""
        self._shapes = shapes
        self._foretells = foretells

    def begin(self, query: Query, note: Cacheability, state_of: Callable[[Session], SessionState], reason: str) -> None:
        """A query that is not cached, for that reason: its reply may be looked at."""
        statement = query.statement
        if note.reason is not None or len(statement.text) > _LONGEST_SHAPE:
            return
        readable = query.answerable and query.bound_size <= keys.LONGEST_BOUND
        if not (readable or self._foretells):
            return
        shape = self._shapes.of(query.session.project.name, statement, note)
        if self._foretells:
            state = state_of(query.session)
            curable = readable and reason in _CURABLE
            self._came(shape, query, note, state, _request(query, state) if curable else NEVER)
        if readable and shape.wants_sample:
            shape.sampled()
            scope = state_of(query.session).scope.of("")
            query.notes[_SAMPLE] = keys.key(scope, digest(statement, note), query)
            query.keep_result(_SAMPLE_BYTES)

    def looked_up(self, query: Query, note: Cacheability, state: SessionState) -> None:
        """A query that is cached already comes too."""
        if self._foretells and len(query.statement.text) <= _LONGEST_SHAPE:
            shape = self._shapes.of(query.session.project.name, query.statement, note)
            self._came(shape, query, note, state, _request(query, state))

    @staticmethod
    def _came(shape: Shape, query: Query, note: Cacheability, state: SessionState, key: int) -> None:
        traffic = shape.traffic
        if traffic is None:
            traffic = shape.traffic = RecentTraffic()
        second = int(query.arrived)
        if traffic.counted(second, key):
            traffic.put(second, key, state.writes.last(note.tables))

    def executed(self, query: Query, note: Cacheability, result: Result, key: bytes | None) -> None:
        """An execution has ended. `key`: that of its lookup, if it had one."""
        statement = query.statement
        request: bytes | None = key
        if key is None and query.notes:
            request = query.notes.pop(_SAMPLE, None)
        shape = self.ended(query.session, statement, note, result)
        if shape is not None and request is not None and result.kept is not None:
            shape.replied(request, result.kept)

    def ended(
        self, session: Session, statement: Statement, note: Cacheability, result: Result, times: int = 1
    ) -> Shape | None:
        """So many executions have ended in that way. Gives their shape, if it is one to be counted."""
        if len(statement.text) > _LONGEST_SHAPE:
            return None
        shape = self._shapes.of(session.project.name, statement, note)
        self._shapes.executed(shape, result, times)
        return shape


def _request(query: Query, state: SessionState) -> int:
    """Stands for what would have the same reply: by the text as it came, which costs nothing to compare."""
    bound = b"" if query.simple else query.bound_bytes
    return hash((state.scope.of(""), query.statement.text, bound))
