"""The picture at the sizes terminals have."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pgbeam_core.telemetry.samples import Traffic, View
from pgbeam_core.tui import picture as pictures
from pgbeam_core.tui.picture import picture

COUNTS = {
    "servers": 25,
    "servers_idle": 13,
    "servers_active": 12,
    "servers_in_transaction": 0,
    "clients_waiting": 3,
    "servers_lost": 1,
    "breakers_open": 0,
}
BUSY = View(
    addresses=(("127.0.0.1", 6432),),
    up_s=3 * 3600 + 12 * 60,
    traffic=(Traffic("shop", 20, 4487.2, 1121.8, 0.3, 1_900_000, 0.00042, 0.0044, 1.34),),
    servers=(("shop", COUNTS),),
    hit_ratio=0.874,
    log=tuple(f"12:00:{n:02} info  net: line {n}" for n in range(60)),
)


def drawn(view: View, width: int, height: int) -> list[str]:
    """The lines of the picture as plain text."""
    console = Console(file=io.StringIO(), width=width, height=height, color_system=None)
    console.print(picture(view, width, height))
    out = console.file.getvalue()  # type: ignore[attr-defined]
    return [line.rstrip() for line in out.split("\n")[:-1]]


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40), (200, 60), (60, 10), (20, 5)])
@pytest.mark.parametrize("view", [BUSY, View()], ids=["busy", "empty"])
def test_fills_the_terminal_and_no_more(view, width, height):
    """Whatever size a terminal has, the picture is of that size: nothing scrolls, nothing is wrapped."""
    lines = drawn(view, width, height)
    assert len(lines) == height
    assert all(len(line) <= width for line in lines)


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40)])
def test_everything_that_matters_can_be_read(width, height):
    """At 80x24 as at 120x40 one reads clients, servers by state, rates, latencies, the hit ratio and the way out."""
    text = "\n".join(drawn(BUSY, width, height))
    for words in ("127.0.0.1:6432", "up 3 h 12 min", "q quits", "cache hits 87%"):
        assert words in text
    for title in ("clients", "queries/s", "answered", "errors/s", "sent/s", "p50", "p95", "p99"):
        assert title in text
    for value in ("4,487", "25%", "1.9 MB", "0.42 ms", "4.4 ms", "1.3 s"):
        assert value in text
    for state in ("idle", "active", "in transaction", "clients waiting", "lost", "breakers open"):
        assert state in text


def test_long_lines_of_the_log_are_cut():
    """Each line of the log has one line on the screen, however long it is."""
    lines = [line.strip("│ ") for line in drawn(View(log=("old", "x" * 200, "the newest")), 80, 24)]
    start = lines.index("old")
    assert lines[start + 1].endswith("x…")
    assert lines[start + 2] == "the newest"


def test_long_logs_show_their_end():
    """Of a log longer than the screen the last line is at the bottom and the first are gone."""
    lines = drawn(BUSY, 80, 24)
    text = "\n".join(lines)
    assert "line 59" in lines[-2]
    assert "line 0 " not in text


def test_markup_in_a_log_line_is_text():
    """A user called [bold] is shown by that name."""
    assert any("user [bold]x[/bold]" in line for line in drawn(View(log=("user [bold]x[/bold]",)), 80, 24))


def test_many_projects_leave_room_for_the_rest():
    """With more projects than lines the busiest are shown, and how many are not."""
    traffic = tuple(Traffic(f"project{n:02}", n, 100.0 - n) for n in range(30))
    text = "\n".join(drawn(View(traffic=traffic, log=("still here",)), 80, 24))
    assert "project00" in text
    assert "project29" not in text
    assert "more" in text
    assert "still here" in text


def test_plugins_show_their_panels():
    """What plugins give rich to print stands under their names, side by side where there is room."""
    table = Table("shape", "hits")
    table.add_row("SELECT $1", "12")
    view = View(panels=(("cache", table), ("replica", Text("r1 healthy")), ("third", "plain [words]")))
    text = "\n".join(drawn(view, 120, 40))
    for words in ("cache", "SELECT $1", "replica", "r1 healthy", "third", "plain [words]"):
        assert words in text


class Broken:
    """A renderable with a mistake in it."""

    def __rich_console__(self, console, options):
        """Fail."""
        raise ValueError("no such column")


def test_a_broken_panel_costs_only_itself():
    """A plugin whose panel cannot be printed is named in its own place."""
    text = "\n".join(drawn(View(panels=(("bad", Broken()), ("good", Text("fine")))), 120, 40))
    assert "bad has nothing to show: no such column" in text
    assert "fine" in text


def test_text_from_clients_cannot_command_the_terminal():
    """An escape sequence in a query that a panel shows is made visible instead of obeyed."""
    view = View(panels=(("cache", Text("SELECT '\x1b]0;owned\x07'")),))
    assert "\x1b" not in "\n".join(drawn(view, 120, 40))


def test_a_small_terminal_goes_without_panels():
    """Where panels have no room, the numbers and the log stay."""
    text = "\n".join(drawn(View(traffic=BUSY.traffic, panels=(("p", "never"),), log=("logged",)), 80, 15))
    assert "never" not in text
    assert "logged" in text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.3, "0.3"), (7, "7"), (42.4, "42"), (1234, "1,234"), (56_700, "56.7k"), (1_200_000, "1.2M")],
)
def test_numbers_are_short(value, text):
    """A rate takes at most six characters."""
    assert pictures.number(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0 B"), (512, "512 B"), (1500, "1.5 kB"), (23e6, "23 MB"), (5e9, "5.0 GB")]
)
def test_sizes_are_short(value, text):
    """Bytes come with the unit that keeps them short."""
    assert pictures.size(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.00024, "0.24 ms"), (0.0031, "3.1 ms"), (0.027, "27 ms"), (1.3, "1.3 s")]
)
def test_latencies_are_short(value, text):
    """Latencies come in milliseconds up to a second."""
    assert pictures.seconds(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(5, "5 s"), (725, "12 min 5 s"), (3 * 3600 + 725, "3 h 12 min"), (183_600, "2 d 3 h")]
)
def test_durations_have_two_units(value, text):
    """How long PgBeam is up is told in the two units that matter."""
    assert pictures.duration(value) == text


def test_pins_are_shown_with_their_reasons():
    """An operator sees why clients keep their servers."""
    text = "\n".join(drawn(View(servers=(("shop", {"servers": 3}),), pins={"temp_table": 2, "listen": 1}), 80, 24))
    assert "pinned by listen 1, temp_table 2" in text
