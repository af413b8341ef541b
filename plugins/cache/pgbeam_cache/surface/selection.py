"""Shapes as the dashboard and the TUI ask for them: some, in an order, with what a rule would have given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from twisted.internet.defer import inlineCallbacks
from twisted.internet.task import deferLater

from pgbeam_cache.policy.forecast import Forecast, forecast, merged
from pgbeam_cache.policy.rule_files import Rule
from pgbeam_cache.policy.shapes import Shape
from pgbeam_cache.serving.cache import Cache
from pgbeam_cache.surface.views import merged_row, shape_row
from pgbeam_core import PgBeamError

SORTS = ("calls", "total_ms", "avg_ms", "p95_ms", "hits", "stability", "saved_s", "last_seen", "query")
MOST = 500
SPARE = 200
"""Rows that each worker gives besides those asked for: what is first among all may not be among its own."""
AT_ONCE = 8
"""Shapes whose traffic is played through before others have their turn: one or two milliseconds."""
Row = dict[str, Any]


class Wanted(NamedTuple):
    """Which shapes, in which order, and the rule to foretell."""

    project: str | None
    search: str
    sort: str
    limit: int
    offset: int
    ttl: int
    swr: int


def wanted(request: Mapping[str, Any]) -> Wanted:
    """What a request asks for. Raises PgBeamError with 22023 for what is wrong in it."""
    sort, numbers = request.get("sort") or "calls", {}
    if sort not in SORTS:
        raise PgBeamError(f"sort is one of {', '.join(SORTS)}", sqlstate="22023")
    for name, default, most in (("limit", 50, MOST), ("offset", 0, 10_000), ("ttl", 60, 2**31), ("swr", 30, 2**31)):
        value = request.get(name, default)
        if type(value) is not int or not 0 <= value <= most:
            raise PgBeamError(f"{name} is a whole number from 0 to {most}", sqlstate="22023")
        numbers[name] = value
    project, search = request.get("project"), str(request.get("search") or "").lower()
    return Wanted(None if project is None else str(project), search, sort, **numbers)


@inlineCallbacks
def selected(cache: Cache, request: Mapping[str, Any]) -> Any:
    """A Deferred of the rows of this process, and how many match in all."""
    what = wanted(request)
    found = [shape for shape in cache.shapes if _matches(shape.project, shape.text, shape.hash, what)]
    rows = [_row(cache, shape) for shape in found]
    rows += _unseen(cache, what)
    if what.sort == "saved_s":
        yield _foretell(cache, found, rows, what)
    rows.sort(key=_order(what.sort))
    total, rows = len(rows), rows[: what.offset + what.limit + SPARE]
    if what.sort != "saved_s":
        by_key = {(shape.project, shape.hash): shape for shape in found}
        yield _foretell(cache, [by_key.get((row["project"], row["query_hash"])) for row in rows], rows, what)
    return {"rows": rows, "total": total, "wanted": list(what)}


def page(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What was asked for, of all workers."""
    what = Wanted(*parts[0]["wanted"])
    by_key: dict[tuple[str, str], list[Row]] = {}
    for part in parts:
        for row in part["rows"]:
            by_key.setdefault((row["project"], row["query_hash"]), []).append(row)
    rows = [_together(each) for each in by_key.values()]
    rows.sort(key=_order(what.sort))
    total = max(len(rows), *(part["total"] for part in parts))
    return {"shapes": rows[what.offset : what.offset + what.limit], "total": total}


def _matches(project: str, text: str, query_hash: str, what: Wanted) -> bool:
    if what.project is not None and project != what.project:
        return False
    return not what.search or what.search in text.lower() or what.search in query_hash


def _row(cache: Cache, shape: Shape) -> Row:
    row = shape_row(shape, None)
    rule = cache.rules.of(shape.project).get(shape.hash)
    return row | {
        "reason": shape.reason,
        "total_ms": round(shape.latency.total * 1000, 3),
        "rule": None if rule is None else as_fields(rule),
        "what_if": None,
    }


def as_fields(rule: Rule) -> dict[str, Any]:
    return {"enabled": rule.enabled, "ttl": rule.ttl, "swr": rule.swr}


def _unseen(cache: Cache, what: Wanted) -> list[Row]:
    """Rules of a project for shapes that were not seen lately: they hold, so they are shown."""
    rows: list[Row] = []
    words = dict.fromkeys(("query", "kind", "recommendation", "first_seen", "last_seen"), "")
    zeros = dict.fromkeys(("calls", "hits", "avg_ms", "p95_ms", "total_ms", "avg_bytes"), 0)
    for project in cache.beam.settings.projects:
        for query_hash, rule in cache.rules.of(project).items():
            if cache.shapes.get(query_hash, project) is None and _matches(project, "", query_hash, what):
                none = {"reason": None, "stability": None, "what_if": None}
                name = {"project": project, "query_hash": query_hash}
                rows.append({**name, **words, **zeros, **none, "rule": as_fields(rule)})
    return rows


@inlineCallbacks
def _foretell(cache: Cache, shapes: Sequence[Shape | None], rows: Sequence[Row], what: Wanted) -> Any:
    now = int(cache.beam.now())
    for number, (shape, row) in enumerate(zip(shapes, rows, strict=False), 1):
        if shape is not None and shape.traffic is not None:
            row["what_if"] = _in_numbers(forecast(shape.traffic, now, what.ttl, what.swr), row["avg_ms"])
        if number % AT_ONCE == 0:
            yield deferLater(cache.beam.reactor, 0)


def _in_numbers(found: Forecast, average_ms: float) -> dict[str, Any]:
    ratio = found.ratio
    return {
        "window_s": found.seconds,
        "calls": found.calls,
        "hits": found.hits,
        "asked": found.asked,
        "hit_ratio": None if ratio is None else round(ratio, 4),
        "saved_s": round((found.calls - found.asked) * average_ms / 1000, 3),
        "oldest_s": found.oldest,
    }


def _together(rows: list[Row]) -> Row:
    if len(rows) == 1:
        return rows[0]
    row = merged_row(rows)
    row["total_ms"] = round(sum(each["total_ms"] for each in rows), 3)
    told = [each["what_if"] for each in rows if each["what_if"] is not None]
    if told:
        parts = [Forecast(*(each[name] for name in _RAW)) for each in told]
        row["what_if"] = _in_numbers(merged(parts), row["avg_ms"])
    return row


_RAW = ("window_s", "calls", "hits", "asked", "oldest_s")


def _order(sort: str) -> Any:
    """What comes first; of equals, the order is always the same."""

    def key(row: Row) -> tuple[Any, ...]:
        last = (row["project"], row["query_hash"])
        if sort == "query":
            return (not row["query"], row["query"], *last)
        if sort == "last_seen":
            return (tuple(-ord(letter) for letter in row["last_seen"]), *last) if row["last_seen"] else ((1,), *last)
        if sort == "saved_s":
            told = row["what_if"]
            return (-(told["saved_s"] if told else -1.0), *last)
        value = row[sort]
        return (-(value if value is not None else -1.0), *last)

    return key
