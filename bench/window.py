"""The part of a run in which all clients are connected and none has left: opening connections is no part of a query."""

from __future__ import annotations

import time
from pathlib import Path

from bench.figures import Sample
from bench.places import Place
from bench.stage import Cpu, Stage, price

POLL_S = 0.02
LOGIN_S = 0.15
"""The last client is connected a moment before it is logged in."""
CONNECT_S = 30.0
MARGIN_S = 0.3
"""A window ends so long before the run does."""
ESTABLISHED = "01"


class Window:
    """CPU time of proxy, PostgreSQL and client while a run goes on."""

    def __init__(self, stage: Stage, place: Place, clients: int) -> None:
        self._stage, self._place, self._clients = stage, place, clients
        self._before: Cpu | None = None
        self._after: Cpu | None = None
        self._lasted_s = 0.0

    def watch(self, client: int) -> None:
        """Wait for the window's beginning and for its end; `client` is the pid of the program that asks."""
        deadline = time.monotonic() + CONNECT_S
        while connections(self._place.port) < self._clients:
            if time.monotonic() > deadline or not Path(f"/proc/{client}/fd").exists():
                return
            time.sleep(POLL_S)
        time.sleep(LOGIN_S)
        begin, self._before = time.monotonic(), self._stage.cpu(self._place, client)
        time.sleep(self._stage.seconds - MARGIN_S - LOGIN_S)
        self._after, self._lasted_s = self._stage.cpu(self._place, client), time.monotonic() - begin

    def price(self, sample: Sample) -> None:
        """Put the costs of a unit into the sample, which has its rate; a run that never had a window has no costs."""
        if self._before is not None and self._after is not None and sample.rate is not None:
            price(sample, self._before, self._after, sample.rate * self._lasted_s)


def connections(port: int) -> int:
    """How many clients of this machine are connected to that TCP port."""
    return count_established(Path("/proc/net/tcp").read_text(), port)


def count_established(table: str, port: int) -> int:
    """The same of the text of /proc/net/tcp: lines whose remote address has that port."""
    rows = [line.split() for line in table.splitlines()[1:]]
    return sum(row[3] == ESTABLISHED and int(row[2].rpartition(":")[2], 16) == port for row in rows)
