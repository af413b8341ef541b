"""The workers that are there, and who gets the next client."""

from __future__ import annotations

import socket

from pgbeam_core.workers.process import WorkerProcess


class WorkerPool:
    """Living workers by number. A client goes to the worker with the fewest; where nobody can take it, it waits."""

    def __init__(self) -> None:
        self.members: dict[int, WorkerProcess] = {}
        self._waiting: list[socket.socket] = []
        self._last: dict[int, int] = {}
        self._turn = 0

    @property
    def ready(self) -> list[WorkerProcess]:
        """Those that can be asked, in order of number."""
        return [worker for _, worker in sorted(self.members.items()) if worker.is_ready and worker.link.is_open]

    @property
    def answering(self) -> list[WorkerProcess]:
        """Those of them that answer in time, as far as is known."""
        return [worker for worker in self.ready if not worker.silent]

    @property
    def is_open(self) -> bool:
        return any(worker.takes_clients for worker in self.members.values())

    def assign(self, client: socket.socket) -> None:
        """Find a worker for a client."""
        takers = [worker for worker in self.members.values() if worker.takes_clients]
        if not takers:
            self._waiting.append(client)
            return
        chosen = min(takers, key=lambda worker: (worker.stalled, worker.clients, self._last.get(worker.number, 0)))
        self._turn += 1
        self._last[chosen.number] = self._turn
        chosen.hand(client)

    def reassign(self) -> None:
        """Somebody takes clients now: find places for those who wait."""
        waiting, self._waiting = self._waiting, []
        for client in waiting:
            self.assign(client)

    def remove(self, worker: WorkerProcess) -> None:
        """It is gone. What it had not taken goes to others."""
        self.members.pop(worker.number, None)
        for client in worker.not_taken():
            self.assign(client)

    def turn_away(self) -> None:
        """Nobody will come for those who wait."""
        waiting, self._waiting = self._waiting, []
        for client in waiting:
            client.close()
