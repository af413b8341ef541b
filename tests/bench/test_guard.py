"""Nothing outlives a bench."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.guard import Guard

ROOT = Path(__file__).parents[2]
BENCH = """
import subprocess, sys, time
from pathlib import Path
from bench.guard import Guard
server = subprocess.Popen(["sleep", "60"], start_new_session=True)
guard = Guard(Path(sys.argv[1]))
guard.watch(server.pid)
print(server.pid, flush=True)
time.sleep(60)
"""

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc here")


def wait_until_gone(path: Path) -> bool:
    """Whether it goes away within a few seconds."""
    deadline = time.monotonic() + 10
    while path.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    return not path.exists()


def is_running(pid: int) -> bool:
    """Whether it is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_bench_that_was_killed_leaves_nothing(tmp_path: Path) -> None:
    """Even kill -9 leaves neither server nor folder behind."""
    folder = tmp_path / "bench"
    folder.mkdir()
    command = [sys.executable, "-c", BENCH, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as bench:
        assert bench.stdout is not None
        server = int(bench.stdout.readline())
        assert is_running(server)
        bench.send_signal(signal.SIGKILL)
    assert wait_until_gone(folder)
    assert not is_running(server)


def test_a_pid_that_is_somebody_elses_by_now_is_left_alone(tmp_path: Path) -> None:
    """A server that ended in time is not signalled again."""
    guard = Guard(tmp_path / "folder")
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as other:
        assert guard._process.stdin is not None
        guard._process.stdin.write(f"{other.pid} 1 9\n")
        guard.dismiss()
        try:
            assert is_running(other.pid)
        finally:
            other.kill()
