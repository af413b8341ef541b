"""One read in a transaction by Django's requests, node-postgres and JDBC: what reaches PostgreSQL, by its own log."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ..clusters import Cluster
from ..conftest import BeamFactory
from ..transactions.test_lazy import CACHED, NAME, READ, Log

pytestmark = pytest.mark.pg
HERE = Path(__file__).parent
JDBC = Path("/usr/share/java/postgresql.jar")
ENDS = {"BEGIN", "START", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE"}
Command = Callable[[str, str, str], list[str]]


def _django(url: str, sql: str, way: str) -> list[str]:
    return [sys.executable, str(HERE / "django_site.py"), url, sql, way]


def _jdbc(url: str, sql: str, way: str) -> list[str]:
    if shutil.which("java") is None or not JDBC.exists():
        pytest.skip("java or libpostgresql-jdbc-java not installed here")
    address, _, options = url.removeprefix("postgresql://boss@").partition("?")
    mode = "&preferQueryMode=simple" if way == "simple" else ""
    source = f"jdbc:postgresql://{address}?user=boss&{options}{mode}"
    return ["java", "-Xshare:auto", "-cp", str(JDBC), str(HERE / "Read.java"), source, sql, way]


@pytest.fixture(scope="session")
def node_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with node-postgres; skips where there is no node, no npm or no registry."""
    if missing := [name for name in ("node", "npm") if shutil.which(name) is None]:
        pytest.skip(f"{' and '.join(missing)} not installed here")
    made = tmp_path_factory.mktemp("node")
    for script in ("read.js", "read_js.js"):
        shutil.copy(HERE / script, made)
    shutil.copy(HERE.parent / "drivers" / "node" / "package.json", made)
    command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts"]
    done = subprocess.run(command, check=False, cwd=made, capture_output=True, text=True, timeout=120)
    if done.returncode:
        pytest.skip(f"npm could not install node-postgres: {done.stderr[-300:]}")
    return made


@pytest.fixture(scope="session")
def older_sqlalchemy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with SQLAlchemy 1.4; skips where pip cannot have it."""
    made = tmp_path_factory.mktemp("sqlalchemy")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(made), "sqlalchemy>=1.4.54,<2"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    if done.returncode:
        pytest.skip(f"pip could not install SQLAlchemy 1.4: {done.stderr[-300:]}")
    return made


@pytest.fixture
def url(cluster: Cluster, shared_beam: BeamFactory) -> str:
    """PgBeam in transaction mode, for a role whose statements are logged by the server."""
    beam = shared_beam(cluster, "transaction", settings={"plugins": {"cache": {"l2": "off"}}})
    return beam.url("boss", options="-c log_statement=all")


def _run(command: list[str]) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("DJANGO", "PG"))}
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=90, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip() == NAME


def _reads_lazily(cluster: Cluster, url: str, command: Command, way: str) -> None:
    """Once as it is, and twice from the cache. What a driver asks for at its start is its own affair."""
    log = Log(cluster)
    _run(command(url, READ, way))
    assert not ENDS & set(log.words()), log.statements()
    assert [text.replace("$1", "5") for text in log.statements() if "FROM products" in text] == [READ]
    cached = f"{CACHED} -- {command.__name__} {way} {time.monotonic_ns()}"
    _run(command(url, cached, way))
    log = Log(cluster)
    _run(command(url, cached, way))
    assert not ENDS & set(log.words()), log.statements()
    assert not [text for text in log.statements() if "FROM products" in text]


@pytest.mark.parametrize("way", ["plain", "nested"])
def test_a_request_of_django_with_atomic_requests(cluster: Cluster, url: str, way: str) -> None:
    """No BEGIN, SAVEPOINT, RELEASE or COMMIT for a view that reads; for one whose read is cached no read either."""
    _reads_lazily(cluster, url, _django, way)


@pytest.mark.parametrize("way", ["extended", "max_rows", "simple"])
def test_a_transaction_of_jdbc(cluster: Cluster, url: str, way: str) -> None:
    """It sends BEGIN together with the read."""
    _reads_lazily(cluster, url, _jdbc, way)


@pytest.mark.parametrize("way", ["simple", "prepared"])
def test_a_transaction_of_node_postgres(cluster: Cluster, url: str, node_folder: Path, way: str) -> None:
    """BEGIN and COMMIT by the simple protocol, the read by either."""

    def node(url: str, sql: str, way: str) -> list[str]:
        return ["node", str(node_folder / "read.js"), url, sql, way]

    _reads_lazily(cluster, url, node, way)


@pytest.mark.parametrize("way", ["parameter", "parameter unnamed", "plain"])
def test_a_transaction_of_postgres_js(cluster: Cluster, url: str, node_folder: Path, way: str) -> None:
    """It learns the columns up to a Flush before it reads, and asks for those of its COMMIT in the same request."""

    def postgres_js(url: str, sql: str, way: str) -> list[str]:
        text = sql.replace("= 5", "= $1") if way.startswith("parameter") else sql
        return ["node", str(node_folder / "read_js.js"), url, text, way]

    _reads_lazily(cluster, url, postgres_js, way)


@pytest.mark.parametrize("driver", ["psycopg2", "pg8000"])
def test_sqlalchemy_before_2(cluster: Cluster, url: str, older_sqlalchemy: Path, driver: str) -> None:
    """`engine.connect()` and an ORM session of 1.4: one SELECT each, and from the cache nothing."""
    command = [sys.executable, str(HERE / "older_sqlalchemy.py"), str(older_sqlalchemy), url]
    log = Log(cluster)
    _run([*command, READ, driver])
    assert _behind_mark(log) == [READ, READ]
    cached = f"{CACHED} -- {driver} {time.monotonic_ns()}"
    _run([*command, cached, driver])
    log = Log(cluster)
    _run([*command, cached, driver])
    assert _behind_mark(log) == []


def _behind_mark(log: Log) -> list[str]:
    """What came behind the statement with which the program begins, once the engine knows its server."""
    found = log.statements()
    return found[found.index("SELECT 'begun'") + 1 :]
