"""The show: started with PgBeam, drawn twice a second, ended with q."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import Logger

from pgbeam_core.tui.show import Show
from pgbeam_core.tui.tail import Tail
from tests.tui.services import FakeService

log = Logger(namespace="pgbeam_core.net")


class Seat:
    """A terminal of 80x24, read on demand."""

    def __init__(self) -> None:
        self.person, self.fd = pty.openpty()
        self.resize(80, 24)
        os.set_blocking(self.fd, False)
        os.set_blocking(self.person, False)
        self.again = os.dup(self.fd)
        self.before = termios.tcgetattr(self.fd)

    def resize(self, columns: int, lines: int) -> None:
        """Drag the window."""
        fcntl.ioctl(self.person, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def seen(self) -> str:
        """What was written since last asked."""
        said = b""
        while True:
            try:
                said += os.read(self.person, 65536)
            except BlockingIOError:
                return said.decode()


@pytest.fixture
def seat() -> Iterator[Seat]:
    """A terminal, put away afterwards."""
    seat = Seat()
    yield seat
    os.close(seat.person)
    os.close(seat.again)


@pytest.fixture
def clock() -> MemoryReactorClock:
    """A reactor that does nothing by itself."""
    return MemoryReactorClock()


@pytest.fixture
def service(clock) -> FakeService:
    """One project."""
    return FakeService(clock, "shop")


@pytest.fixture
def show(service, seat, clock) -> Iterator[Show]:
    """Running."""
    show = Show(service, seat.fd, clock)
    show.start()
    yield show
    show.close()


def test_two_pictures_a_second(show, service, seat, clock):
    """What happens is seen within half a second; between two pictures nothing is written."""
    assert "shop" in seat.seen()
    clock.advance(0.25)
    assert seat.seen() == ""
    service.stats_of["shop"].clients = 4242
    clock.advance(0.25)
    assert "4242" in seat.seen()


def test_only_what_has_changed_is_written(show, service, seat, clock):
    """A picture like the one before costs a terminal at the end of a slow line next to nothing."""
    whole = len(seat.seen())
    clock.advance(0.5)
    clock.advance(0.5)
    assert len(seat.seen()) < whole / 4


def test_the_log_is_part_of_it(show, seat, clock):
    """What is logged while the picture is shown stands in it; what is below the level does not."""
    log.info("a client said {what}", what="hello")
    log.debug("nobody asked")
    clock.advance(1)
    seen = seat.seen()
    assert "a client said hello" in seen
    assert "nobody asked" not in seen


def test_another_size_is_noticed_at_once(show, seat, clock):
    """A resized terminal has a new picture before the next second is over."""
    seat.seen()
    seat.resize(120, 40)
    clock.advance(0.2)
    assert "\x1b[40;1H" in seat.seen()


@pytest.mark.parametrize("key", [b"q", b"Q", b"\x03"])
def test_q_ends_it(show, seat, key):
    """q and Ctrl-C give the terminal back, say what follows, and tell PgBeam to end, once."""
    quits: list[object] = []
    show.quit.addCallback(quits.append)
    os.write(seat.person, key + key)
    reader = next(iter(show._terminal._reactor.getReaders()))
    reader.doRead()
    assert quits == [None]
    assert termios.tcgetattr(seat.again) == seat.before
    seen = seat.seen()
    assert "\x1b[?1049l" in seen
    assert seen.rstrip().endswith("Ctrl-C stops it at once.")


def test_other_keys_do_nothing(show, seat):
    """Somebody leaning on the keyboard does not stop a proxy."""
    os.write(seat.person, b"xyz \r")
    next(iter(show._terminal._reactor.getReaders())).doRead()
    assert not show.quit.called


def test_a_picture_that_fails_does_not_stop_pgbeam(show, service, seat, clock):
    """If the picture cannot be drawn the terminal is given back and PgBeam goes on."""
    service.stats_of["shop"] = None  # type: ignore[assignment]
    clock.advance(1)
    assert not show.quit.called
    assert termios.tcgetattr(seat.again) == seat.before


def test_a_terminal_that_stands_still_gets_no_more_pictures(show, seat, clock):
    """Nobody reading means one picture waits, not thousands."""
    for _ in range(200):
        clock.advance(1)
    assert len(show._terminal._unwritten) < 100_000


def test_the_tail_keeps_the_last_lines():
    """Old lines fall off, a traceback is several, and what would command the terminal is made visible."""
    tail = Tail(most=3)
    tail.write("one\n")
    tail.write("two\nthree\n")
    tail.write("\x1b[2Jfour\n")
    assert tail.lines == ("two", "three", "\N{REPLACEMENT CHARACTER}[2Jfour")


@pytest.mark.parametrize("how", ["q", "SIGTERM"])
def test_a_real_run(tmp_path: Path, free_port: int, how: str):
    """`pgbeam run --tui` shows its picture, ends well, and leaves the terminal as it was."""
    person, fd = pty.openpty()
    before = termios.tcgetattr(fd)
    run = [sys.executable, "-m", "pgbeam_core", "run", "--tui", "--plugins", "pool"]
    where = ["--upstream", "postgresql://127.0.0.1:1/x?sslmode=disable", "--listen", f"127.0.0.1:{free_port}"]
    process = subprocess.Popen([*run, *where], cwd=tmp_path, stdin=fd, stdout=fd, stderr=fd)
    try:
        seen = read_until(person, b"q quits")
        assert f"127.0.0.1:{free_port}".encode() in seen
        if how == "q":
            os.write(person, b"q")
        else:
            process.send_signal(signal.SIGTERM)
        read_until(person, b"\x1b[?1049l")
        assert process.wait(60) == 0
        assert termios.tcgetattr(fd) == before
    finally:
        process.kill()
        process.wait()
        os.close(person)
        os.close(fd)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_plugin_of_ones_own_has_its_panel(tmp_path: Path, free_port: int, workers: int):
    """What a third party's plugin gives rich to print is on the screen of a real run, wherever it runs."""
    (tmp_path / "weather.py").write_text(
        "from pgbeam_core import hookimpl\n@hookimpl\ndef panel():\n    return 'sunny [all day]'\n"
    )
    info = tmp_path / "pgbeam_weather-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pgbeam-weather\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[pgbeam]\nweather = weather\n")
    person, fd = pty.openpty()
    fcntl.ioctl(person, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    run = [sys.executable, "-m", "pgbeam_core", "run", "--tui", "--plugins", "pool,weather"]
    run += ["--set", f"workers={workers}"]
    where = ["--upstream", "postgresql://127.0.0.1:1/x?sslmode=disable", "--listen", f"127.0.0.1:{free_port}"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])}
    process = subprocess.Popen([*run, *where], cwd=tmp_path, stdin=fd, stdout=fd, stderr=fd, env=environment)
    try:
        read_until(person, b"sunny [all day]")
        os.write(person, b"q")
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        os.close(person)
        os.close(fd)


def read_until(fd: int, wanted: bytes) -> bytes:
    """All that is said up to and including those bytes."""
    seen = b""
    deadline = time.monotonic() + 120  # only a run that says nothing at all takes so long
    while wanted not in seen:
        ready, _, _ = select.select([fd], [], [], max(0, deadline - time.monotonic()))
        assert ready, f"{wanted!r} did not come, but {seen!r}"
        seen += os.read(fd, 65536)
    return seen
