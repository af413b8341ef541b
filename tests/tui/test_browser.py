"""Views, sorting, filters and rules by keys, and what is drawn of them at any size."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console
from twisted.internet.defer import Deferred, fail, succeed

from pgbeam_core.errors import PgBeamError
from pgbeam_core.telemetry.samples import View
from pgbeam_core.tui.browser import SORTS, VIEWS, Browser
from pgbeam_core.tui.lists import screen


def shape(query: str, **more: Any) -> dict[str, Any]:
    """One row, as the cache gives it."""
    known = {
        "project": "shop",
        "query_hash": "0123456789abcdef",
        "query": query,
        "reason": None,
        "calls": 1234,
        "hits": 617,
        "avg_ms": 1.5,
        "p95_ms": 3.0,
        "stability": 1.0,
        "recommendation": "good",
        "rule": None,
        "what_if": {"hit_ratio": 0.9, "saved_s": 3.2, "oldest_s": 9},
    }
    return {**known, **more}


class Asked:
    """Answers what a browser asks, and remembers it."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.shapes = [shape("SELECT * FROM products"), shape("SELECT * FROM users", query_hash="f" * 16)]
        self.error: PgBeamError | None = None

    def __call__(self, what: str, **arguments: Any) -> Deferred[Any]:
        self.calls.append((what, arguments))
        if self.error is not None:
            return fail(self.error)
        if what == "cache.shapes":
            return succeed({"shapes": self.shapes, "total": len(self.shapes)})
        if what == "tables":
            (name,) = arguments["names"]
            rows = [[f"row {number}", None, 1.5] for number in range(40)]
            return succeed({name: {"columns": ["name", "user", "seconds"], "rows": rows}} if name == "POOLS" else {})
        return succeed(None)

    def of(self, what: str) -> list[dict[str, Any]]:
        return [arguments for each, arguments in self.calls if each == what]


@pytest.fixture
def asked() -> Asked:
    return Asked()


@pytest.fixture
def browser(asked: Asked) -> Browser:
    return Browser(asked, lambda: None)


def drawn(browser: Browser, width: int = 80, height: int = 24, view: View | None = None) -> str:
    """The screen as text."""
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=True, color_system=None)
    lines = console.render_lines(screen(browser, view or View(), width, height), pad=False)
    return "\n".join("".join(segment.text for segment in line) for line in lines)


def type_in(browser: Browser, *keys: str) -> None:
    for key in keys:
        browser.press(key)


def test_digits_and_tab_choose_views(browser: Browser) -> None:
    """Each view has a number, and the next one is a Tab away; the one that is shown is marked by more than colour."""
    for number, name in enumerate(VIEWS, 1):
        type_in(browser, str(number))
        assert browser.view == name
        assert f"[{number} {name}]" in drawn(browser, 120)
    type_in(browser, "tab")
    assert browser.view == VIEWS[0]
    type_in(browser, "left")
    assert browser.view == VIEWS[-1]


def test_shapes_are_sorted_and_filtered(browser: Browser, asked: Asked) -> None:
    """`s` asks for another order, `/` for a text, Escape for all again."""
    type_in(browser, "2", "s", "/", *"prod", "x", "backspace", "enter")
    assert asked.of("cache.shapes")[-1]["search"] == "prod"
    assert asked.of("cache.shapes")[-1]["sort"] == SORTS[1]
    type_in(browser, "/", *"other", "escape")
    assert browser.filter == "prod"
    type_in(browser, "escape")
    assert asked.of("cache.shapes")[-1]["search"] == ""


def test_a_rule_is_made_only_after_a_yes(browser: Browser, asked: Asked) -> None:
    """The question names what would be done; anything but y leaves all as it was."""
    type_in(browser, "2", "down", "c")
    assert "Cache this shape for 60 + 30 s" in drawn(browser, 120)
    type_in(browser, "n")
    assert asked.of("cache-rules.set") == []
    assert "nothing was changed" in drawn(browser)
    type_in(browser, "c", "y")
    (made,) = asked.of("cache-rules.set")
    assert made == {"project": "shop", "query_hash": "f" * 16, "enabled": True, "ttl": 60, "swr": 30}
    assert "done" in drawn(browser)


def test_a_rule_is_switched_off_and_removed(browser: Browser, asked: Asked) -> None:
    """`c` on a cached shape sees that it is never cached, with its seconds kept; `x` takes the rule away."""
    asked.shapes = [shape("SELECT 1", rule={"enabled": True, "ttl": 5, "swr": None})]
    type_in(browser, "2", "c", "y")
    assert asked.of("cache-rules.set")[-1]["enabled"] is False
    assert asked.of("cache-rules.set")[-1]["ttl"] == 5
    type_in(browser, "x", "y")
    assert asked.of("cache-rules.unset") == [{"project": "shop", "query_hash": "0123456789abcdef"}]


def test_what_cannot_be_cached_is_said(browser: Browser, asked: Asked) -> None:
    """No question is asked that could only be answered with an error."""
    asked.shapes = [shape("UPDATE t SET a = $1", reason="write")]
    type_in(browser, "2", "c")
    assert browser.confirmation is None
    assert "cannot be cached: write" in drawn(browser)
    type_in(browser, "x")
    assert "there is no rule" in drawn(browser)


def test_what_goes_wrong_is_said(browser: Browser, asked: Asked) -> None:
    """A dashboard that only shows refuses, with the hint how to allow more; the screen goes on."""
    type_in(browser, "2", "c")
    asked.error = PgBeamError("this dashboard only shows", sqlstate="42501", hint="Set dashboard_write = true.")
    type_in(browser, "y")
    assert "this dashboard only shows. Set dashboard_write = true." in drawn(browser, 100)
    asked.error = None
    browser.look()
    assert browser.shapes


def test_tables_scroll(browser: Browser) -> None:
    """More rows than lines are reached by arrows and pages, and no further than the last one."""
    type_in(browser, "3")
    assert "row 0" in drawn(browser)
    assert "row 39" not in drawn(browser)
    type_in(browser, "end")
    assert "row 39" in drawn(browser)
    type_in(browser, "home", "page down")
    assert "POOLS" not in drawn(browser)


def test_a_client_is_ended_and_a_database_paused_after_a_yes(asked: Asked) -> None:
    """The row that is chosen says which; `P` and `R` mean all. The question names it."""
    client = {"columns": ["id", "user", "database"], "rows": [[7, "app", "shop"], [9, "web", 'od"d']]}
    told: list[str] = []

    def ask(what: str, **arguments: Any) -> Deferred[Any]:
        if what == "console":
            told.append(arguments["command"])
            return succeed({"tag": "PAUSE", "pending": len(told) > 1})
        return succeed({"CLIENTS": client} if arguments["names"] == ["CLIENTS"] else {})

    browser = Browser(ask, lambda: None)
    type_in(browser, "4", "down", "e")
    assert "End client 9, web in" in drawn(browser)
    type_in(browser, "n")
    assert told == []
    type_in(browser, "e", "y", "p", "y")
    assert "it waits for servers" in drawn(browser)
    type_in(browser, "r", "y", "P", "y", "R", "y")
    assert told == ["KILL_CLIENT 9", 'PAUSE "od""d"', 'RESUME "od""d"', "PAUSE", "RESUME"]
    type_in(browser, "6", "e")
    assert "no client" in drawn(browser)


def test_what_is_not_there_is_said(browser: Browser) -> None:
    """A view whose tables nobody has is no empty screen."""
    type_in(browser, "4")
    assert "there is no such table here" in drawn(browser)


def test_an_answer_that_comes_late_belongs_to_no_other_view() -> None:
    """Who has gone on is not shown what he has left."""
    late: list[Deferred[Any]] = []

    def ask(what: str, **arguments: Any) -> Deferred[Any]:
        late.append(Deferred())
        return late[-1]

    browser = Browser(ask, lambda: None)
    type_in(browser, "2", "1")
    late[0].callback({"shapes": [shape("SELECT 1")], "total": 1})
    assert browser.shapes == []
    assert browser.view == "overview"


def test_help_shows_the_keys(browser: Browser) -> None:
    """And any key closes it."""
    type_in(browser, "?")
    assert "remove its rule" in drawn(browser)
    assert browser.press("q")
    assert not browser.help


def test_quitting_is_not_the_browsers(browser: Browser) -> None:
    """q means nothing here, so that it ends the show; typed into a filter it is a letter."""
    assert not browser.press("q")
    type_in(browser, "2", "/")
    assert browser.press("q")
    assert browser.typing == "q"


@pytest.mark.parametrize("size", [(80, 24), (40, 10), (20, 5), (200, 60)])
@pytest.mark.parametrize("view", range(1, len(VIEWS) + 1))
def test_any_size_will_do(browser: Browser, size: tuple[int, int], view: int) -> None:
    """Nothing is wider or higher than the terminal, however small that is."""
    type_in(browser, str(view))
    for _ in range(2):
        lines = drawn(browser, *size).splitlines()
        assert len(lines) <= size[1]
        assert all(len(line) <= size[0] for line in lines)
        type_in(browser, "?")


def test_texts_cannot_command_the_terminal(browser: Browser, asked: Asked) -> None:
    """A query with escape sequences in it is shown, not obeyed."""
    asked.shapes = [shape("SELECT '\x1b[2J\x07'")]
    type_in(browser, "2")
    assert "\x1b" not in drawn(browser)
    assert "\x07" not in drawn(browser)
