"""PgBeam with sockets that systemd has opened for it."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import psycopg
import pytest

from tests.behaviour.beams import PGBEAM
from tests.behaviour.clusters import Cluster, die_with_parent, free_port
from tests.behaviour.workers.several import until

pytestmark = [pytest.mark.pg, pytest.mark.newest]

LAUNCHER = """
import os, sys
count = int(sys.argv[1])
kept = [os.dup2(int(each), 100 + place) for place, each in enumerate(sys.argv[2:2 + count])]
for place, each in enumerate(kept):
    os.dup2(each, 3 + place)
    os.close(each)
os.environ["LISTEN_PID"], os.environ["LISTEN_FDS"] = str(os.getpid()), str(count)
os.execv(sys.argv[2 + count], sys.argv[2 + count:])
"""
"""What systemd does between the fork and the exec."""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short name: those of sockets have a bound."""
    with tempfile.TemporaryDirectory(prefix="pgbeam-") as name:
        yield Path(name)


def activate(folder: Path, sockets: list[socket.socket], log: Path) -> subprocess.Popen[bytes]:
    """`pgbeam run` as a service with these sockets."""
    numbers = [str(each.fileno()) for each in sockets]
    command = [sys.executable, "-c", LAUNCHER, str(len(numbers)), *numbers, str(PGBEAM), "run"]
    with log.open("wb") as output:
        return subprocess.Popen(
            command,
            cwd=folder,
            pass_fds=[each.fileno() for each in sockets],
            stdout=output,
            stderr=output,
            preexec_fn=die_with_parent(signal.SIGKILL),  # noqa: PLW1509 - it makes one system call
        )


def listening(stack: ExitStack, address: object) -> socket.socket:
    """As a .socket unit opens it."""
    sock = stack.enter_context(socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(address)
    sock.listen(64)
    return sock


def settings(folder: Path, cluster: Cluster, port: int) -> None:
    """For one address of TCP and one in the file system."""
    lines = [
        f'listen = ["127.0.0.1:{port}", "{folder}:{port}"]',
        f'projects.shop.upstream = "postgresql://127.0.0.1:{cluster.port}/shop?sslmode=disable"',
    ]
    (folder / "settings.toml").write_text("\n".join(lines))


def test_clients_wait_at_sockets_of_systemd_for_whoever_is_pgbeam(cluster: Cluster, folder: Path) -> None:
    """Who connects before PgBeam has started is served once it has; so is who connects after it was stopped, by the
    next one. `pgbeam restart` goes on with the same sockets, and nobody removes systemd's."""
    port, log = free_port(), folder / "log"
    settings(folder, cluster, port)
    with ExitStack() as stack:
        path = f"{folder}/.s.PGSQL.{port}"
        sockets = [listening(stack, ("127.0.0.1", port)), listening(stack, path)]
        for host in ("127.0.0.1", str(folder)):
            process = activate(folder, sockets, log)
            try:
                with psycopg.connect(host=host, port=port, user="app", dbname="shop") as early:
                    assert early.execute("SELECT 1").fetchone() == (1,)
                done = subprocess.run(
                    [str(PGBEAM), "restart"], cwd=folder, capture_output=True, timeout=60, check=False
                )
                assert done.returncode == 0, done.stderr
                assert process.wait(20) == 0
                newest = psutil.Process(int(re.findall(r"process (\d+) has taken over", log.read_text())[-1]))
                with psycopg.connect(host=host, port=port, user="app", dbname="shop") as late:
                    assert late.execute("SELECT 2").fetchone() == (2,)
                newest.terminate()
                until(lambda gone=newest: not gone.is_running() or gone.status() == psutil.STATUS_ZOMBIE, 15)
                assert Path(path).is_socket()
            finally:
                process.kill()
                process.wait()


def test_a_socket_that_the_settings_do_not_want_is_an_error(cluster: Cluster, folder: Path) -> None:
    """The start fails and names it; a socket that does not listen is refused as well."""
    port, other, log = free_port(), free_port(), folder / "log"
    settings(folder, cluster, port)
    with ExitStack() as stack:
        assert activate(folder, [listening(stack, ("127.0.0.1", other))], log).wait(30) == 1
        assert f"pgbeam: systemd listens on 127.0.0.1:{other}, and the settings do not" in log.read_text()
        connected, _ = (stack.enter_context(each) for each in socket.socketpair())
        assert activate(folder, [connected], log).wait(30) == 1
        assert "systemd gave descriptor 3 (unknown), which is no stream socket that listens" in log.read_text()
