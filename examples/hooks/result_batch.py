"""Counts rows written, by table-changing statement, without a call for each row of a batch."""

from collections import Counter
from collections.abc import Mapping, Sequence

from pgbeam_core import Query, Result, hookimpl

written: Counter[str] = Counter()


@hookimpl
def result(query: Query, result: Result) -> None:
    if not query.statement.reads:
        written[query.statement.kind.name] += result.rows


@hookimpl
def result_batch(queries: Sequence[Query], results: Sequence[Result]) -> None:
    for query, ended in zip(queries, results, strict=True):
        result(query, ended)


@hookimpl
def stats() -> Mapping[str, int]:
    return dict(written)
