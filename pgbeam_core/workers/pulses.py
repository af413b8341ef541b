"""Workers that do not answer: clients go to others, and after a while another worker takes the place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from twisted.logger import Logger

from pgbeam_core.workers.process import WorkerProcess
from pgbeam_core.workers.worker_pool import WorkerPool

log = Logger(__name__)

BEAT_S = 1.0
"""Between two questions to a worker whether it is there."""
MOST_MISSED = 30
"""A worker that has not answered for so many beats is killed: its clients wait in vain, and may connect again."""
MOST_STARTING = 120
"""One that is not ready after so many beats is killed as well."""


class Pulses:
    """Asks all workers of a crew, again and again.

    What counts is the number of beats, not the time: a machine that was asleep accuses nobody.
    """

    def __init__(self, worker_pool: WorkerPool, reactor: Any) -> None:
        self.counts: Counter[str] = Counter(workers_silent=0, workers_killed=0)
        """Times that a worker fell silent, and that one was killed for it."""
        self._crew = worker_pool
        self._reactor = reactor
        self._timer: Any = None
        self._silent: set[WorkerProcess] = set()
        self._starting: Counter[WorkerProcess] = Counter()

    def start(self) -> None:
        self._timer = self._reactor.callLater(BEAT_S, self._beat)

    def stop(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def _beat(self) -> None:
        workers = list(self._crew.members.values())
        self._silent &= set(workers)
        for gone in set(self._starting) - set(workers):
            del self._starting[gone]
        for worker in workers:
            worker.look()
            if worker.is_ready:
                self._feel(worker)
            else:
                self._wait_for(worker)
        self.start()

    def _feel(self, worker: WorkerProcess) -> None:
        worker.pulse.beat()
        if worker.silent and worker not in self._silent:
            self._silent.add(worker)
            self.counts["workers_silent"] += 1
            self._say(log.warn, worker, "does not answer: new clients go to others")
        elif worker in self._silent and not worker.pulse.missed:
            self._silent.discard(worker)
            self._say(log.info, worker, "answers again")
        if worker.pulse.missed == MOST_MISSED:
            self._kill(worker, f"has not answered for {MOST_MISSED * BEAT_S:g} s, so it is killed")

    def _wait_for(self, worker: WorkerProcess) -> None:
        self._starting[worker] += 1
        if self._starting[worker] == MOST_STARTING:
            self._kill(worker, f"is not ready after {MOST_STARTING * BEAT_S:g} s, so it is killed")

    def _kill(self, worker: WorkerProcess, why: str) -> None:
        self.counts["workers_killed"] += 1
        self._say(log.error, worker, why)
        worker.kill()

    def _say(self, say: Callable[..., None], worker: WorkerProcess, what: str) -> None:
        say("worker {number} (process {pid}) {what}", number=worker.number, pid=worker.pid, what=what)
