"""What passes by: each shape's executions are counted, and now and then a reply that is not cached is looked at."""

from __future__ import annotations

from collections.abc import Callable

from pgbeam_cache.consistency.session_state import SessionState
from pgbeam_cache.policy import keys
from pgbeam_cache.policy.cacheability import Cacheability, digest
from pgbeam_cache.policy.shapes import Shapes
from pgbeam_core import Query, Result, Session

_SAMPLE = "cache.sample"
"""Where a query notes the request whose reply is only looked at."""
_SAMPLE_BYTES = 64 * 1024
_LONGEST_SHAPE = 32 * 1024
"""Bytes of a text; longer ones are bulk, and taking them apart would take long."""


class Samples:
    """Tells whether caching a shape would pay: whether its reply is the same as before."""

    def __init__(self, shapes: Shapes) -> None:
        self._shapes = shapes

    def begin(self, query: Query, note: Cacheability, state_of: Callable[[Session], SessionState]) -> None:
        """A query that is not cached: its reply may be looked at."""
        statement = query.statement
        if note.reason is not None or not query.answerable or len(statement.text) > _LONGEST_SHAPE:
            return
        if query.bound_size > keys.LONGEST_BOUND:
            return
        shape = self._shapes.of(statement, note)
        if shape.wants_sample:
            shape.sampled()
            scope = state_of(query.session).scope.of("")
            query.notes[_SAMPLE] = keys.key(scope, digest(statement, note), query)
            query.keep_result(_SAMPLE_BYTES)

    def executed(self, query: Query, note: Cacheability, result: Result, key: bytes | None) -> None:
        """An execution has ended. `key`: that of its lookup, if it had one."""
        statement = query.statement
        request: bytes | None = key
        if key is None and query.notes:
            request = query.notes.pop(_SAMPLE, None)
        if len(statement.text) > _LONGEST_SHAPE:
            return
        shape = self._shapes.of(statement, note)
        self._shapes.executed(shape, result)
        if request is not None and result.kept is not None:
            shape.replied(request, result.kept)
