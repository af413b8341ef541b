"""Schedules of two clients are drawn, statement by statement, and every reply is what two direct connections are told.

SOAK_SECONDS makes it run for longer. A failure names its seed: SOAK_SEED=… runs the same again, first of all, and
SOAK_SHRINK=1 looks for the shortest way to the failure, which may take minutes.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.behaviour.beams import Beam, Direct
from tests.behaviour.clusters import Cluster
from tests.behaviour.conftest import BeamFactory

from . import schedules

pytestmark = pytest.mark.newest

SECONDS = float(os.environ.get("SOAK_SECONDS", "8")) / 4
SEED = int(os.environ.get("SOAK_SEED", "1"))
SETTINGS = settings(
    max_examples=8,
    deadline=None,
    database=None,
    print_blob=False,
    phases=[Phase.generate, Phase.shrink] if "SOAK_SHRINK" in os.environ else [Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture
def twin(cluster: Cluster) -> Iterator[Cluster]:
    """The cluster with the twins' database."""
    schedules.prepare(cluster)
    yield cluster
    schedules.tidy(cluster)


def soak(place: Direct, *, cached: bool) -> Counter[bytes]:
    """Play the schedules of one seed after the other until the time is over, but those of one at least."""
    counts: Counter[bytes] = Counter()
    number, until = SEED, time.monotonic() + SECONDS
    while True:
        _play(place, number, counts, cached=cached)
        number += 1
        if time.monotonic() > until:
            return counts


def _play(place: Direct, number: int, counts: Counter[bytes], *, cached: bool) -> None:
    @seed(number)
    @SETTINGS
    @given(schedules.turns(cached=cached))
    def play(turns: list[schedules.Turn]) -> None:
        schedule = schedules.Schedule(place)
        try:
            schedule.play(turns)
        finally:
            counts.update(schedule.notices)
            schedule.close()

    try:
        play()
    except Exception as problem:
        problem.add_note(f"SOAK_SEED={number}, {'with' if cached else 'without'} remembered replies")
        raise


def pooled(beam: BeamFactory, cluster: Cluster, lazy: str) -> Beam:
    """PgBeam in transaction mode with a server for each of the two, and one for whoever resets the tables."""
    pool = {"max_active": 3, "wait_timeout_s": 8}
    own = {"lazy_transactions": lazy}
    return beam(cluster, "transaction", settings={"plugins": {"pool": pool}}, project=own, witnessed=True)


@pytest.mark.parametrize("cached", [False, True], ids=["asked", "remembered"])
@pytest.mark.parametrize(
    "lazy", ["reads", pytest.param("begin", marks=pytest.mark.slow), pytest.param("off", marks=pytest.mark.slow)]
)
def test_schedules_end_as_direct_ones(twin: Cluster, beam: BeamFactory, lazy: str, cached: bool) -> None:
    """Whatever two transactions do beside each other, each reads, waits and fails as it would direct."""
    place = pooled(beam, twin, lazy)
    if cached:
        place.wait_for_catalog()
    counts = soak(place, cached=cached)
    assert counts[b"waited"] > 0
    assert (counts[b"cache=hit"] > 0) is cached
    assert (counts[b"transaction=lazy"] > 0) is (lazy != "off")


@pytest.mark.slow
def test_the_schedules_themselves(twin: Cluster) -> None:
    """Two pairs of direct connections are told the same: the test has no mistake of its own."""
    soak(Direct(twin), cached=False)
