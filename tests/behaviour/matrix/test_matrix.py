"""Whatever code of users runs, however it ends: who ran it has what PostgreSQL leaves them, and nobody else has.

A failure names its cells; `MATRIX_SEED=n` chooses others of the many that there are.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ..beams import Direct
from ..clusters import Cluster
from ..conftest import BeamFactory
from . import schema
from .cells import OUTCOMES, PROTOCOLS, Cell, Outcome, chosen, possible
from .places import Alone, OneForAll
from .running import Comparison
from .things import BY_NAME
from .ways import WAYS

pytestmark = [pytest.mark.pg, pytest.mark.newest]

SEED = int(os.environ.get("MATRIX_SEED", "0"))
MODES = ("transaction", "cached", "statement", "session")
SHARDS = 4
QUICK = {"transaction": 7, "cached": 30, "statement": 20, "session": 60}
"""One in how many pairs of a way and a thing; those of make soak: all of them in transaction mode."""
WHOLE = {"transaction": 1, "cached": 2, "statement": 3, "session": 6}
FOR_SOAK = (pytest.mark.slow, pytest.mark.skipif("SOAK_SECONDS" not in os.environ, reason="for make soak"))
ENOUGH = 15
"""After so many differences the rest would only take time."""


@pytest.fixture(scope="module")
def built() -> Iterator[Callable[[Cluster], Cluster]]:
    """Gives a cluster with the databases of the matrix."""
    done: dict[int, Cluster] = {}

    def of(cluster: Cluster) -> Cluster:
        if cluster.port not in done:
            schema.build(cluster)
            done[cluster.port] = cluster
        return cluster

    yield of
    for cluster in done.values():
        if cluster.process is not None and cluster.process.poll() is None:  # else all that it had is gone with it
            schema.tear_down(cluster)


def place(beam: BeamFactory, cluster: Cluster, mode: str) -> Direct:
    """PgBeam with one server; who logs in does not need it."""
    settings: dict[str, Any] = {"pool": {"max_active": 1, "wait_timeout_s": 8}}
    if mode == "cached":
        settings["cache"] = {"enabled": True}
    pool_mode = "transaction" if mode == "cached" else mode
    return beam(cluster, pool_mode, settings={"plugins": settings}, project={"auth": "trust"})


def differences(where: Direct, cells: list[Cell]) -> tuple[list[str], int]:
    """(what is different in the first cells that differ, in how many both clients were on one server process)."""
    found: list[str] = []
    comparison = Comparison(where)
    try:
        for cell in cells:
            if problems := comparison.run(cell):
                found.append("\n    ".join([str(cell), *problems]))
            if len(found) == ENOUGH:
                break
    finally:
        comparison.close()
    return found, comparison.shared


def plain(name: str) -> Cell:
    """SELECT f() that leaves that thing; its client then hangs up if it has to, instead of cleaning up."""
    cells = (Cell(WAYS[0], BY_NAME[name], OUTCOMES[0], protocol) for protocol in PROTOCOLS)
    return next(cell for cell in cells if cell.number % 3 != 2)


def select(mode: str, share: int, shard: int, seed: int) -> list[Cell]:
    """The cells of a test."""
    cells = chosen(share, seed)
    if mode == "statement":
        cells = [cell for cell in cells if not cell.outcome.before]
    return cells[shard::SHARDS]


def _cases(shares: dict[str, int], offset: int, *marks: pytest.MarkDecorator) -> list[Any]:
    return [
        pytest.param(mode, share, shard, SEED + offset, id=f"{mode}-{share}-{shard}", marks=marks)
        for mode, share in shares.items()
        for shard in range(SHARDS)
    ]


@pytest.mark.parametrize(("mode", "share", "shard", "seed"), [*_cases(QUICK, 0), *_cases(WHOLE, 1, *FOR_SOAK)])
def test_what_code_of_users_leaves_behind(
    cluster: Cluster,
    built: Callable[[Cluster], Cluster],
    shared_beam: BeamFactory,
    mode: str,
    share: int,
    shard: int,
    seed: int,
) -> None:
    """Code of users, run in any way and ended in any way: its client's session is as direct, another one is as new."""
    cells = select(mode, share, shard, seed)
    found, shared = differences(place(shared_beam, built(cluster), mode), cells)
    assert not found, f"{len(found)} differences:\n" + "\n".join(found)
    assert mode == "session" or shared > len(cells) / 2  # else nothing was shown


@pytest.mark.parametrize("name", [name for name, thing in BY_NAME.items() if thing.limit])
def test_a_known_limit_is_still_one(
    cluster: Cluster, built: Callable[[Cluster], Cluster], shared_beam: BeamFactory, name: str
) -> None:
    """What docs/limits-of.md tells of is so; once it is not, the comparison has to be strict there too."""
    comparison = Comparison(place(shared_beam, built(cluster), "transaction"))
    try:
        assert not comparison.run(plain(name))
        assert comparison.known
    finally:
        comparison.close()


def test_the_matrix_itself(cluster: Cluster, built: Callable[[Cluster], Cluster]) -> None:
    """Two direct connections do not differ: the comparison has no mistake of its own."""
    found, _ = differences(Alone(built(cluster)), chosen(30, SEED))
    assert not found, "\n".join(found)


def test_it_would_be_seen(cluster: Cluster, built: Callable[[Cluster], Cluster]) -> None:
    """What one session has and another has not is a difference, for each thing that PostgreSQL leaves."""
    comparison = Comparison(OneForAll(built(cluster)))
    seen = set()
    try:
        for name in BY_NAME:
            before = comparison.known
            if comparison.run(plain(name)) or comparison.known > before:
                seen.add(name)
    finally:
        comparison.close()
    assert set(BY_NAME) - seen == {"set_local", "custom_local", "reset", "temp_drop", "lock_xact", "rows", "nothing"}


def test_there_are_enough_cells() -> None:
    """The quick ones are many; the slow ones have each way with each thing, outcome and protocol that go together."""
    assert sum(len(select(mode, share, shard, 0)) for mode, share in QUICK.items() for shard in range(SHARDS)) > 700
    pairs: set[tuple[str, str]] = set()
    for cell in chosen(1, 1):
        names = cell.way.name, cell.thing.name, cell.outcome.name, cell.protocol
        pairs.update(itertools.combinations(names, 2))
    assert len(pairs) > 5500
    assert sum(possible(way, thing, Outcome("x"), "simple") for way in WAYS for thing in BY_NAME.values()) > 3000
