"""Fixtures: one cluster of the newest version, and PgBeam in front of it, with a gauge."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.attacks import siege
from tests.behaviour.beams import PGBEAM, Beam
from tests.behaviour.clusters import Cluster, installation, start_cluster
from tests.behaviour.quickly import NEWEST

Fort = Callable[..., Beam]


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A running PostgreSQL."""
    found = installation(NEWEST)
    if found is None:
        pytest.skip("PostgreSQL is not installed here")
    started = start_cluster(found)
    yield started
    started.stop()


@pytest.fixture(scope="session")
def fort(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fort]:
    """fort(pool_mode, workers=1, settings={…}, project={…}): a PgBeam, the same for all who ask for the same."""
    running: dict[str, Beam] = {}

    def of(pool_mode: str = "transaction", *, workers: int = 1, **options: Any) -> Beam:
        if not PGBEAM.exists():
            pytest.skip("the command pgbeam is not installed in this environment")
        key = json.dumps([pool_mode, workers, options], sort_keys=True)
        if key not in running or running[key].process.poll() is not None:
            running[key] = start(cluster, pool_mode, tmp_path_factory.mktemp("fort"), workers, options)
        return running[key]

    yield of
    for beam in running.values():
        if beam.process.poll() is None:
            beam.stop()


def start(cluster: Cluster, pool_mode: str, folder: Path, workers: int, options: dict[str, Any]) -> Beam:
    """One in a folder of its own, which no other PgBeam may use."""
    settings = {"workers": workers, "log_format": "json", **options.get("settings", {})}
    found = siege.importable(folder)
    return Beam(
        cluster, pool_mode, folder, plugins=siege.PLUGINS, environment=found, **{**options, "settings": settings}
    )
