"""Cancel requests that one process is brought, for clients of another one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from twisted.internet.defer import Deferred, DeferredList

from pgbeam_core.service import Neighbours
from pgbeam_core.wire.startup import CancelRequest
from pgbeam_core.workers.link import Link
from pgbeam_core.workers.process import WorkerProcess

CANCEL_S = 2.0
"""Longest wait for a process to say that a client is not its own, or that it is cancelled."""


def cancel_at(reactor: Any, links: Iterable[Link], request: CancelRequest) -> Deferred[bool]:
    """Whoever at the other ends has the client cancels what it does; False if nobody has it, or says so in time."""
    key = {"pid": request.pid, "secret": request.secret.hex()}
    asked = [link.ask("cancel", **key).addTimeout(CANCEL_S, reactor) for link in links]
    replies = DeferredList(asked, consumeErrors=True)
    return replies.addCallback(lambda told: any(came and found for came, found in told))


class WorkersCancels:
    """Asks workers, then the neighbours of this PgBeam."""

    def __init__(self, reactor: Any, neighbours: Neighbours | None) -> None:
        self._reactor = reactor
        self._neighbours = neighbours

    def at(self, workers: Iterable[WorkerProcess], request: CancelRequest) -> Deferred[bool]:
        """Whoever has the client cancels what it does; False if nobody has it."""
        return cancel_at(self._reactor, [worker.link for worker in workers], request)

    def elsewhere(self, others: Iterable[WorkerProcess], request: CancelRequest) -> Deferred[bool]:
        """The worker that was brought the request has no such client."""
        asked = self.at(others, request)
        neighbours = self._neighbours
        return asked if neighbours is None else asked.addCallback(lambda found: found or neighbours.cancel(request))
