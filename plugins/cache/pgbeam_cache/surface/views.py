"""The cache as people see it: tables for the console, a panel for the TUI, replies for the command line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from rich.table import Table as RichTable
from rich.text import Text

from pgbeam_cache.policy.rule_files import Rule
from pgbeam_cache.policy.rules import Rules
from pgbeam_cache.policy.shapes import Shape, Shapes
from pgbeam_cache.serving.cache import Cache
from pgbeam_cache.serving.counts import CacheCounts
from pgbeam_core import Table

SHAPE_COLUMNS = (
    *("project", "query_hash", "query", "kind", "calls", "hits", "avg_ms", "p95_ms", "avg_bytes", "stability"),
    *("recommendation", "rule", "first_seen", "last_seen"),
)
_NUMBERS = {"calls": "int8", "hits": "int8", "avg_ms": "float8", "p95_ms": "float8", "avg_bytes": "int8"}
_TYPES = tuple({**_NUMBERS, "stability": "float8"}.get(column, "text") for column in SHAPE_COLUMNS)
_HASH = ("project", "query_hash")
_MEANS = dict.fromkeys(("avg_ms", "avg_bytes", "stability"), "mean calls")
_MERGE = {**_MEANS, "p95_ms": "max", "first_seen": "min", "last_seen": "max"}
"""As `merged` has it."""
_PANEL_ROWS = 5


def stats(cache: Cache) -> dict[str, Any]:
    return {
        **cache.counts.as_dict(),
        "evictions": cache.store.evictions,
        "entries": len(cache.store),
        "bytes": cache.store.bytes,
        "flights": len(cache.flights),
        "refreshing": len(cache.refreshes),
        "shapes": len(cache.shapes),
        "rules": len(cache.rules.current),
        **({"l2": cache.second.stats()} if cache.second is not None else {}),
    }


def shape_row(shape: Shape, rule: Rule | None) -> dict[str, Any]:
    """One shape by column name. Times in milliseconds, `stability` from 0 to 1 or None, seen as ISO 8601 in UTC."""
    return {
        "project": shape.project,
        "query_hash": shape.hash,
        "query": shape.text,
        "kind": shape.kind,
        "calls": shape.calls,
        "hits": shape.hits,
        "avg_ms": round(shape.average * 1000, 3),
        "p95_ms": round(shape.latency.quantile(0.95) * 1000, 3),
        "avg_bytes": shape.bytes // max(shape.calls, 1),
        "stability": None if shape.stability is None else round(shape.stability, 3),
        "recommendation": shape.recommendation,
        "rule": None if rule is None else in_words(rule),
        "first_seen": _time(shape.first),
        "last_seen": _time(shape.last),
    }


def listing(shapes: Shapes, rules: Rules) -> list[dict[str, Any]]:
    """The shapes, those called most first, then rules for shapes that were not seen lately."""
    current = rules.current
    rows = [shape_row(shape, rules.of(shape.project).get(shape.hash)) for shape in shapes]
    unseen = [key for key in current if not _seen(shapes, key)]
    empty = dict.fromkeys(("query", "kind", "recommendation", "first_seen", "last_seen"), "")
    zero = dict.fromkeys(("calls", "hits", "avg_ms", "p95_ms", "avg_bytes"), 0)
    return rows + [
        {**_named(key), **empty, **zero, "stability": None, "rule": in_words(current[key])} for key in unseen
    ]


def _named(key: str) -> dict[str, str]:
    """Project and fingerprint of a rule as it stands in the file; a rule for all projects has none."""
    project, _, query_hash = key.rpartition("/")
    return {"project": project, "query_hash": query_hash}


def _seen(shapes: Shapes, key: str) -> bool:
    named = _named(key)
    return shapes.get(named["query_hash"], named["project"] or None) is not None


def merged(listings: Iterable[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """One listing of those of all workers. What is an average stays one; `p95_ms` is that of the slowest worker."""
    by_shape: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for listing in listings:
        for row in listing:
            by_shape.setdefault((row["project"], row["query_hash"]), []).append(row)
    return sorted((merged_row(rows) for rows in by_shape.values()), key=lambda row: -row["calls"])


def merged_row(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """One shape, of what several workers saw of it."""
    most = max(rows, key=lambda row: row["calls"])
    seen = [row for row in rows if row["calls"]] or rows
    return most | {
        "calls": sum(row["calls"] for row in rows),
        "hits": sum(row["hits"] for row in rows),
        "avg_ms": round(_average(rows, "avg_ms") or 0.0, 3),
        "p95_ms": max(row["p95_ms"] for row in rows),
        "avg_bytes": round(_average(rows, "avg_bytes") or 0),
        "stability": None if (stability := _average(rows, "stability")) is None else round(stability, 3),
        "first_seen": min(row["first_seen"] for row in seen),
        "last_seen": max(row["last_seen"] for row in seen),
    }


def _average(rows: list[dict[str, Any]], name: str) -> float | None:
    """By calls, over those who know."""
    known = [row for row in rows if row[name] is not None and row["calls"]]
    calls = sum(row["calls"] for row in known)
    return sum(row[name] * row["calls"] for row in known) / calls if calls else None


def shapes_table(shapes: Shapes, rules: Rules) -> Table:
    rows = [shape_row(shape, rules.of(shape.project).get(shape.hash)) for shape in shapes]
    return Table(SHAPE_COLUMNS, [[row[column] for column in SHAPE_COLUMNS] for row in rows], _TYPES, _HASH, _MERGE)


def rules_table(shapes: Shapes, rules: Rules) -> Table:
    rows = []
    for key, rule in sorted(rules.current.items()):
        named = _named(key)
        project = named["project"] or None
        shape = shapes.get(named["query_hash"], project)
        text = shape.text if shape is not None else None
        rows.append([project, named["query_hash"], rule.enabled, rule.ttl, rule.swr, text])
    types, merge = ("text", "text", "bool", "int4", "int4", "text"), dict.fromkeys(("ttl", "swr"), "first")
    return Table(("project", "query_hash", "enabled", "ttl", "swr", "query"), rows, types, _HASH, merge)


def rules_of(shapes: Shapes, rules: Rules, project: str) -> list[dict[str, Any]]:
    """The rules that hold in a project, with whether they are its own."""
    rows = []
    for query_hash, rule in sorted(rules.of(project).items()):
        shape = shapes.get(query_hash, project)
        fields = {"enabled": rule.enabled, "ttl": rule.ttl, "swr": rule.swr}
        scope = "project" if f"{project}/{query_hash}" in rules.current else "all"
        text = None if shape is None else shape.text
        rows.append({"query_hash": query_hash, **fields, "scope": scope, "query": text})
    return rows


def cache_table(stats: Mapping[str, Any]) -> Table:
    """SHOW CACHE: counters by name, those in groups as group.name."""
    return Table(("name", "value"), list(_flat("", stats)), key=("name",))


def panel(counts: CacheCounts, entries: int, size: int, shapes: Shapes, rules: Rules) -> RichTable:
    """The hit ratio, and the shapes called most with their rules."""
    served = counts.hits + counts.stale_hits + counts.coalesced
    asked = served + counts.misses
    ratio = f"{served / asked:.0%} of {asked:,}" if asked else "nothing asked"
    table = RichTable(box=None, pad_edge=False, expand=True)
    table.add_column("calls", justify="right", no_wrap=True)
    table.add_column("ms", justify="right", no_wrap=True)
    table.add_column("advice", no_wrap=True)
    table.add_column(f"hits {ratio}, {entries:,} entries, {size / 1024**2:.1f} MiB", ratio=1, no_wrap=True)
    for shape in list(shapes)[:_PANEL_ROWS]:
        rule = rules.of(shape.project).get(shape.hash)
        advice = shape.recommendation if rule is None else in_words(rule)
        table.add_row(f"{shape.calls:,}", f"{shape.average * 1000:.1f}", advice, Text(shape.text))
    return table


def in_words(rule: Rule) -> str:
    """`off`, `on`, or with its seconds: `ttl=300 swr=60`."""
    if not rule.enabled:
        return "off"
    given = [f"{name}={value}" for name, value in (("ttl", rule.ttl), ("swr", rule.swr)) if value is not None]
    return " ".join(given) or "on"


def _flat(prefix: str, values: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(f"{prefix}{name}.", value)
        else:
            yield f"{prefix}{name}", value


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
