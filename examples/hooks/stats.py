"""Counters for `pgbeam stats` and the TUI, by project."""

from collections import Counter

from pgbeam_core import Query, hookimpl

_reads: Counter[str] = Counter()


@hookimpl
def result(query: Query) -> None:
    if query.statement.reads:
        _reads[query.session.project.name] += 1


@hookimpl
def stats() -> dict[str, dict[str, int]]:
    return {project: {"reads": count} for project, count in _reads.items()}
