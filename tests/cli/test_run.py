"""`pgbeam run`, the real thing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pgbeam_core.embedded import find_binaries, postmaster

pytestmark = pytest.mark.pg


class Running:
    """A `pgbeam run` in a process of its own."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.data_dir = folder / "state" / "postgres"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pgbeam_core", "run", "--plugins", "pool", "--set", "state_dir=state", *arguments],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.url = ""

    def until_ready(self) -> Running:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if "DATABASE_URL=" in line:
                self.url = line.strip().removeprefix("DATABASE_URL=")
                return self
        raise AssertionError(self.process.communicate()[1])

    def query(self, sql: str) -> str:
        psql = str(find_binaries() / "psql")
        return subprocess.run([psql, "-XAt", self.url, "-c", sql], capture_output=True, text=True, check=True).stdout

    def server_pid(self) -> int:
        found = postmaster.read_pid_file(self.data_dir)
        assert found is not None
        return found.pid


@pytest.fixture
def start(open_tmp_path) -> Iterator[Callable[..., Running]]:
    """start("--listen", …) starts one in the test's folder; all of them, and their servers, are gone at its end."""
    started: list[Running] = []

    def start(*arguments: str) -> Running:
        started.append(Running(open_tmp_path, *(arguments or ("--listen", "127.0.0.1:0"))))
        return started[-1]

    yield start
    for running in started:
        running.process.kill()
        running.process.communicate()
        left = postmaster.read_pid_file(running.data_dir)
        if left is not None and postmaster.is_postmaster_of(left.pid, running.data_dir):
            postmaster.stop(left.pid)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_newcomer_gets_a_shop_and_leaves_nothing_behind(start, number):
    """The announced URL and query work; a signal stops PgBeam and its server, and that is no error."""
    running = start().until_ready()
    assert running.query("SELECT count(*) FROM products") == "200\n"
    server = running.server_pid()
    running.process.send_signal(number)
    _, errors = running.process.communicate(timeout=30)
    assert running.process.returncode == 0
    assert "Traceback" not in errors
    assert not postmaster.is_alive(server)


def test_a_taken_port_is_one_line(start):
    """The address and the remedy are named, and no server stays behind."""
    first = start().until_ready()
    address = first.url.split("@")[1].split("/")[0]
    second = start("--listen", address, "--upstream", "postgresql://127.0.0.1:1/x")
    _, errors = second.process.communicate(timeout=30)
    assert second.process.returncode == 1
    (line,) = [line for line in errors.splitlines() if line.startswith("pgbeam: ")]
    assert address in line
    assert "--listen" in line


def test_a_second_pgbeam_in_one_folder_is_told(start):
    """The first one's server is left alone."""
    first = start().until_ready()
    second = start()
    _, errors = second.process.communicate(timeout=30)
    assert second.process.returncode == 1
    assert "another PgBeam runs on" in errors.splitlines()[-1]
    assert first.query("SELECT 1") == "1\n"


def test_a_killed_pgbeam_starts_again(start):
    """After kill -9 the next start takes over, with everything that was committed."""
    first = start().until_ready()
    first.query("UPDATE accounts SET balance = 7 WHERE id = 1")
    first.process.kill()
    first.process.wait()
    again = start().until_ready()
    assert again.query("SELECT balance FROM accounts WHERE id = 1") == "7.00\n"


def test_sighup_keeps_serving(start):
    """A reload interrupts nobody, also when the new settings are wrong."""
    running = start().until_ready()
    folder = running.data_dir.parents[1]
    for text in ('log_level = "debug"', "workerz = 1"):
        (folder / "settings.toml").write_text(text)
        running.process.send_signal(signal.SIGHUP)
        time.sleep(0.3)
        assert running.query("SELECT 1") == "1\n"
    running.process.terminate()
    errors = running.process.communicate(timeout=30)[1]
    assert 'unknown key; did you mean \\"workers\\"?' in errors
