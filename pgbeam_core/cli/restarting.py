"""A restart without dropping: another process takes the place of this one, and this one goes when its clients have."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from pgbeam_core.cli import systemd
from pgbeam_core.cli.restart import ASK
from pgbeam_core.control.registry import Control, Request
from pgbeam_core.doors import Doors
from pgbeam_core.errors import PgBeamError
from pgbeam_core.workers.generations import Generations
from pgbeam_core.workers.link import Message
from pgbeam_core.workers.successor import Start, Successor

log = Logger(__name__)

_ANSWER_S = 5.0
"""Who asks is told by then that it goes on, and asks again."""
_LOOK_EVERY_S = 0.25
"""Whether the last client has left."""


class Replaceable(Protocol):
    """What is needed of the running PgBeam."""

    @property
    def doors(self) -> Doors: ...
    @property
    def client_count(self) -> int: ...


class Restarting:
    """`begin` begins one, unless `why_not` has a reason against it. `leave` is called when this process is to go."""

    def __init__(
        self,
        reactor: Any,
        generations: Generations,
        tell: systemd.Tell,
        start: Start,
        why_not: Callable[[], PgBeamError | None],
        leave: Callable[[], None],
    ) -> None:
        self.generations = generations
        self._reactor = reactor
        self._tell = tell
        self._start = start
        self._why_not = why_not
        self._leave = leave
        self._service: Replaceable | None = None
        self._grace_s = 0.0
        self._successor: Successor | None = None
        self._taken: Message | None = None
        """What the new process said when it took over."""
        self._until = 0.0
        self._waiting: list[Deferred[dict[str, Any]]] = []
        self._begin: Callable[[], None] = lambda: None
        self._is_leaving = False
        self._last: dict[str, Any] | PgBeamError | None = None

    @property
    def replaced(self) -> bool:
        """Another process has taken over."""
        return self._taken is not None

    def answer(self, control: Control, begin: Callable[[], None]) -> None:
        """On the control socket. `begin` begins a restart, or raises PgBeamError."""
        self._begin = begin
        control.answer(ASK, self._asked)

    def begin(self, service: Replaceable, grace_s: float) -> None:
        """Start the new process. Raises PgBeamError if that cannot be; what becomes of it is in the log."""
        reason = self._why_not() or self._busy()
        if reason is not None:
            raise reason
        self._service, self._grace_s = service, grace_s
        self._last = None
        successor = Successor(self._reactor, self.generations, self._let_go, self._lost)
        self._tell(systemd.reloading())
        try:
            successor.start(self._start, service.doors, grace_s)
        except OSError as error:
            self._tell(systemd.READY)
            raise PgBeamError(f"cannot start a new process: {error}", sqlstate="58000") from error
        log.info("restarting: process {pid} is to take over", pid=successor.pid)
        self._successor = successor
        successor.ready.addCallbacks(self._took_over, self._failed)

    def leaving(self) -> None:
        """This process is to go, whoever wants it: the sockets are the new one's, or that one is not wanted."""
        self._is_leaving = True
        if self.generations.older is not None:
            self.generations.older.tell("leaving")
        if self._taken is not None:
            self._let_go()
        elif self._successor is not None:
            self._successor.give_up("this PgBeam was told to stop meanwhile")

    def _busy(self) -> PgBeamError | None:
        if self._taken is not None and self._successor is not None:
            text = f"process {self._successor.pid} has taken the place of this one"
            return PgBeamError(text, sqlstate="55000", hint="Restart that one.")
        if self._successor is not None:
            return PgBeamError("a restart is under way already", sqlstate="55006")
        return None

    def _took_over(self, message: Message) -> None:
        assert self._service is not None
        assert self._successor is not None
        self._service.doors.shut()
        self._taken = message
        self._tell(systemd.replaced_by(self._successor.pid))
        log.info(
            "process {pid} has taken over: clients that are here stay until they leave, or for {seconds:g} s",
            pid=self._successor.pid,
            seconds=self._grace_s,
        )
        self._until = self._reactor.seconds() + self._grace_s
        self._reactor.callLater(_LOOK_EVERY_S, self._look)
        self._tell_who_waits({"pending": False, "process": self._successor.pid, "before": os.getpid()})

    def _look(self) -> None:
        if self._taken is None or self._service is None:
            return
        if self._service.client_count and self._reactor.seconds() < self._until:
            self._reactor.callLater(_LOOK_EVERY_S, self._look)
        else:
            self._leave()

    def _failed(self, failure: Failure) -> None:
        self._successor = None
        error = failure.value
        if not isinstance(error, PgBeamError):
            log.failure("the restart failed", failure=failure)
            error = PgBeamError("failed, see the log", sqlstate="XX000")
        reason = error.message.replace("\n", "; ")
        log.error("not restarted, this process goes on: {reason}", reason=reason)
        self._tell(systemd.READY)
        self._tell_who_waits(PgBeamError(error.message, sqlstate=error.sqlstate))

    def _let_go(self) -> None:
        """The sockets are the new process's alone."""
        if self._service is not None and self._taken is not None:
            doors = self._service.doors
            handed = doors.handed
            doors.leave(self._taken["kept"], control=handed is not None and handed.path == self._taken["control"])

    def _lost(self, how: str) -> None:
        """The new process is gone, though it had taken over."""
        successor = self._successor
        if self._is_leaving or self._service is None or successor is None or successor.leaving:
            return
        self._successor = self._taken = None
        log.error("process {pid} ended with {how}: this one takes its place back", pid=successor.pid, how=how)
        self._service.doors.open()
        self._tell(systemd.replaced_by(os.getpid()))

    # Who asks on the control socket.

    def _asked(self, request: Request) -> Deferred[dict[str, Any]] | dict[str, Any]:
        if request.get("again") is not True:
            self._begin()
        elif isinstance(self._last, PgBeamError):
            raise self._last
        elif self._last is not None:
            return self._last
        elif self._successor is None:  # it was the process before this one that was asked first
            return {"pending": False, "process": os.getpid(), "before": None}
        told: Deferred[dict[str, Any]] = Deferred()
        self._waiting.append(told)
        return told.addTimeout(_ANSWER_S, self._reactor, onTimeoutCancel=lambda *_: {"pending": True})

    def _tell_who_waits(self, outcome: dict[str, Any] | PgBeamError) -> None:
        self._last = outcome
        waiting, self._waiting = self._waiting, []
        for told in waiting:
            if told.called:
                continue
            if isinstance(outcome, PgBeamError):
                told.errback(outcome)
            else:
                told.callback(outcome)
