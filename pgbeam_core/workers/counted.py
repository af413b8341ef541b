"""What all workers have counted, those included that are gone: for Prometheus a counter never becomes less."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, DeferredList

from pgbeam_core.telemetry import metrics
from pgbeam_core.telemetry.metrics import Family
from pgbeam_core.telemetry.watchdog import Watchdog
from pgbeam_core.workers.process import WorkerProcess
from pgbeam_core.workers.pulses import Pulses
from pgbeam_core.workers.worker_pool import WorkerPool

ANSWER_S = 5.0
"""Longest wait for one worker; of one that is later there are the numbers of the time before."""


class Counted:
    """Asks the workers of a crew."""

    def __init__(self, crew: WorkerPool, reactor: Any) -> None:
        self._crew = crew
        self._reactor = reactor
        self._seen: dict[WorkerProcess, list[Family]] = {}
        self._before: list[Family] = []
        """Counted by workers that are gone."""

    def sums(self, watchdog: Watchdog, pulses: Pulses) -> Deferred[list[Family]]:
        """Of all of them, and of the process that asks."""
        counts = pulses.counts.items()
        own = [
            *metrics.of_loop(watchdog.stats()),
            *metrics.of_process(),
            *(metrics.family(name, name.replace("_", " ").capitalize(), [({}, count)]) for name, count in counts),
            metrics.family("workers_ready", "Workers that can be asked", [({}, len(self._crew.ready))], "gauge"),
        ]
        asked = [self._ask(worker) for worker in self._crew.answering]
        together = DeferredList(asked, consumeErrors=True)
        return together.addCallback(lambda _: metrics.merged([*self._seen.values(), self._before, own]))

    def gone(self, worker: WorkerProcess) -> None:
        """It has ended; what it counted since it was asked last is lost."""
        seen = self._seen.pop(worker, None)
        if seen is not None:
            self._before = metrics.merged([self._before, metrics.lasting(seen)])

    def _ask(self, worker: WorkerProcess) -> Deferred[Any]:
        asked: Deferred[Any] = worker.link.ask("metrics")
        return asked.addTimeout(ANSWER_S, self._reactor).addCallback(self._told, worker)

    def _told(self, families: list[Family], worker: WorkerProcess) -> None:
        if worker in self._crew.members.values():
            self._seen[worker] = families
