"""A counter for Prometheus, with a label for the project: pgbeam_example_reads_total{project="shop"} 42."""

from collections import Counter
from collections.abc import Sequence

from pgbeam_core import Metric, Query, hookimpl

_reads: Counter[str] = Counter()


@hookimpl
def result(query: Query) -> None:
    if query.statement.reads:
        _reads[query.session.project.name] += 1


@hookimpl
def metrics() -> Sequence[Metric]:
    samples = [({"project": project}, count) for project, count in _reads.items()]
    return [Metric("reads", "Statements that only read", samples)]
