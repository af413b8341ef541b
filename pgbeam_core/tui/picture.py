"""Draws a view. Pure: the same view at the same size gives the same picture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.layout import Layout
from rich.panel import Panel
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from pgbeam_core.telemetry.samples import WINDOW_S, Traffic, View

FRAME = 3
"""Lines that a table takes besides its rows: two of border, one of titles."""
LEAST_LOG = 4
MOST_PROJECTS = 6
PANEL_WIDTH, PANEL_HEIGHT = 38, 7
STEADY = 7
"""Columns this wide do not jump when their values change."""

_LEVELS = {" warn ": "yellow", " error ": "red", " critical ": "red"}


def picture(view: View, width: int, height: int) -> Layout:
    shown = max(1, min(MOST_PROJECTS, len(view.traffic), (height - LEAST_LOG - 1) // 2 - FRAME))
    traffic_lines = FRAME + min(shown, max(1, len(view.traffic)))
    server_lines = FRAME + min(shown, max(1, len(view.servers)))
    left = height - 1 - traffic_lines - server_lines - LEAST_LOG
    panel_lines = min(PANEL_HEIGHT * _rows_of_panels(view, width), max(0, left)) if view.panels else 0
    panel_lines = panel_lines if panel_lines >= FRAME else 0
    parts = [
        Layout(headline(view), size=1),
        Layout(traffic_table(view, shown), size=traffic_lines),
        Layout(servers_table(view, shown), size=server_lines),
    ]
    if panel_lines:
        parts.append(Layout(panels(view, width, panel_lines), size=panel_lines))
    log_lines = max(1, height - 1 - traffic_lines - server_lines - panel_lines)
    parts.append(Layout(log_panel(view, log_lines), size=log_lines))
    screen = Layout()
    screen.split_column(*parts)
    return screen


def headline(view: View) -> Table:
    """One line: where PgBeam listens, for how long, and the way out."""
    listen = ", ".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in view.addresses)
    left = Text.assemble(("PgBeam", "bold"), f"  {listen}  up {duration(view.up_s)}")
    right = Text("? help  q quits", style="dim")
    if view.loop_gaps:
        right = Text.assemble((f"loop held {view.loop_gaps}×  ", "yellow"), right)
    if view.plugin_errors:
        right = Text.assemble((f"{view.plugin_errors} plugin errors  ", "bold red"), right)
    line = Table.grid(expand=True)
    line.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    line.add_column(no_wrap=True, justify="right")
    line.add_row(left, right)
    return line


def traffic_table(view: View, most: int) -> Panel:
    """Clients, queries, errors and latencies, a project a line."""
    table = _table()
    for title in ("clients", "queries/s", "answered", "errors/s", "sent/s", "p50", "p95", "p99"):
        table.add_column(title, justify="right", no_wrap=True, min_width=STEADY)
    for one in view.traffic[:most]:
        table.add_row(*_traffic_row(one))
    hits = "" if view.hit_ratio is None else f" · cache hits {view.hit_ratio:.0%}"
    return _framed(table, f"Traffic, last {WINDOW_S:.0f} s{hits}", len(view.traffic) - most)


def _traffic_row(one: Traffic) -> Iterable[RenderableType]:
    yield Text(one.project)
    yield str(one.clients)
    yield number(one.queries)
    yield f"{one.answered / one.queries:.0%}" if one.queries else "-"
    yield Text(number(one.errors), style="red" if one.errors else "")
    yield size(one.sent_bytes)
    for latency in (one.p50, one.p95, one.p99):
        yield seconds(latency) if latency else "-"


def servers_table(view: View, most: int) -> Panel:
    """Servers by state, and whatever else is counted beside them, a project a line."""
    table = _table()
    names = list(dict.fromkeys(name for _, counts in view.servers for name in counts))
    for name in names:
        title = name.removeprefix("servers_").replace("_", " ")
        table.add_column(title, justify="right", no_wrap=True)
    for project, counts in view.servers[:most]:
        table.add_row(Text(project), *(number(counts.get(name, 0)) for name in names))
    if not view.servers:
        table.add_row(Text("none yet", style="dim"))
    pins = ", ".join(f"{reason} {count}" for reason, count in sorted(view.pins.items()))
    return _framed(table, f"Servers · pinned by {pins}" if pins else "Servers", len(view.servers) - most)


def _table() -> Table:
    table = Table(box=None, expand=True, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("project", no_wrap=True, overflow="ellipsis", min_width=8, ratio=1)
    return table


def _framed(table: Table, title: str, left_out: int) -> Panel:
    more = f"{left_out} more" if left_out > 0 else None
    return Panel(table, title=title, title_align="left", subtitle=more, padding=0, border_style="dim")


def panels(view: View, width: int, height: int) -> Layout:
    """What plugins have to show, side by side; those without a place are left out."""
    columns = _columns_of_panels(width)
    rows = max(1, min(_rows_of_panels(view, width), height // FRAME))
    shown = list(view.panels[: rows * columns])
    lines = []
    for start in range(0, len(shown), columns):
        line = Layout()
        line.split_row(*(Layout(_panel(name, given)) for name, given in shown[start : start + columns]))
        lines.append(line)
    whole = Layout()
    whole.split_column(*lines)
    return whole


def _panel(name: str, given: object) -> Panel:
    return Panel(Guarded(name, given), title=Text(name), title_align="left", padding=0, border_style="dim")


def _columns_of_panels(width: int) -> int:
    return max(1, width // PANEL_WIDTH)


def _rows_of_panels(view: View, width: int) -> int:
    return -(-len(view.panels) // _columns_of_panels(width))


class Guarded:
    """A plugin's renderable that costs only itself when it raises, and whose text cannot command the terminal."""

    def __init__(self, plugin: str, given: object) -> None:
        self._plugin = plugin
        self._given = given

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Its segments, with control characters made visible."""
        try:
            given = Text(self._given) if isinstance(self._given, str) else self._given
            lines = console.render_lines(given, options, pad=False)  # type: ignore[arg-type]
        except Exception as error:
            yield Text(f"{self._plugin} has nothing to show: {printable(str(error))}", style="red")
            return
        for line in lines:
            for segment in line:
                if not segment.control:
                    yield Segment(printable(segment.text), segment.style)
            yield Segment.line()


def log_panel(view: View, height: int) -> Panel | Text:
    """The last lines of the log, newest at the bottom."""
    if height < FRAME:
        # Layout takes an empty text for no renderable at all.
        return Text("\n".join(view.log[-height:]) or " ", no_wrap=True, overflow="ellipsis")
    lines = Text("\n", no_wrap=True, overflow="ellipsis").join(
        [_log_line(line) for line in _last(view.log, height - 2)]
    )
    return Panel(lines, title="Log", title_align="left", padding=0, border_style="dim", height=height)


def _last(lines: Sequence[str], count: int) -> Sequence[str]:
    return lines[max(0, len(lines) - count) :]


def _log_line(line: str) -> Text:
    style = next((style for level, style in _LEVELS.items() if level in line[:20]), "")
    return Text(line, style=style, no_wrap=True, overflow="ellipsis")


def printable(text: str) -> str:
    """The text with everything that a terminal would obey instead of show replaced."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def number(value: float) -> str:
    """A count or a rate in at most six characters: 0, 0.3, 42, 1,234, 56.7k, 1.2M."""
    if value < 10 and value != int(value):
        return f"{value:.1f}"
    if value < 10_000:
        return f"{value:,.0f}"
    return f"{value / 1e3:.1f}k" if value < 999_950 else f"{value / 1e6:.1f}M"


def size(value: float) -> str:
    """Bytes in at most seven characters: 512 B, 1.5 kB, 23 MB."""
    for unit in ("B", "kB", "MB"):
        if value < 999.5:
            return f"{value:.1f} {unit}" if unit != "B" and value < 9.95 else f"{value:.0f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"


def seconds(value: float) -> str:
    """A latency in at most seven characters: 0.24 ms, 3.1 ms, 27 ms, 1.3 s."""
    if value < 0.001:
        return f"{value * 1000:.2f} ms"
    if value < 0.00995:
        return f"{value * 1000:.1f} ms"
    return f"{value * 1000:.0f} ms" if value < 0.9995 else f"{value:.1f} s"


def duration(value: float) -> str:
    """A time since: 5 s, 12 min 5 s, 3 h 12 min, 2 d 3 h."""
    whole = int(value)
    for unit, part, smaller, smaller_part in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if whole >= part:
            return f"{whole // part} {unit} {whole % part // smaller_part} {smaller}"
    return f"{whole} s"
