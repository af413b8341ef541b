"""Refuses TRUNCATE, and looks only once at a batch of rows for one statement."""

from collections.abc import Sequence

from pgbeam_core import Query, Refusal, hookimpl


@hookimpl
def execute(query: Query) -> Refusal | None:
    if query.statement.sql.lstrip()[:8].upper() == "TRUNCATE":
        return Refusal("42501", "TRUNCATE is not for this server", hint="DELETE can be rolled back, and counts.")
    return None


@hookimpl
def execute_batch(queries: Sequence[Query]) -> Refusal | None:
    different = {query.statement.text: query for query in queries}
    return next(filter(None, map(execute, different.values())), None)
