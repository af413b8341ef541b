"""The executions of requests that have several: none is answered, and what a batch writes is booked once for many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pgbeam_cache.consistency.record_writes import record_writes
from pgbeam_cache.policy.cacheability import noted
from pgbeam_cache.settings import NAME
from pgbeam_core import Query, Result, Session, Statement

if TYPE_CHECKING:
    from pgbeam_cache.serving.cache import Cache

_REASON = "transaction"


def execute(cache: Cache, session: Session, queries: Sequence[Query]) -> None:
    """Those that go to the server now. Its twin for one is `Cache.execute`."""
    state = cache.state_of(session)
    seen: Statement | None = None
    for query in queries:
        statement = query.statement
        note = noted(statement)
        if note.acts or cache.beam.reads_may_write:
            if statement is not seen:
                state.survey.catalog(session, cache.settings.rights_check_s)  # what it writes is widened by it
            state.sent(note, statement)
        if note.reason is None:
            cache.samples.begin(query, note, cache.state_of, _REASON)
        seen = statement
        facts = query.facts
        facts["cache"], facts["reason"] = "bypass", _REASON
    cache.counts.bypasses[_REASON] += len(queries)


def result(cache: Cache, session: Session, queries: Sequence[Query], results: Sequence[Result]) -> None:
    """How they ended. Its twin for one is `Cache.result`."""
    at, end = 0, len(queries)
    while at < end:
        times = _alike(queries, results, at)
        if times > 1:
            _ended_alike(cache, session, queries[at].statement, results[at], times)
        else:
            cache.result(session, queries[at], results[at])
        at += times


def _alike(queries: Sequence[Query], results: Sequence[Result], at: int) -> int:
    """How many from there on are executions of one statement with one result, of which nothing was remembered."""
    statement, ended, place = queries[at].statement, results[at], at
    while place < len(queries) and results[place] is ended and queries[place].statement is statement:
        if queries[place].notes or NAME not in queries[place].facts:
            break
        place += 1
    return max(place - at, 1)


def _ended_alike(cache: Cache, session: Session, statement: Statement, ended: Result, times: int) -> None:
    note = noted(statement)
    cache.samples.ended(session, statement, note, ended, times)
    if note.acts or note.forgets or note.sets_role or cache.beam.reads_may_write:
        record_writes(cache.state_of(session), statement, note, ended, run=True, times=times)
