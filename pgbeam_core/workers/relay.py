"""The control socket of several workers: its requests go to one of them, or to all."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, DeferredList, inlineCallbacks

from pgbeam_core.control.registry import Control, Request
from pgbeam_core.errors import PgBeamError
from pgbeam_core.workers.crew import Crew

Reply = dict[str, Any]


class RelayedControl(Control):
    """Answers what is the supervisor's to answer; the rest a worker answers, or all of them together."""

    def __init__(self, crew: Crew) -> None:
        super().__init__()
        self._crew = crew

    def ask(self, request: object) -> Deferred[Reply]:
        """The reply to a request, never a failure."""
        workers = self._crew.ready
        name = request.get("ask") if isinstance(request, dict) else None
        if not isinstance(request, dict) or name in self.merges or not any(name in each.merges for each in workers):
            return super().ask(request)
        together = workers[0].merges.get(str(name), False)
        asked: Deferred[Reply] = self._of_all(request) if together else workers[0].link.ask("control", request=request)
        return asked.addErrback(self.failed)

    def names(self) -> list[str]:
        """What can be asked."""
        return sorted({*self.merges, *(name for worker in self._crew.ready for name in worker.merges)})

    @inlineCallbacks
    def _of_all(self, request: Request) -> Any:
        """One of them makes one result of all: only there is the plugin at work."""
        workers = self._crew.ready
        asked = DeferredList([each.link.ask("control", request=request) for each in workers], consumeErrors=True)
        replies: list[Reply] = [reply for came, reply in (yield asked) if came]
        if not replies:
            raise PgBeamError("no worker is left to answer", sqlstate="57P01")
        refused = [reply for reply in replies if not reply["ok"]]
        if refused:
            return refused[0]
        results = [reply["result"] for reply in replies]
        reply: Reply = yield workers[0].link.ask("merge", name=request["ask"], results=results)
        return reply
