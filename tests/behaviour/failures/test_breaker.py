"""The circuit breaker in front of a real server: what reaches it while it is open is one probe."""

from __future__ import annotations

import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.behaviour import frames
from tests.behaviour.beams import Beam
from tests.behaviour.clusters import Cluster
from tests.behaviour.relay import Fault, Relay
from tests.behaviour.wireclient import WireClient, error_fields

from .trio import until

pytestmark = [pytest.mark.pg, pytest.mark.newest, pytest.mark.slow]

CLIENTS = 12
OPEN = "upstream unavailable (circuit breaker open)"
SERVED = "served"


class Crowd:
    """Clients who ask all the time, each in a thread of its own, and what they were told."""

    def __init__(self, clients: list[WireClient]) -> None:
        self.told: Counter[str] = Counter()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(client,), daemon=True) for client in clients]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(20)

    def _ask(self, client: WireClient) -> None:
        while not self._stop.is_set():
            reply = client.ask(frames.query("SELECT 1"))
            errors = [error_fields(frame.body)["M"] for frame in reply if frame.tag == b"E"]
            self.told[errors[0] if errors else SERVED] += 1
            time.sleep(0.02)


def test_one_probe_at_a_time_reaches_a_server_that_is_down(cluster: Cluster, tmp_path: Path) -> None:
    """Twelve clients ask all the time: from the third failure on nothing reaches the server for five seconds, then one
    connection, then none for ten more; when a probe is answered all of them are served."""
    relay = Relay(cluster.port)
    beam = Beam(cluster, "transaction", tmp_path, project={"upstream": f"postgresql://127.0.0.1:{relay.port}"})
    clients = [beam.wire() for _ in range(CLIENTS)]
    crowd = Crowd(clients)
    try:
        until(lambda: crowd.told[SERVED] > 10 * CLIENTS, "they are served")
        relay.begin(Fault("close"))
        until(lambda: crowd.told[OPEN] > CLIENTS, "the breaker opens")
        opened, before = time.monotonic(), relay.accepted
        until(lambda: relay.accepted > before, "it is probed", 15)
        assert time.monotonic() - opened > 3
        time.sleep(4)
        assert relay.accepted == before + 1
        relay.heal()
        served = crowd.told[SERVED]
        until(lambda: crowd.told[SERVED] > served + 10 * CLIENTS, "all are served again", 20)
        assert relay.accepted <= before + 2 + CLIENTS
    finally:
        crowd.stop()
        for client in clients:
            client.close()
        beam.stop()
        relay.close()
