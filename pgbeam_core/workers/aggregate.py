"""One account of what several workers counted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pgbeam_core.telemetry.stats import Histogram, quantiles

Latencies = Mapping[str, Sequence[int]]
"""Project → the counts of its latency histogram."""
GREATEST = "longest_"


def total(trees: Sequence[Any]) -> Any:
    """Tables are merged, numbers add up; of a number whose name begins with `longest_` there is the greatest.

    Anything else is kept where all agree, and listed where they do not.
    """
    first = trees[0]
    if all(isinstance(tree, Mapping) for tree in trees):
        keys = dict.fromkeys(key for tree in trees for key in tree)
        columns = {key: [tree[key] for tree in trees if key in tree] for key in keys}
        return {key: max(column) if key.startswith(GREATEST) else total(column) for key, column in columns.items()}
    if all(isinstance(tree, int | float) and not isinstance(tree, bool) for tree in trees):
        return sum(trees)
    return first if all(tree == first for tree in trees) else list(trees)


def latencies(parts: Iterable[Latencies]) -> dict[str, list[int]]:
    """The histograms of all workers, one per project."""
    columns: dict[str, list[Sequence[int]]] = {}
    for part in parts:
        for project, counts in part.items():
            columns.setdefault(project, []).append(counts)
    return {project: Histogram.of(counts).counts for project, counts in columns.items()}


def stats(trees: Sequence[Mapping[str, Any]], summed: Latencies) -> dict[str, Any]:
    """The stats of all workers. Quantiles do not add up: they are taken from the summed histograms."""
    if not trees:
        return {"projects": {}, "pins": {}, "plugin_errors": {}}
    found: dict[str, Any] = total(trees)
    for project, counts in summed.items():
        found["projects"][project] |= quantiles(Histogram.of([counts]))
    return found
