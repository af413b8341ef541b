"""The wheel, as a stranger installs it."""

from __future__ import annotations

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PACKAGES = {"pgbeam_core", "pgbeam_cache", "pgbeam_replica", "pgbeam_limits", "pgbeam_pool", "pgbeam_debug"}
LOAD_ALL = """
from importlib.metadata import entry_points
print(*sorted(entry.name for entry in entry_points(group="pgbeam") if entry.load() is not None))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT))
    (built,) = folder.glob("pgbeam-*.whl")
    return built


@pytest.fixture(scope="module")
def clean(wheel, tmp_path_factory) -> Path:
    """The bin folder of a virtual environment with nothing in it but the wheel and what it asks for."""
    folder = tmp_path_factory.mktemp("clean")
    venv.create(folder, with_pip=True)
    run(str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(wheel))
    return folder / "bin"


def run(*arguments: str, cwd: Path = ROOT) -> str:
    done = subprocess.run(arguments, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_holds_the_packages_and_nothing_else(wheel):
    """Installing PgBeam puts no `plugins` or `tests` among other people's packages."""
    names = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {name for name in names if not name.endswith(".dist-info")} == PACKAGES


def test_the_wheel_holds_what_is_not_python(wheel):
    """Defaults, seed, type marker and licence come along."""
    names = zipfile.ZipFile(wheel).namelist()
    for wanted in ("pgbeam_core/defaults.toml", "pgbeam_core/embedded/shop.sql", "pgbeam_core/py.typed"):
        assert wanted in names
    assert any(name.endswith("/licenses/LICENSE") for name in names)


def test_every_entry_point_loads_in_a_clean_environment(clean, tmp_path):
    """The built-in plugins need nothing that the wheel does not ask for."""
    assert run(str(clean / "python"), "-c", LOAD_ALL, cwd=tmp_path).split() == [
        "cache", "debug", "limits", "pool", "replica"
    ]  # fmt: skip


def test_the_command_works_in_a_clean_environment(clean, tmp_path):
    """`pgbeam` starts without a settings file, development tools or the embedded server."""
    pgbeam = str(clean / "pgbeam")
    assert run(pgbeam, "--version", cwd=tmp_path).startswith("pgbeam ")
    assert "transaction" in run(pgbeam, "check", "--set", "projects.a.upstream=postgresql://127.0.0.1", cwd=tmp_path)
    assert "pgbeam_pool" in run(pgbeam, "plugins", cwd=tmp_path)


def test_without_the_embedded_server_the_error_says_what_to_do(clean, tmp_path):
    """`pip install pgbeam` alone has nothing to start in front of, and says so in one line."""
    done = subprocess.run([str(clean / "pgbeam"), "run"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("pgbeam: no embedded PostgreSQL is installed: run pip install")
