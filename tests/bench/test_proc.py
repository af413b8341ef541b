"""What processes have used, from /proc."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench import proc

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc here")

BURN = "import time\nend = time.process_time() + 0.2\nwhile time.process_time() < end: pass\n"


def test_a_program_may_have_any_name() -> None:
    """A name with spaces and parentheses in it shifts no field."""
    line = "42 (a) S (b c) S 7 42 42 0 -1 4194560 1 0 0 0 10 20 30 40 20 0 1 0 555 1 1"
    assert proc.parse_stat(line) == proc.Usage(pid=42, parent=7, ticks=100, started=555)


def test_a_childs_time_counts_before_and_after_its_end() -> None:
    """PostgreSQL's processes come and go with their clients; none of their work is lost."""
    code = f"import subprocess, sys, time\nsubprocess.run([sys.executable, '-c', {BURN!r}])\nprint(flush=True)\ninput()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        ended = proc.cpu_s(parent.pid)
        parent.communicate(b"\n")
    assert ended >= 0.18


def test_a_tree_holds_grandchildren() -> None:
    """A proxy with workers is measured as a whole."""
    with subprocess.Popen(["/bin/sh", "-c", "sleep 30 & wait"]) as shell:
        try:
            deadline = time.monotonic() + 30
            while not (grandchildren := _children(shell.pid)) and time.monotonic() < deadline:
                time.sleep(0.01)
            family = proc.tree(os.getpid())
            assert len(grandchildren) == 1
            assert {os.getpid(), shell.pid, *grandchildren} <= {one.pid for one in family}
        finally:
            for one in reversed(proc.tree(shell.pid)):
                os.kill(one.pid, 9)


def _children(parent: int) -> list[int]:
    return [one.pid for one in proc.tree(os.getpid()) if one.parent == parent]


def test_a_process_that_is_gone_has_used_nothing() -> None:
    """A proxy that crashed in the middle of a run breaks no arithmetic."""
    with subprocess.Popen(["/bin/true"]) as ended:
        ended.wait()
    assert (proc.cpu_s(ended.pid), proc.memory_bytes(ended.pid)) == (0, 0)


def test_memory_is_more_than_none() -> None:
    """Ours can be weighed."""
    assert proc.memory_bytes(os.getpid()) > 1_000_000
