"""A process that is started to take the place of this one, until it serves."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred

from pgbeam_core.doors import Doors
from pgbeam_core.errors import PgBeamError
from pgbeam_core.workers.generations import VARIABLE, Generations, descriptors, will
from pgbeam_core.workers.link import Link, Message, connect, line
from pgbeam_core.workers.process import Process, bury, in_words

START_S = 90.0
"""A process that does not serve after so long is given up."""
_PATIENCE_S = 5.0
"""A process that has hung up has so long to end by itself."""

Start = Callable[[Sequence[int]], Process]
"""Starts it with these descriptors; the first one is its end of the link. Raises OSError."""


class Successor:
    """From its start until it serves, or does not. Later `left` is called when it was told to stop, and `lost` when it
    has ended, with how."""

    def __init__(
        self, reactor: Any, generations: Generations, left: Callable[[], None], lost: Callable[[str], None]
    ) -> None:
        self.ready: Deferred[Message] = Deferred()
        """Fires with what it says once it serves; fails with PgBeamError."""
        self.leaving = False
        """It was told to stop, and is not lost when it ends."""
        self._reactor = reactor
        self._generations = generations
        self._left, self._lost = left, lost
        self._process: Process | None = None
        self._link = Link(self._told, self._hung_up)
        self._serves = False
        self._why: str | None = None
        self._alarm: Any = None
        self._awaits_end = False

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self, start: Start, doors: Doors, grace_s: float) -> None:
        """Let it have what listens, and so long for clients to leave. Raises OSError."""
        ours, theirs = socket.socketpair()
        try:
            ours.sendall(line(will(doors, grace_s)))  # it is there even if this process ends meanwhile
            self._process = start([theirs.fileno(), *descriptors(doors)])
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        connect(self._reactor, ours, self._link)
        self._generations.replaced(self._link)
        self._alarm = self._reactor.callLater(START_S, self.give_up, f"it does not serve after {START_S:g} s")

    def give_up(self, why: str) -> None:
        """End it; `why` is what `ready` fails with."""
        self._why = self._why or why
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
        self._hung_up()

    def _told(self, what: str, message: Message) -> Any:
        if what == "ready" and not self._serves and self._why is None:
            self._serves = True
            self._alarm.cancel()
            self.ready.callback(message)
        elif what == "failed":
            self._why = str(message["message"])
        elif what == "leaving":
            self.leaving = True
            self._left()
        else:
            return self._generations.heard(self._link, what, message)
        return None

    def _hung_up(self) -> None:
        self._generations.replaced(None)
        if self._alarm is not None and self._alarm.active():
            self._alarm.cancel()
        if not self._awaits_end:
            self._awaits_end = True
            assert self._process is not None
            bury(self._reactor, self._process, _PATIENCE_S, self._buried)

    def _buried(self, code: int) -> None:
        if self._serves:
            self._lost(in_words(code))
            return
        unsaid = f"it ended with {in_words(code)} before it served; what it said is in the log"
        self.ready.errback(PgBeamError(f"the new process could not take over: {self._why or unsaid}", sqlstate="58000"))


def starter(where: Path, more: Mapping[str, str]) -> Start:
    """Starts what was started here, in that folder: the same command, and whatever the code and settings are by now.

    `more`: variables that this process took out of its environment.
    """
    command = [sys.executable, *sys.orig_argv[1:]]

    def start(inherited: Sequence[int]) -> Process:
        environment = {**os.environ, **more, VARIABLE: str(inherited[0])}
        return subprocess.Popen(command, cwd=where, env=environment, pass_fds=inherited)

    return start


def home() -> Path:
    """The folder in which this process was started, by the name that it had for who started it: with a link that is
    moved to another release, the next process starts in that one."""
    here, named = Path(), os.environ.get("PWD", "")
    try:
        return Path(named) if named and Path(named).samefile(here) else here
    except OSError:
        return here
