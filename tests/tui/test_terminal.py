"""The terminal: keys in, text out, left as it was found."""

from __future__ import annotations

import os
import pty
import termios
from collections.abc import Iterator

import pytest
from twisted.internet.testing import MemoryReactorClock

from pgbeam_core.errors import PgBeamError
from pgbeam_core.tui import terminal as terminals
from pgbeam_core.tui.terminal import CTRL_C, END_OF_TRANSMISSION, Terminal


class Desk:
    """A terminal with somebody in front of it."""

    def __init__(self) -> None:
        self.person, self.fd = pty.openpty()
        os.set_blocking(self.fd, False)
        self.before = termios.tcgetattr(self.fd)
        self.again = os.dup(self.fd)
        self.reactor = MemoryReactorClock()
        self.keys: list[str] = []
        self.terminal = Terminal(self.reactor, self.fd, self.keys.append)

    def type(self, keys: bytes) -> None:
        """Press keys, and let the reactor notice."""
        os.write(self.person, keys)
        self.terminal.doRead()

    def read_all(self) -> int:
        """Read until there is nothing more; how many bytes."""
        os.set_blocking(self.person, False)
        count = 0
        while True:
            try:
                count += len(os.read(self.person, 65536))
            except BlockingIOError:
                return count

    def put_away(self) -> None:
        """Leave nothing behind."""
        self.terminal.close()
        os.close(self.again)
        if self.person >= 0:
            os.close(self.person)


@pytest.fixture
def desk() -> Iterator[Desk]:
    """One."""
    desk = Desk()
    yield desk
    desk.put_away()


def test_keys_come_without_return(desk):
    """One key is enough, it is not echoed, and Ctrl-C is a key like any other."""
    desk.type(b"q")
    desk.type(b"\x03")
    assert desk.keys == ["q", CTRL_C]
    assert desk.read_all() == 0


def test_arrows_are_no_letters(desk):
    """The letters inside an escape sequence were not pressed: it is one key with a name, or none."""
    desk.type(b"\x1b[C")
    desk.type(b"\x1bOq")
    assert desk.keys == ["right"]


def test_reading_too_early_is_no_key(desk):
    """A reactor that is mistaken about input does no harm."""
    desk.terminal.doRead()
    assert desk.keys == []


def test_left_as_it_was_found(desk):
    """After the end the terminal echoes, waits for lines and obeys Ctrl-C again; closing twice is fine."""
    assert termios.tcgetattr(desk.again) != desk.before
    desk.terminal.close()
    desk.terminal.close()
    assert termios.tcgetattr(desk.again) == desk.before
    assert desk.reactor.getReaders() == []


def test_hanging_up_is_a_key(desk):
    """A terminal that is closed says so once, and is not listened to any more."""
    os.close(desk.person)
    desk.person = -1
    desk.terminal.doRead()
    assert desk.keys == [END_OF_TRANSMISSION]
    assert desk.reactor.getReaders() == []


def test_a_slow_terminal_holds_nobody_up(desk):
    """What a terminal does not take is kept until it does: writing returns at once, and every byte arrives."""
    desk.terminal.write("x" * 1_000_000)
    desk.terminal.flush()
    assert not desk.terminal.idle
    assert desk.terminal in desk.reactor.getWriters()
    count = 0
    while not desk.terminal.idle:
        count += desk.read_all()
        desk.terminal.doWrite()
    assert count + desk.read_all() == 1_000_000
    assert desk.reactor.getWriters() == []


def test_a_stuck_terminal_is_still_put_back(desk):
    """A terminal that takes nothing any more delays the end by half a second, not for ever."""
    desk.terminal.write("x" * 1_000_000)
    desk.terminal.flush()
    desk.terminal.close()
    assert termios.tcgetattr(desk.again) == desk.before
    assert desk.reactor.getWriters() == []


def test_without_a_terminal_it_says_what_to_do(monkeypatch):
    """`pgbeam run --tui` in a pipe is one clear error."""

    class Pipe:
        def isatty(self) -> bool:
            return False

    monkeypatch.setattr("sys.stdin", Pipe())
    monkeypatch.setattr("sys.stdout", Pipe())
    with pytest.raises(PgBeamError, match="--tui needs a terminal"):
        terminals.open_terminal()
