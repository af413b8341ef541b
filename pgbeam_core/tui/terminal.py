"""The terminal that PgBeam was started in: keys come in through the reactor, text goes out without waiting.

A terminal that does not take what is written to it, because somebody holds its output or its line is slow, must not
hold up clients. So it is opened once more, without blocking, and what it does not take yet stays here.
"""

from __future__ import annotations

import locale
import os
import select
import sys
import termios
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from twisted.internet.interfaces import IReadDescriptor, IWriteDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from pgbeam_core.errors import PgBeamError
from pgbeam_core.tui.keys import keys

CTRL_C, END_OF_TRANSMISSION = "\x03", "\x04"
_PATIENCE_S = 0.5
"""For how long a terminal may refuse the last words, those that put it back in order."""
_INPUT, _LOCAL, _CHARACTERS = 0, 3, 6
_INCAPABLE = ("", "dumb", "unknown")
_PLAIN = str.maketrans({"…": ".", "·": "-", "×": "x", "←": "<", "→": ">", "↑": "^", "↓": "v", "–": "-"})
"""For who does not read UTF-8; rich draws its lines in ASCII there."""


@implementer(IReadDescriptor, IWriteDescriptor)
class Terminal:
    """A file to write to, and a source of keys: `pressed` gets each. Ctrl-C is one; hanging up counts as Ctrl-D."""

    def __init__(self, reactor: Any, fd: int, pressed: Callable[[str], None]) -> None:
        """`fd` is the terminal's own now; it must not block."""
        self.encoding = locale.getlocale()[1] or locale.getpreferredencoding(do_setlocale=False)
        self._reactor = reactor
        self._fd = fd
        self._pressed = pressed
        self._unwritten = b""
        self._writing = False
        self._open = True
        self._before = termios.tcgetattr(fd)
        termios.tcsetattr(fd, termios.TCSANOW, _key_by_key(self._before))
        reactor.addReader(self)

    @property
    def size(self) -> tuple[int, int]:
        columns, lines = os.get_terminal_size(self._fd)
        return columns or 80, lines or 24  # a serial line may not know

    @property
    def idle(self) -> bool:
        """Whether it has taken all that was written."""
        return not self._unwritten

    def close(self) -> None:
        """Put it back as it was."""
        if not self._open:
            return
        self._open = False
        self._reactor.removeReader(self)
        self._stop_writing()
        self._last_words()
        with suppress(termios.error):  # hung up: nobody is left to see it
            termios.tcsetattr(self._fd, termios.TCSANOW, self._before)
        os.close(self._fd)

    # A file, for rich.

    def write(self, text: str) -> int:
        """Say something, when the terminal takes it."""
        if not self.encoding.lower().startswith("utf"):
            text = text.translate(_PLAIN)
        self._unwritten += text.encode(self.encoding, "replace")
        return len(text)

    def flush(self) -> None:
        """Write what it takes now; the reactor tells when it takes more."""
        if self._open and not self._writing:
            self.doWrite()

    def isatty(self) -> bool:
        return True

    # A descriptor, for the reactor.

    def fileno(self) -> int:
        return self._fd

    def doRead(self) -> None:
        try:
            data = os.read(self._fd, 1024)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._reactor.removeReader(self)
            self._pressed(END_OF_TRANSMISSION)
        else:
            for key in keys(data.decode("utf-8", "replace")):
                self._pressed(key)

    def doWrite(self) -> None:
        if self._unwritten:
            try:
                self._unwritten = self._unwritten[os.write(self._fd, self._unwritten) :]
            except BlockingIOError:
                pass
            except OSError:
                self._unwritten = b""  # hung up: reading will tell
        if self._unwritten and not self._writing:
            self._writing = True
            self._reactor.addWriter(self)
        elif not self._unwritten:
            self._stop_writing()

    def connectionLost(self, reason: Failure) -> None:
        self.close()

    def logPrefix(self) -> str:
        return "terminal"

    def _stop_writing(self) -> None:
        if self._writing:
            self._writing = False
            self._reactor.removeWriter(self)

    def _last_words(self) -> None:
        deadline = time.monotonic() + _PATIENCE_S
        while self._unwritten and (left := deadline - time.monotonic()) > 0:
            if not select.select([], [self._fd], [], left)[1]:
                return
            try:
                self._unwritten = self._unwritten[os.write(self._fd, self._unwritten) :]
            except OSError:
                return


def is_capable() -> bool:
    """Whether the terminal, if there is one, can be drawn on."""
    return os.environ.get("TERM", "") not in _INCAPABLE


def open_terminal() -> int:
    """A file descriptor of our own for the terminal. Raises PgBeamError where there is none that can be drawn on."""
    for stream in (sys.stdin, sys.stdout) if is_capable() else ():
        if stream is not None and stream.isatty():
            try:
                path = os.ttyname(stream.fileno())
            except OSError:
                path = "/dev/tty"  # a container may not see the name of a terminal given to it
            return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_NOCTTY)
    raise PgBeamError(
        "--tui needs a terminal",
        hint="Without one, or with TERM=dumb, run pgbeam run alone and look at its log.",
    )


def _key_by_key(attributes: list[Any]) -> list[Any]:
    """No waiting for a line, no echo, Ctrl-C as a key, and no Ctrl-S: it would stop the output."""
    changed = [*attributes]
    changed[_INPUT] &= ~(termios.IXON | termios.ICRNL)
    changed[_LOCAL] &= ~(termios.ECHO | termios.ICANON | termios.ISIG | termios.IEXTEN)
    changed[_CHARACTERS] = [*attributes[_CHARACTERS]]
    changed[_CHARACTERS][termios.VMIN] = 1
    changed[_CHARACTERS][termios.VTIME] = 0
    return changed
