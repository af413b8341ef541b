"""Fixtures: PgBeams with two workers, and clients of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ..beams import Beam
from ..clusters import Cluster
from ..conftest import BeamFactory
from ..wireclient import WireClient


@pytest.fixture
def two(cluster: Cluster, beam: BeamFactory) -> Callable[..., Beam]:
    """two(mode, settings={…}) starts a PgBeam with two workers."""

    def start(mode: str = "transaction", settings: dict[str, Any] | None = None, **more: Any) -> Beam:
        return beam(cluster, mode, settings={"workers": 2, **(settings or {})}, **more)

    return start


@pytest.fixture
def mortal(cluster: Cluster, tmp_path: Path) -> Iterator[Beam]:
    """One with two workers, which the test itself ends."""
    mine = Beam(cluster, "transaction", tmp_path, settings={"workers": 2})
    yield mine
    if mine.process.poll() is None:
        mine.process.kill()
        mine.process.wait()


@pytest.fixture
def pair(cluster: Cluster, shared_beam: BeamFactory) -> Callable[[str], Beam]:
    """pair(mode) gives one with two workers to tests that do it no harm."""
    return lambda mode: shared_beam(cluster, mode, settings={"workers": 2})


@pytest.fixture
def crowd() -> Iterator[Callable[..., list[WireClient]]]:
    """crowd(beam, 4) gives so many clients, which hang up after the test."""
    there: list[WireClient] = []

    def come(beam: Beam, number: int, **login: Any) -> list[WireClient]:
        fresh = [beam.wire(**login) for _ in range(number)]
        there.extend(fresh)
        return fresh

    yield come
    for client in there:
        client.close()
