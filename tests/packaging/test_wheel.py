"""The wheel, pure and with compiled modules, as a stranger installs it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from pgbeam_core.embedded import EmbeddedPostgres

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PACKAGES = {"pgbeam_core", "pgbeam_cache", "pgbeam_replica", "pgbeam_limits", "pgbeam_pool", "pgbeam_debug"} | {
    "pgbeam_querylog",
    "pgbeam_otel",
}
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
    return installed(wheel, tmp_path_factory.mktemp("clean"))


@pytest.fixture(scope="module")
def compiled_wheel(tmp_path_factory) -> Path:
    """Built with nothing at hand but what the build asks for: here, no Twisted."""
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(ROOT), HATCH_BUILD_HOOKS_ENABLE="1")
    (built,) = folder.glob("pgbeam-*.whl")
    return built


@pytest.fixture(scope="module")
def clean_compiled(compiled_wheel, tmp_path_factory) -> Path:
    """Like `clean`, with the compiled wheel."""
    return installed(compiled_wheel, tmp_path_factory.mktemp("clean"))


@pytest.fixture
def server(open_tmp_path) -> Iterator[EmbeddedPostgres]:
    postgres = EmbeddedPostgres(open_tmp_path / "postgres", durable=False)
    postgres.start()
    yield postgres
    postgres.stop()


def installed(wheel: Path, folder: Path) -> Path:
    """The bin folder of a fresh environment with the wheel."""
    venv.create(folder, with_pip=True)
    run(str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(wheel))
    return folder / "bin"


def run(*arguments: str, cwd: Path = ROOT, **environ: str) -> str:
    done = subprocess.run(arguments, cwd=cwd, env=os.environ | environ, capture_output=True, text=True, check=False)
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
    page = {path.name for path in (ROOT / "pgbeam_core" / "web" / "static").iterdir()}
    assert {name.rpartition("/")[2] for name in names if name.startswith("pgbeam_core/web/static/")} == page
    assert any(name.endswith("/licenses/LICENSE") for name in names)


def test_every_entry_point_loads_in_a_clean_environment(clean, tmp_path):
    """The built-in plugins need nothing that the wheel does not ask for."""
    assert run(str(clean / "python"), "-c", LOAD_ALL, cwd=tmp_path).split() == [
        "cache", "debug", "limits", "otel", "pool", "querylog", "replica"
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


def test_the_compiled_wheel_is_for_this_platform_and_has_the_sources_too(compiled_wheel):
    """pip does not install it where it cannot run; tracebacks and type checkers find the sources."""
    assert not compiled_wheel.name.endswith("-none-any.whl")
    names = zipfile.ZipFile(compiled_wheel).namelist()
    for module in ("pgbeam_core/api/query", "pgbeam_pool/pool"):
        assert f"{module}.py" in names
        assert any(name.startswith(f"{module}.") and name.endswith(".so") for name in names)


def test_the_compiled_wheel_answers_queries(clean_compiled, server, free_port, tmp_path):
    """What is installed from it runs compiled, and runs."""
    pgbeam = str(clean_compiled / "pgbeam")
    assert run(pgbeam, "--version", cwd=tmp_path).endswith(" (compiled)\n")
    where = "from pgbeam_core.api import query; print(query.__file__)"
    assert run(str(clean_compiled / "python"), "-c", where, cwd=tmp_path).endswith(".so\n")
    upstream = f"postgresql://127.0.0.1:{server.port}/postgres?sslmode=disable"
    command = [pgbeam, "run", "--upstream", upstream, "--listen", f"127.0.0.1:{free_port}"]
    with subprocess.Popen(command, cwd=tmp_path) as process:
        try:
            with connected(free_port, server.user) as connection:
                for number in range(20):
                    assert connection.execute("SELECT %s + 1", [number]).fetchone() == (number + 1,)
        finally:
            process.terminate()
    assert process.returncode == 0


def test_an_editable_install_is_never_compiled(tmp_path):
    """What a developer edits is what runs, whatever the environment says."""
    build = "import sys, hatchling.build as backend; print(backend.build_editable(sys.argv[1]))"
    built = run(sys.executable, "-c", build, str(tmp_path), HATCH_BUILD_HOOKS_ENABLE="1")
    assert built.endswith("-none-any.whl\n")


def connected(port: int, user: str) -> psycopg.Connection:
    """A connection, as soon as PgBeam takes any."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return psycopg.connect(f"host=127.0.0.1 port={port} user={user} dbname=postgres", autocommit=True)
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
