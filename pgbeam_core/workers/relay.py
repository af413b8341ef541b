"""The control socket of several workers: its requests go to one of them, or to all."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, DeferredList, inlineCallbacks
from twisted.python.failure import Failure

from pgbeam_core.control.registry import Control, Request
from pgbeam_core.errors import PgBeamError
from pgbeam_core.workers.process import WorkerProcess
from pgbeam_core.workers.worker_pool import WorkerPool

Reply = dict[str, Any]
ANSWER_S = 8.0
"""Longest wait for one worker; who asks over the socket waits 10 s."""


class RelayedControl(Control):
    """Answers what is the supervisor's to answer; the rest a worker answers, or all of them together."""

    def __init__(self, worker_pool: WorkerPool, reactor: Any) -> None:
        super().__init__()
        self._crew = worker_pool
        self._reactor = reactor

    def ask(self, request: object) -> Deferred[Reply]:
        """The reply to a request, never a failure."""
        workers = self._crew.answering
        name = request.get("ask") if isinstance(request, dict) else None
        if not isinstance(request, dict) or name in self.merges or not any(name in each.merges for each in workers):
            return super().ask(request)
        together = workers[0].merges.get(str(name), False)
        asked: Deferred[Reply] = self._of_all(request) if together else self._of(workers[0], "control", request=request)
        return asked.addErrback(self.failed)

    def names(self) -> list[str]:
        return sorted({*self.merges, *(name for worker in self._crew.ready for name in worker.merges)})

    def _of(self, worker: WorkerProcess, what: str, **fields: Any) -> Deferred[Any]:
        asked: Deferred[Any] = worker.link.ask(what, **fields)
        return asked.addTimeout(ANSWER_S, self._reactor, onTimeoutCancel=_too_slow)

    @inlineCallbacks
    def _of_all(self, request: Request) -> Any:
        """One of them makes one result of all: only there is the plugin at work."""
        workers = self._crew.answering
        asked = DeferredList([self._of(each, "control", request=request) for each in workers], consumeErrors=True)
        replies: list[Reply] = [reply for came, reply in (yield asked) if came]
        if not replies:
            raise PgBeamError("no worker is left to answer", sqlstate="57P01")
        refused = [reply for reply in replies if not reply["ok"]]
        if refused:
            return refused[0]
        results = [reply["result"] for reply in replies]
        reply: Reply = yield self._of(workers[0], "merge", name=request["ask"], results=results)
        return reply


def _too_slow(_result: object, seconds: float) -> Failure:
    return Failure(PgBeamError(f"no worker has answered for {seconds:g} s", sqlstate="57014"))
