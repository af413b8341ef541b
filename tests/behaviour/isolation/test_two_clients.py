"""Two clients on one or two servers do what comes to mind, and each is told what a connection of its own would be told.

SOAK_SECONDS makes it run for longer. A failure names its seed: SOAK_SEED=… runs the same again, first of all, and
SOAK_SHRINK=1 looks for the shortest way to the failure, which may take minutes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.behaviour.beams import Beam, Direct
from tests.behaviour.clusters import Cluster
from tests.behaviour.conftest import BeamFactory
from tests.behaviour.quickly import SHARING

from . import two_clients

pytestmark = pytest.mark.newest

SECONDS = float(os.environ.get("SOAK_SECONDS", "8")) / 4
SEED = int(os.environ.get("SOAK_SEED", "1"))
SETTINGS = settings(
    max_examples=5,
    stateful_step_count=40,
    deadline=None,
    database=None,
    print_blob=False,
    phases=[Phase.generate, Phase.shrink] if "SOAK_SHRINK" in os.environ else [Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture
def twin(cluster: Cluster) -> Iterator[Cluster]:
    """The cluster with a second database to compare with."""
    two_clients.prepare(cluster)
    yield cluster
    two_clients.tidy(cluster)


def soak(where: Direct, max_active: int, seconds: float) -> None:
    """Run the state machine with one seed after the other until the time is over, but once at least."""

    class Machine(two_clients.TwoClients):
        place = where
        servers = max_active

    number, until = SEED, time.monotonic() + seconds
    while True:
        machine = seed(number)(type(f"Machine{number}", (Machine,), {}))
        try:
            run_state_machine_as_test(machine, settings=SETTINGS)
        except Exception as problem:
            problem.add_note(f"SOAK_SEED={number}, {max_active} servers")
            raise
        number += 1
        if time.monotonic() > until:
            return


def pooled(beam: BeamFactory, cluster: Cluster, max_active: int, *, share: bool) -> Beam:
    """PgBeam in transaction mode with that many servers."""
    pool = {"max_active": max_active, "wait_timeout_s": 8, "share": share}
    return beam(cluster, "transaction", settings={"plugins": {"pool": pool}}, witnessed=True)


@pytest.mark.parametrize("share", SHARING)
@pytest.mark.parametrize("max_active", [1, 2])
def test_two_clients_never_notice_each_other(twin: Cluster, beam: BeamFactory, max_active: int, share: bool) -> None:
    """Whatever two clients do on shared servers, each hears byte for byte what it would hear alone."""
    place = pooled(beam, twin, max_active, share=share)
    soak(place, max_active, SECONDS)
    assert (place.shared_turns() > 0) is place.shares


@pytest.mark.slow
def test_the_machine_itself(twin: Cluster) -> None:
    """Two direct connections are told the same: the test has no mistake of its own."""
    soak(Direct(twin), 2, SECONDS)
