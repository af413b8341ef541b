"""`pgbeam top` as a person uses it: keys typed into a real terminal, and what stands on it."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import psycopg
import pytest

from ..beams import PGBEAM, Beam
from ..clusters import free_port
from ..conftest import BeamFactory
from ..web import TOKEN, settings_of
from .tmux import TMUX, Tmux

pytestmark = [pytest.mark.pg, pytest.mark.skipif(TMUX is None, reason="tmux is not installed")]
QUERY = "SELECT name FROM products WHERE id = %s"


@pytest.fixture
def window(tmp_path: Path) -> Iterator[Tmux]:
    """80 columns, 24 lines."""
    window = Tmux(tmp_path)
    yield window
    window.close()


@pytest.fixture
def mine(clusters: Any, beam: BeamFactory) -> tuple[Beam, str]:
    """A PgBeam with traffic, and the address of its dashboard."""
    port = free_port()
    started = beam(clusters(15), "transaction", settings=settings_of(port))
    with psycopg.connect(started.url(), autocommit=True) as client:
        for number in range(40):
            client.execute(QUERY, [number % 3]).fetchall()
    return started, f"http://127.0.0.1:{port}"


def top(mine: tuple[Beam, str], tmp_path: Path, *, by_http: bool) -> tuple[list[str], dict[str, str]]:
    """The command, and its environment."""
    if by_http:
        return [str(PGBEAM), "top", "--url", mine[1]], {"PGBEAM_DASHBOARD_TOKEN": TOKEN}
    return [str(PGBEAM), "top", "--set", f"state_dir={tmp_path / '.pgbeam'}"], {}


@pytest.mark.parametrize("by_http", [False, True], ids=["socket", "tcp"])
def test_every_view_is_a_key_away(window: Tmux, mine: tuple[Beam, str], tmp_path: Path, by_http: bool) -> None:
    """Each view shows what it is named for, help tells the keys, and at the end the terminal is as it was."""
    window.type("echo before", "Enter")
    window.command(*top(mine, tmp_path, by_http=by_http))
    window.wait("[1 overview]", "Traffic", f"127.0.0.1:{mine[0].port}")
    assert window.asks("#{alternate_on} #{cursor_flag}") == "1 0"
    with psycopg.connect(mine[0].url()) as client:
        client.execute("SELECT * FROM products FOR UPDATE LIMIT 1").fetchall()
        for key, wanted in {
            "2": ("[2 shapes]", "SELECT name FROM products"),
            "3": ("[3 pools]", "POOLS:", "WAITING: 0", "app"),
            "4": ("[4 clients]", "TRANSACTIONS: 1", "real"),
            "5": ("[5 cache]", "CACHE:", "RULES:"),
            "6": ("[6 hosts]", "BREAKERS:", "closed"),
            "7": ("[7 limits]", "LIMITS:"),
            "8": ("[8 panels]", "cache"),
            "9": ("[9 log]", "Log"),
        }.items():
            window.type(key)
            seen = window.wait(*wanted)
            assert len(seen.splitlines()) <= 24
    window.type("?")
    window.wait("Keys", "this help")
    window.type("x", "1")
    window.wait("Traffic", without="this help")
    window.type("q")
    window.wait("before", "ready$", without="Traffic")
    assert window.asks("#{alternate_on} #{cursor_flag}") == "0 1"


def test_a_shape_is_found_and_cached(window: Tmux, mine: tuple[Beam, str], tmp_path: Path) -> None:
    """Sorted, filtered, switched on after a yes: from then on its queries come from the cache."""
    window.command(*top(mine, tmp_path, by_http=False))
    window.wait("Traffic")
    window.type("2")
    window.wait("Shapes by")
    window.type("s", "/", *"name", "Enter")
    window.wait("Shapes by calls, with name", "SELECT name FROM products")
    window.type("c")
    window.wait("Cache this shape for 60 + 30 s", "y/n")
    window.type("y")
    window.wait("60+30 s")
    notices: list[str] = []
    with psycopg.connect(mine[0].url(), autocommit=True) as client:
        client.add_notice_handler(lambda notice: notices.append(notice.message_primary or ""))
        client.execute("SET pgbeam.debug = on")
        deadline = time.monotonic() + 20
        while not any("cache=hit" in notice for notice in notices):
            assert time.monotonic() < deadline, notices[-3:]
            client.execute(QUERY, [1]).fetchall()
    window.type("q")
    window.wait("ready$", without="Shapes by")


def test_it_fits_any_size(window: Tmux, mine: tuple[Beam, str], tmp_path: Path) -> None:
    """Dragged larger and smaller, the picture fills the window and leaves nothing of the one before."""
    window.command(*top(mine, tmp_path, by_http=False))
    window.wait("Traffic")
    for width, height in ((120, 40), (60, 15), (80, 24)):
        window.resize(width, height)
        window.until(lambda seen, last=height - 1: _last_line(seen, last).startswith("? help"))
        assert len([line for line in window.screen().splitlines() if line.startswith("? help")]) == 1
    window.type("q")
    window.wait("ready$", without="Traffic")


def _last_line(seen: str, number: int) -> str:
    lines = seen.splitlines()
    return lines[number] if number < len(lines) else ""


def test_it_says_when_nobody_is_there_any_more(window: Tmux, clusters: Any, tmp_path: Path) -> None:
    """A PgBeam that ends is an error in words, on a terminal that is as it was."""
    gone = Beam(clusters(15), "transaction", tmp_path)
    try:
        window.command([str(PGBEAM), "top", "--set", f"state_dir={tmp_path / '.pgbeam'}"], {})
        window.wait("Traffic")
    finally:
        gone.stop()
    window.wait("no PgBeam answers", "ready$", without="Traffic")


def test_without_a_terminal_it_prints_once(mine: tuple[Beam, str], tmp_path: Path) -> None:
    """In a pipe there are lines of text without a control character, and it ends by itself."""
    words, environment = top(mine, tmp_path, by_http=True)
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert "SELECT name FROM products" in done.stdout
    assert f"127.0.0.1:{mine[0].port}" in done.stdout


def test_a_terminal_that_cannot_be_drawn_on_gets_text(window: Tmux, mine: tuple[Beam, str], tmp_path: Path) -> None:
    """With TERM=dumb it prints once, as in a pipe, and one that reads no UTF-8 gets lines of ASCII."""
    words, environment = top(mine, tmp_path, by_http=False)
    window.command(words, {**environment, "TERM": "dumb", "NO_COLOR": "1"})
    window.until(lambda seen: "queries/s" in seen and seen.rstrip().endswith("ready$"))
    window.command(words, {**environment, "LC_ALL": "en_US.ISO-8859-1", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"})
    window.wait("Traffic")
    window.type("q")
    window.wait("ready$", without="Traffic")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_the_terminal_is_left_as_it_was(
    window: Tmux, mine: tuple[Beam, str], tmp_path: Path, number: signal.Signals
) -> None:
    """Whoever ends it from outside finds the screen from before, a cursor, and keys that are shown."""
    window.command(*top(mine, tmp_path, by_http=False))
    window.wait("Traffic")
    shell = psutil.Process(int(window.asks("#{pane_pid}")))
    looking = next(each for each in shell.children(recursive=True) if "top" in each.cmdline())
    looking.send_signal(number)
    looking.wait(20)
    window.wait("ready$", without="Traffic")
    assert window.asks("#{alternate_on} #{cursor_flag}") == "0 1"
    window.type("e", "c", "h", "o", "Space", "h", "i")
    window.wait("echo hi")


@pytest.mark.slow
def test_looking_costs_next_to_nothing(window: Tmux, mine: tuple[Beam, str], tmp_path: Path) -> None:
    """Each view, drawn twice a second, takes less than a twentieth of a core here and in the PgBeam looked at."""
    window.command(*top(mine, tmp_path, by_http=False))
    window.wait("Traffic")
    (shell,) = [int(window.asks("#{pane_pid}"))]
    looking = next(each for each in psutil.Process(shell).children(recursive=True) if "top" in each.cmdline())
    both = (looking, psutil.Process(mine[0].process.pid))
    for key in ("1", "2", "3"):
        window.type(key)
        before, began = [sum(each.cpu_times()[:2]) for each in both], time.monotonic()
        time.sleep(4)
        took = time.monotonic() - began
        used = [(sum(each.cpu_times()[:2]) - was) / took for each, was in zip(both, before, strict=True)]
        print(f"view {key}: {used[0]:.2%} of a core here, {used[1]:.2%} there")
        assert max(used) < 0.05, (key, used)
    window.type("q")
    window.wait("ready$", without="Traffic")
