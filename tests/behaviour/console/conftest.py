"""Fixtures: a PgBouncer to compare with, and a PgBeam with operators, with one process and with three workers."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from ..beams import Beam
from ..clusters import DATABASE, Cluster, die_with_parent, free_port

OPERATORS = {"admin_users": ["app"], "stats_users": ["with_scram"]}


@pytest.fixture(scope="package")
def bouncer(clusters: Callable[[int], Cluster], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PgBouncer as Debian has it, in front of the same cluster; gives the URL of its console."""
    program = shutil.which("pgbouncer") or shutil.which("/usr/sbin/pgbouncer")
    if program is None:
        pytest.skip("PgBouncer is not installed here")
    port, folder = free_port(), tmp_path_factory.mktemp("bouncer")
    config = folder / "pgbouncer.ini"
    config.write_text(
        f"[databases]\n{DATABASE} = host=127.0.0.1 port={clusters(18).port} user=app\n[pgbouncer]\n"
        f"listen_addr = 127.0.0.1\nlisten_port = {port}\nauth_type = any\nadmin_users = app\n"
        f"stats_users = with_scram\nunix_socket_dir =\nlogfile = {folder}/log\npool_mode = transaction\n"
        "ignore_startup_parameters = extra_float_digits\n"
    )
    _for_all(folder)
    command = [program, str(config)]
    user = "nobody"  # it does not run as root
    process = subprocess.Popen(
        command,
        user=user,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=die_with_parent(15),  # noqa: PLW1509
    )
    url = f"postgresql://app@127.0.0.1:{port}/pgbouncer"
    try:
        _until_it_answers(url)
        yield url
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture(params=[1, 3], ids=["alone", "workers"])
def steered(
    request: pytest.FixtureRequest, clusters: Callable[[int], Cluster], shared_beam: Callable[..., Beam]
) -> Beam:
    """A PgBeam in transaction mode with operators: one process, then three workers."""
    settings = {**OPERATORS, "workers": request.param}
    return shared_beam(clusters(18), "transaction", settings=settings, project={"auth": "trust"})


def _until_it_answers(url: str) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            psycopg.connect(url, autocommit=True).close()
        except psycopg.OperationalError:
            assert time.monotonic() < deadline, "PgBouncer did not start"
            time.sleep(0.05)
        else:
            return


def _for_all(folder: Path) -> None:
    """Others than their owner may read what is in it, and write there."""
    for path in (folder, *folder.iterdir()):
        path.chmod(0o777)
    for parent in folder.parents[:3]:
        parent.chmod(parent.stat().st_mode | 0o055) if parent != Path("/tmp") and parent != Path("/") else None
