"""Tells a client about its own slow queries."""

from pgbeam_core import Notice, Query, Result, hookimpl

SLOW_S = 1.0


@hookimpl
def result(query: Query, result: Result) -> Notice | None:
    if result.duration < SLOW_S:
        return None
    return Notice(f"this {query.statement.kind.name} took {result.duration:.1f} s")
