"""One look, for where there is no terminal: lines of text, nothing that moves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pgbeam_core.telemetry.samples import View
from pgbeam_core.tui.lists import rule_in_words
from pgbeam_core.tui.picture import duration, number, printable, seconds, size

LONGEST = 100
"""Characters of a query."""


def snapshot(view: View, up_s: float, shapes: Sequence[dict[str, Any]]) -> RenderableType:
    return Group(*_parts(view, up_s, shapes))


def _parts(view: View, up_s: float, shapes: Sequence[dict[str, Any]]) -> Iterator[RenderableType]:
    listen = ", ".join(f"{host}:{port}" for host, port in view.addresses)
    yield Text(f"PgBeam {listen} up {duration(up_s)}")
    if view.plugin_errors or view.loop_gaps:
        yield Text(f"plugin errors {view.plugin_errors}, loop held {view.loop_gaps} times")
    traffic = _table("project", "clients", "queries/s", "answered/s", "errors/s", "sent/s", "p50", "p95", "p99")
    for one in view.traffic:
        rates = (number(one.queries), number(one.answered), number(one.errors), size(one.sent_bytes))
        latencies = (seconds(value) if value else "-" for value in (one.p50, one.p95, one.p99))
        traffic.add_row(one.project, str(one.clients), *rates, *latencies)
    yield traffic
    names = list(dict.fromkeys(name for _, counts in view.servers for name in counts))
    servers = _table("project", *(name.removeprefix("servers_").replace("_", " ") for name in names))
    for project, counts in view.servers:
        servers.add_row(project, *(number(counts.get(name, 0)) for name in names))
    if view.servers:
        yield servers
    if shapes:
        yield _shapes(shapes)


def _shapes(shapes: Sequence[dict[str, Any]]) -> Table:
    table = _table("shape", "calls", "avg", "p95", "advice", "rule", "query")
    for shape in shapes:
        times = (seconds(shape["avg_ms"] / 1000), seconds(shape["p95_ms"] / 1000))
        words = (
            shape["recommendation"],
            rule_in_words(shape["rule"]),
            printable(" ".join(shape["query"].split()))[:LONGEST],
        )
        table.add_row(shape["query_hash"], number(shape["calls"]), *times, *words)
    return table


def _table(*titles: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for title in titles:
        table.add_column(title, no_wrap=True, overflow="ellipsis")
    return table
