"""What the cache makes of a batch is what it makes of its executions one by one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pgbeam_core import Query, Result, Session
from tests.plugins.cache.worlds import PRIMARY, World

READS = ("SELECT a FROM t", "SELECT a FROM u", "SELECT a FROM v")
STATEMENTS = (
    *READS,
    "INSERT INTO t VALUES ($1)",
    "UPDATE u SET a = $1",
    "DELETE FROM t",
    "SELECT nextval('s')",
    "CREATE TABLE w (a int)",
    "SET ROLE app",
    "DISCARD ALL",
)
ERRORS = (None, None, None, ("23505", "duplicate key"), ("08006", "lost"))


@dataclass(frozen=True)
class Run:
    """So many executions of one statement, with one result."""

    sql: str
    times: int
    error: tuple[str, str] | None
    alike: bool
    """They have one Result in common, with the ones before them too, as those of a part of a batch have."""
    asked: bool
    """The cache was asked before; False for what came behind a Flush."""


runs = st.lists(
    st.builds(
        Run, st.sampled_from(STATEMENTS), st.integers(1, 4), st.sampled_from(ERRORS), st.booleans(), st.booleans()
    ),
    max_size=6,
)


def play(run: list[Run], *, at_once: bool, committed: bool, ends: bool | None, leaves: bool) -> tuple[Any, ...]:
    """Fill the cache, play the batch, and tell all that can be seen afterwards."""
    world = World()
    reader, writer = world.session(), world.session()
    for sql in READS:
        assert world.run(reader, sql) == "miss"
    if not committed:
        writer.status = b"T"
    queries, results = _batch(world, writer, run, committed=committed)
    asked = [query for query, one in zip(queries, _each(run), strict=True) if one.asked]
    plugin = world.plugin
    if at_once and len(queries) > 1:
        if len(asked) > 1:
            plugin.execute_batch(writer, asked)
        else:
            _one_by_one(world, asked)
        plugin.result_batch(writer, queries, results)
    else:
        _one_by_one(world, asked)
        for query, result in zip(queries, results, strict=True):
            plugin.result(writer, query, result)
    if ends is not None:
        writer.status = b"I"
        plugin.transaction_over(writer, ends)
    if leaves:
        plugin.disconnect(writer)
        writer = world.session()
    facts = [query.facts for query in queries]
    shapes = {(shape.hash, shape.calls, shape.bytes, tuple(shape.latency.counts)) for shape in plugin.cache.shapes}
    counts = {key: value for key, value in plugin.stats().items() if key != "cache"}
    again = [(world.run(reader, sql), world.run(writer, sql)) for sql in READS * 2]
    return facts, shapes, counts, again


def _each(run: list[Run]) -> list[Run]:
    return [one for one in run for _ in range(one.times)]


def _batch(world: World, session: Session, run: list[Run], *, committed: bool) -> tuple[list[Query], list[Result]]:
    queries, results = [], []
    result: Result | None = None
    for one in run:
        for _ in range(one.times):
            values = (b"1",) if "$1" in one.sql else ()
            queries.append(world.query(session, one.sql, values=values, in_transaction=True, answerable=False))
            if result is None or not one.alike or result.error != one.error:
                result = Result("server", "DONE 1", 1, error=one.error, server_time=0.5, committed=committed)
            results.append(result)
    return queries, results


def _one_by_one(world: World, queries: list[Query]) -> None:
    for query in queries:
        assert world.execute(query, PRIMARY) is None


@given(runs, st.booleans(), st.sampled_from([None, True, False]), st.booleans())
def test_a_batch_is_its_executions(run: list[Run], committed: bool, ends: bool | None, leaves: bool) -> None:
    """The same facts, counts, shapes, and the same remembered replies that are not served any more."""
    alone = play(run, at_once=False, committed=committed, ends=ends, leaves=leaves)
    assert play(run, at_once=True, committed=committed, ends=ends, leaves=leaves) == alone
