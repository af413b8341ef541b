"""Fixtures: a cluster per server version, PgBeam in front of it per pool mode, and a direct leg to check the tests."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .beams import PGBEAM, Beam, Direct
from .clusters import RESET, Cluster, installation, start_cluster

VERSIONS = (18, 15)
LEGS = ("direct", "session", "transaction")
BeamFactory = Callable[..., Beam]


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers that are used here."""
    config.addinivalue_line("markers", "slow: takes more than a few seconds")


@pytest.fixture(scope="session")
def clusters() -> Iterator[Callable[[int], Cluster]]:
    """Gives the cluster of a version, started when first asked for; skips where that version is not installed."""
    running: dict[int, Cluster] = {}

    def of(version: int) -> Cluster:
        if version not in running:
            found = installation(version)
            if found is None:
                pytest.skip(f"PostgreSQL {version} is not installed here")
            running[version] = start_cluster(found)
        return running[version]

    yield of
    for cluster in running.values():
        cluster.stop()


@pytest.fixture(scope="session", params=VERSIONS, ids=lambda version: f"pg{version}")
def cluster(request: pytest.FixtureRequest, clusters: Callable[[int], Cluster]) -> Cluster:
    """A running server of each supported version."""
    return clusters(request.param)


@pytest.fixture(scope="session")
def shared_beam(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BeamFactory]:
    """Gives the PgBeam for (cluster, pool mode, settings), the same one to every test that asks for the same."""
    running: dict[str, Beam] = {}

    def of(cluster: Cluster, pool_mode: str, **options: Any) -> Beam:
        _need_pgbeam()
        key = json.dumps([cluster.port, pool_mode, options], sort_keys=True)
        if key not in running or running[key].process.poll() is not None:
            running[key] = Beam(cluster, pool_mode, tmp_path_factory.mktemp("beam"), **options)
        return running[key]

    yield of
    _stop_all(list(running.values()))


@pytest.fixture
def beam(tmp_path: Path) -> Iterator[BeamFactory]:
    """Starts PgBeam for one test: beam(cluster, pool_mode, plugins=…, settings={…}, project={…})."""
    running: list[Beam] = []

    def start(cluster: Cluster, pool_mode: str, **options: Any) -> Beam:
        _need_pgbeam()
        running.append(Beam(cluster, pool_mode, tmp_path, **options))
        return running[-1]

    yield start
    _stop_all(running)


@pytest.fixture(params=LEGS)
def leg(request: pytest.FixtureRequest, cluster: Cluster, shared_beam: BeamFactory) -> Direct:
    """Where an application connects to: the server itself, PgBeam in session mode, PgBeam in transaction mode."""
    if request.param == "direct":
        return Direct(cluster)
    return shared_beam(cluster, request.param)


@pytest.fixture
def fresh_shop(cluster: Cluster) -> None:
    """The shop as it was seeded."""
    with cluster.connect() as boss:
        boss.execute("SET lock_timeout = '10s'")
        boss.execute(RESET)


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with node-postgres; skips where there is no node, no npm or no registry."""
    if missing := [name for name in ("node", "npm") if shutil.which(name) is None]:
        pytest.skip(f"{' and '.join(missing)} not installed here")
    made = tmp_path_factory.mktemp("node")
    shutil.copy(Path(__file__).parent / "drivers" / "node" / "package.json", made)
    command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts"]
    done = subprocess.run(command, check=False, cwd=made, capture_output=True, text=True, timeout=120)
    if done.returncode:
        pytest.skip(f"npm could not install node-postgres: {done.stderr[-300:]}")
    return made


def _need_pgbeam() -> None:
    if not PGBEAM.exists():
        pytest.skip("the command pgbeam is not installed in this environment")


def _stop_all(beams: list[Beam]) -> None:
    """Stop every one of them, then report all that went wrong."""
    problems = []
    for beam in beams:
        try:
            beam.stop()
        except AssertionError as problem:
            problems.append(f"{beam.pool_mode} mode, {' '.join(beam.command)}: {problem}")
    assert not problems, "\n".join(problems)
