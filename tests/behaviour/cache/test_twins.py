"""Whatever two sessions set, write and begin: what the cache gives them is what the server would have given.

SOAK_SECONDS makes it run for longer. A failure names its seed: SOAK_SEED=… runs the same again, first of all, and
SOAK_SHRINK=1 looks for the shortest way to the failure, which may take minutes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.behaviour.beams import Beam
from tests.behaviour.cache import twins
from tests.behaviour.clusters import Cluster

pytestmark = [pytest.mark.pg, pytest.mark.newest, pytest.mark.usefixtures("fresh_shop")]
SECONDS = float(os.environ.get("SOAK_SECONDS", "8")) / 4
SEED = int(os.environ.get("SOAK_SEED", "1"))
EXAMPLES = 10
SETTINGS = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    print_blob=False,
    phases=[Phase.generate, Phase.shrink] if "SOAK_SHRINK" in os.environ else [Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture
def twin(cluster: Cluster, fresh_shop: None) -> Iterator[Cluster]:
    """The cluster with the twins' database."""
    twins.prepare(cluster)
    yield cluster
    twins.tidy(cluster)


def play(running: Beam, number: int) -> int:
    """A few conversations from that seed; gives how many replies came from the cache."""
    hits = 0

    @seed(number)
    @SETTINGS
    @given(twins.STEPS)
    def converse(steps: list[twins.Step]) -> None:
        nonlocal hits
        pairs = twins.Pairs(running)
        try:
            for place, step in enumerate(steps):
                said, right = pairs.both(step)
                assert said == right, f"step {place}: {step}"
        finally:
            hits += pairs.hits
            pairs.close()

    try:
        converse()
    except Exception as problem:
        problem.add_note(f"SOAK_SEED={number}, {running.pool_mode} mode")
        raise
    return hits


@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_two_sessions_are_told_what_their_twins_are(twin: Cluster, beam: Callable[..., Beam], mode: str) -> None:
    """Settings, roles, transactions, temporary tables, writes: in any order, in simple and extended protocol."""
    running = beam(twin, mode, plugins="cache,pool,debug")
    number, until, hits = SEED, time.monotonic() + SECONDS, 0
    while True:
        hits += play(running, number)
        number += 1
        if time.monotonic() > until:
            break
    assert hits > (number - SEED) * EXAMPLES
