"""Draws shapes, tables and help. Pure: the same state at the same size gives the same picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.cells import cell_len, set_cell_size
from rich.console import RenderableType
from rich.layout import Layout
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from pgbeam_core.telemetry.samples import View
from pgbeam_core.tui.browser import SORTS, TABLES, VIEWS, Browser
from pgbeam_core.tui.picture import headline, log_panel, number, panels, picture, printable, seconds

HELP = (
    ("1 … 9, Tab, ← →", "views: " + ", ".join(VIEWS)),
    ("↑ ↓, j k, PgUp PgDn", "move"),
    ("s", "shapes: sort by another column"),
    ("/", "shapes: filter by text, Enter to apply; Escape shows all"),
    ("c", "shapes: cache, or never cache, what is chosen; asks first"),
    ("x", "shapes: remove its rule; asks first"),
    ("e", "pools, clients: end the client that is chosen; asks first"),
    ("p r, P R", "pools, clients: pause or resume its database; all of them; asks first"),
    ("?", "this help; any key closes it"),
    ("q, Ctrl-C", "leave"),
)
_SORTED = {
    "total_ms": "time",
    "saved_s": "what a rule saves",
    "avg_ms": "average",
    "p95_ms": "95 %",
    "last_seen": "seen",
}
TITLES = ("calls", "avg", "95 %", "same", "advice", "hits", "what if", "rule", "query")
RULE, QUERY = 7, 8
"""Places of columns that are texts."""
LESS_TELLING = (3, 2, 4, 6, 5)
"""Columns that a narrow terminal does without, in this order."""
LEAST_QUERY = 30
LONGEST = 300
"""Characters of a query in a row."""
HEAD = 2
"""Lines of a table before its rows."""
DETAIL = 3
"""Lines of the query that is chosen."""
_CUT = 24
"""Characters of a column, before the last one."""


def screen(browser: Browser, view: View, width: int, height: int) -> RenderableType:
    """All of it: a headline, what the view shows, and a line of keys or of what has to be answered."""
    body_lines = max(3, height - 3)
    if browser.view == "overview" and not browser.help:
        body: RenderableType = picture(view, width, height - 2)
        whole = Layout()
        whole.split_column(Layout(tabs(browser), size=1), Layout(body), Layout(foot(browser), size=1))
        return whole
    if browser.help:
        body = _help()
    elif browser.view == "shapes":
        body = shapes(browser, width, body_lines)
    elif browser.view == "panels":
        body = panels(view, width, body_lines) if view.panels else Text("no plugin has a panel", style="dim")
    elif browser.view == "log":
        body = log_panel(view, body_lines)
    else:
        body = tables(browser, body_lines)
    whole = Layout()
    parts = (Layout(tabs(browser), size=1), Layout(headline(view), size=1), Layout(body), Layout(foot(browser), size=1))
    whole.split_column(*parts)
    return whole


def tabs(browser: Browser) -> Text:
    """The views, the one that is shown marked by more than a colour."""
    shown = VIEWS.index(browser.view)
    parts: list[tuple[str, str]] = []
    for place, name in enumerate(VIEWS):
        if place != shown + 1:
            parts.append(("[" if place == shown else " ", ""))
        parts.append((f"{place + 1} {name}", "bold reverse" if place == shown else "dim"))
        if place == shown:
            parts.append(("]", ""))
    return Text.assemble(*parts, no_wrap=True, overflow="ellipsis")


def foot(browser: Browser) -> Text:
    if browser.confirmation is not None:
        return _line(f"{printable(browser.confirmation.words)}  y/n", "bold reverse")
    if browser.typing is not None:
        return _line(f"filter: {printable(browser.typing)}_", "bold")
    if browser.said:
        return _line(printable(browser.said), "bold")
    keys = "? help  q quit"
    if browser.view == "shapes":
        keys = "c cache  x remove rule  s sort  / filter  " + keys
    elif browser.view in TABLES:
        keys = "e end client  p pause database  r resume it  P R all  " + keys
    return _line(keys, "dim")


def _line(words: str, style: str) -> Text:
    return Text(words, style=style, no_wrap=True, overflow="ellipsis")


def _help() -> Panel:
    table = Table.grid(padding=(0, 2))
    for keys, meaning in HELP:
        table.add_row(Text(keys, style="bold"), meaning)
    return Panel(table, title="Keys", title_align="left", border_style="dim")


def shapes(browser: Browser, width: int, height: int) -> Panel:
    """A window of rows around the one that is chosen, and that one's query below."""
    room = max(1, height - 3 - (DETAIL if height > 3 * DETAIL else 0))
    first = min(max(0, browser.place - room // 2), max(0, len(browser.shapes) - room))
    rows = [_cells(shape) for shape in browser.shapes[first : first + room]]
    shown = _fitting(rows, width - 2)
    lines = [_row(TITLES, shown, width, "dim")]
    for place, row in enumerate(rows, first):
        lines.append(_row(row, shown, width, "reverse" if place == browser.place else ""))
    if browser.chosen is not None and height > 3 * DETAIL:
        lines += [Text("") for _ in range(room - len(rows))]
        words = printable(" ".join(browser.chosen["query"].split()))
        lines += [Text(words[start : start + width - 2]) for start in range(0, len(words), width - 2)][:DETAIL]
    sort = SORTS[browser.sort]
    title = f"Shapes by {_SORTED.get(sort, sort)}" + (f", with {printable(browser.filter)}" if browser.filter else "")
    count = f"{browser.place + 1} of {browser.total}" if browser.shapes else "none"
    body = Text("\n", no_wrap=True, overflow="ellipsis").join(lines)
    return Panel(body, title=Text(title), title_align="left", subtitle=count, padding=0, border_style="dim")


def _fitting(rows: Sequence[Sequence[str]], width: int) -> list[tuple[int, int]]:
    """(column, its width) of those that leave room for the query; the less telling ones go first."""
    widths = [max([cell_len(TITLES[place]), *(cell_len(row[place]) for row in rows)]) for place in range(QUERY)]
    shown = [*range(QUERY)]
    for place in LESS_TELLING:
        if sum(widths[each] + 1 for each in shown) + LEAST_QUERY > width:
            shown.remove(place)
    return [(place, widths[place]) for place in shown]


def _row(cells: Sequence[str], shown: Sequence[tuple[int, int]], width: int, style: str) -> Text:
    parts = [
        set_cell_size(cells[place], room) if place == RULE else " " * (room - cell_len(cells[place])) + cells[place]
        for place, room in shown
    ]
    left = max(1, width - 2 - sum(room + 1 for _, room in shown))
    return Text(" ".join([*parts, set_cell_size(cells[QUERY], left)]), style=style)


def _cells(shape: dict[str, Any]) -> Sequence[str]:
    told = shape["what_if"]
    ratio = shape["hits"] / shape["calls"] if shape["calls"] else None
    return (
        number(shape["calls"]),
        seconds(shape["avg_ms"] / 1000),
        seconds(shape["p95_ms"] / 1000),
        _percent(shape["stability"]),
        shape["recommendation"],
        _percent(ratio),
        _percent(told["hit_ratio"]) if told else "-",
        rule_in_words(shape["rule"]),
        printable(" ".join(shape["query"].split()))[:LONGEST],
    )


def rule_in_words(rule: dict[str, Any] | None) -> str:
    """`never`, `60+30 s`, `on` with the project's seconds; a dash without a rule."""
    if rule is None:
        return "-"
    if not rule["enabled"]:
        return "never"
    ttl, swr = rule["ttl"], rule["swr"]
    return "on" if ttl is None and swr is None else f"{'' if ttl is None else ttl}+{'' if swr is None else swr} s"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"


def tables(browser: Browser, height: int) -> RenderableType:
    """Tables one below the other: a window of lines around the row that is chosen."""
    lines: list[Text] = []
    chosen = -1
    before = 0
    for name, table in browser.tables:
        count = len(table["rows"])
        marked = browser.place - before if before <= browser.place < before + count else -1
        if marked >= 0:
            chosen = len(lines) + HEAD + marked
        lines += _as_lines(name, table, marked)
        before += count
    if not lines:
        return Text("…" if not browser.said else "", style="dim")
    start = max(0, min(chosen - height // 2, len(lines) - height))
    return Text("\n", no_wrap=True, overflow="ellipsis").join(lines[start : start + height])


def _as_lines(name: str, table: dict[str, Any], marked: int) -> list[Text]:
    columns = [str(column) for column in table["columns"]]
    rows = [[_shown(value) for value in row] for row in table["rows"]]
    widths = [min(_CUT, max([len(column), *(len(row[place]) for row in rows)])) for place, column in enumerate(columns)]
    lines = [Text(f"{name}: {len(rows)}", style="bold")]
    if rows:
        lines.append(_joined(columns, widths, "dim"))
    lines += [_joined(row, widths, "reverse" if place == marked else "") for place, row in enumerate(rows)]
    return [*lines, Text("")]


def _joined(cells: Sequence[str], widths: Sequence[int], style: str) -> Text:
    text = "  ".join(cell[:room].ljust(room) for cell, room in zip(cells, widths, strict=True))
    return Text(text.rstrip(), style=style, no_wrap=True, overflow="ellipsis")


def _shown(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) and value != int(value) else printable(str(value))
