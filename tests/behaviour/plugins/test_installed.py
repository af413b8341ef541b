"""A third party's plugin, as its users get it: two wheels in an environment of their own."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import time
import venv
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.behaviour import beams
from tests.behaviour.beams import Beam
from tests.behaviour.clusters import Cluster, installation, start_cluster

pytestmark = [pytest.mark.slow, pytest.mark.pg]

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "examples" / "pgbeam-audit"


def run(*arguments: object, cwd: Path = ROOT) -> str:
    done = subprocess.run([str(part) for part in arguments], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The bin folder of a fresh environment with both wheels; only what they depend on comes from this one."""
    wheels = tmp_path_factory.mktemp("wheels")
    for source in (ROOT, EXAMPLE):
        run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", wheels, source)
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--python", python)
    run(*pip, "install", "--no-deps", "--no-index", *wheels.glob("*.whl"))
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return folder / "bin"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A server with the shop."""
    found = installation(18) or installation(15)
    if found is None:
        pytest.skip("no PostgreSQL is installed here")
    cluster = start_cluster(found)
    yield cluster
    cluster.stop()


def test_the_environment_uses_the_wheels(installed, tmp_path):
    """What runs is what was installed, not this checkout."""
    script = "import pgbeam_core, pgbeam_audit; print(pgbeam_core.__file__, pgbeam_audit.__file__)"
    for file in run(installed / "python", "-c", script, cwd=tmp_path).split():
        assert Path(file).is_relative_to(installed.parent)


def test_pgbeam_lists_the_plugin(installed, tmp_path):
    """`pgbeam plugins` names it with its version and where it comes from."""
    listed = run(installed / "pgbeam", "plugins", cwd=tmp_path)
    line = next(line for line in listed.splitlines() if "audit" in line)
    assert "0.1.0" in line
    assert "pgbeam-audit" in line


def test_every_query_gives_a_line(installed, cluster, tmp_path, monkeypatch):
    """With `--plugins audit,pool` a driver's queries stand in the file, without their values."""
    monkeypatch.setattr(beams, "PGBEAM", installed / "pgbeam")
    path = tmp_path / "queries.jsonl"
    settings = {"plugins": {"audit": {"path": str(path)}}}
    beam = Beam(cluster, "transaction", tmp_path, plugins="audit,pool", settings=settings)
    try:
        with psycopg.connect(beam.url(), autocommit=True) as client:
            assert client.execute("SELECT name FROM products WHERE id = %s", [3]).fetchall() == [("product 3",)]
            client.execute("UPDATE accounts SET balance = 4711 WHERE id IN (1, 2)")
            with pytest.raises(psycopg.errors.UndefinedColumn):
                client.execute("SELECT secret FROM products")
        deadline = time.monotonic() + 10
        while path.read_text().count("\n") < 3 and time.monotonic() < deadline:
            time.sleep(0.05)
    finally:
        beam.stop()
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    told = [(line["kind"], line["rows"], line["source"], line["error"]) for line in lines]
    assert told == [("select", 1, "server", None), ("update", 2, "server", None), ("select", 0, "server", "42703")]
    assert {(line["user"], line["database"]) for line in lines} == {("app", "shop")}
    assert lines[0]["shape"] == "SELECT name FROM products WHERE id = $1"
    assert all(line["duration_ms"] > 0 and len(line["query_hash"]) == 16 for line in lines)
    assert "4711" not in json.dumps([line["shape"] for line in lines])


def test_the_examples_own_tests_pass(installed):
    """What its README tells a newcomer to do works."""
    ended = run(installed / "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=EXAMPLE)
    assert " passed" in ended
