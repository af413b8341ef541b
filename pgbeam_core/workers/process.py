"""One worker process, as the supervisor sees it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from pgbeam_core.errors import PgBeamError
from pgbeam_core.settings import Settings
from pgbeam_core.workers.link import Link, Message, connect
from pgbeam_core.workers.pulse import Pulse

log = Logger(__name__)

_LOOK_EVERY_S = 0.01
_PATIENCE_S = 1.0
"""A process whose end of the link is closed has this long to end by itself."""
STALLED_S = 1.0
"""A worker that does not take a client for so long is given others only if all are like that."""

SILENT = 2
"""Beats that a worker may miss; see `pulses`."""


class Process(Protocol):
    """What is needed of subprocess.Popen."""

    pid: int

    def poll(self) -> int | None: ...
    def kill(self) -> None: ...


Start = Callable[[int, socket.socket], Process]
"""Starts worker number N on its end of the link."""


def start(number: int, end: socket.socket) -> Process:
    """A fresh interpreter: what is in this process (threads, an event loop) does not survive a fork."""
    command = [sys.executable, "-P", "-m", "pgbeam_core.workers", str(number), str(end.fileno())]
    path = os.pathsep.join(filter(None, sys.path))
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, pass_fds=[end.fileno()], env={**os.environ, "PYTHONPATH": path}
    )


Heard = Callable[["WorkerProcess", str, Message], Any]
"""Takes what a worker says, and gives the reply if it asks."""
Ended = Callable[["WorkerProcess", int], None]
"""Told once that there is no process any more, and its exit code, or minus the signal that killed it."""


class WorkerProcess:
    """From its start to its end."""

    def __init__(self, number: int, settings: Settings, reactor: Any, heard: Heard, ended: Ended) -> None:
        self.number = number
        self.settings = settings
        """Those that it was told last."""
        self.ready: Deferred[None] = Deferred()
        """Fires when it can take clients; fails with PgBeamError if it ends before."""
        self.is_ready = False
        self.leaving = False
        """It takes no more clients: it was told to leave, or decided to."""
        self.clients = 0
        """Handed to it and not gone since."""
        self.merges: dict[str, bool] = {}
        """What can be asked of it on the control socket, and whether the replies of all workers make one."""
        self.failure: str | None = None
        """What it said when it could not start."""
        self.born = reactor.seconds()
        self._reactor = reactor
        self._heard = heard
        self._ended = ended
        self._given: deque[tuple[float, socket.socket]] = deque()
        """Clients that it has not taken yet, and since when."""
        self.link = Link(self._told, self._lost)
        self.pulse = Pulse(lambda: self.link.ask("beat"))
        self._process: Process | None = None
        self._awaits_end = False
        self._found_dead = False

    def start(self, orders: Message, spawn: Start) -> None:
        """Start it, and tell it what it needs to know. Raises OSError."""
        ours, theirs = socket.socketpair()
        try:
            self._process = spawn(self.number, theirs)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        connect(self._reactor, ours, self.link)
        self.link.tell("begin", **orders)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def takes_clients(self) -> bool:
        """Whether clients may be handed to it."""
        return self.is_ready and not self.leaving

    @property
    def stalled(self) -> bool:
        """It has not taken a client for a while, or does not answer."""
        waits = bool(self._given) and self._reactor.seconds() - self._given[0][0] > STALLED_S
        return waits or self.silent

    @property
    def silent(self) -> bool:
        """It owes an answer for longer than anything that it does may take."""
        return self.pulse.missed >= SILENT

    def hand(self, client: socket.socket) -> None:
        """Give it a client. The socket stays open here until the worker has it."""
        self.clients += 1
        self._given.append((self._reactor.seconds(), client))
        self.link.hand(client)

    def not_taken(self) -> list[socket.socket]:
        """The clients that it has not taken, for others."""
        given, self._given = self._given, deque()
        self.clients -= len(given)
        return [client for _, client in given]

    def leave(self, how: str) -> None:
        """Tell it to `drain` or to `stop`."""
        self.leaving = True
        self.link.tell(how)

    def look(self) -> None:
        """See to its end, should its link not tell of it. The link has the time to the next look: it may have more to
        say."""
        if self._process is None or self._awaits_end or self._process.poll() is None:
            return
        if self._found_dead:
            log.warn("worker {number} (process {pid}) is gone, and its link is open", number=self.number, pid=self.pid)
            self._lost()
        self._found_dead = True

    def kill(self) -> None:
        """End it at once. Its end is looked for, whether or not its link tells of it."""
        if self._process is not None:
            self._process.kill()
            self._lost()

    def _told(self, what: str, message: Message) -> Any:
        if what == "ready":
            self.merges = message["merges"]
            self.is_ready = True
            self.ready.callback(None)
        elif what == "took":
            self._given.popleft()[1].close()
        elif what == "gone":
            self.clients -= 1
        elif what == "failed":
            self.failure = message["message"]
        elif what == "leaving":
            self.leaving = True
        return self._heard(self, what, message)

    def _lost(self) -> None:
        self.leaving = True
        if self._awaits_end:
            return
        self._awaits_end = True
        assert self._process is not None
        bury(self._reactor, self._process, _PATIENCE_S, self._buried)

    def _buried(self, code: int) -> None:
        if not self.ready.called:
            unsaid = f"worker {self.number} ended with {in_words(code)} before it was ready; see the log"
            self.ready.errback(PgBeamError(self.failure or unsaid))
        self._ended(self, code)


def bury(reactor: Any, process: Process, patience_s: float, ended: Callable[[int], None]) -> None:
    """Wait for a process that has hung up to end, and kill it when that takes too long; then tell its exit code."""
    deadline = reactor.seconds() + patience_s

    def look() -> None:
        code = process.poll()
        if code is not None:
            ended(code)
            return
        if reactor.seconds() > deadline:
            process.kill()
        reactor.callLater(_LOOK_EVERY_S, look)

    look()


def in_words(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def say_how_it_ended(worker: WorkerProcess, code: int, wait: float) -> None:
    """In the log, and when another one takes its place."""
    log.error(
        "worker {number} (process {pid}) ended with {code}; {clients} clients were cut off, those of other "
        "workers were not; another one starts in {wait:g} s",
        number=worker.number,
        pid=worker.pid,
        code=in_words(code),
        clients=worker.clients,
        wait=wait,
    )
