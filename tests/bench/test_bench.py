"""The whole bench, in small."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.programs import postgres_programs
from pgbeam_core.embedded import EmbeddedError

ROOT = Path(__file__).parents[2]


def has_postgres() -> bool:
    """Whether there is a PostgreSQL to start."""
    try:
        postgres_programs("auto")
    except EmbeddedError:
        return False
    return Path("/proc/self/stat").exists()


@pytest.mark.slow
@pytest.mark.pg
@pytest.mark.skipif(not has_postgres(), reason="no PostgreSQL, or no /proc")
def test_a_short_bench_measures_a_direct_connection_and_pgbeam(tmp_path: Path) -> None:
    """One command starts everything, measures, writes its files and leaves no process and no folder."""
    arguments = ["--quick", "--no-install", "--interpreted", "--rows", "select", "--only", "64 clients, simple"]
    files = ["--json", str(tmp_path / "bench.json"), "--markdown", str(tmp_path / "bench.md")]
    command = [sys.executable, "-m", "bench", *arguments, *files]
    environment = {"PATH": "/usr/bin:/bin", "TMPDIR": "/tmp"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=180, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    (result,) = json.loads((tmp_path / "bench.json").read_text())["results"]
    for way in ("direct", "pgbeam"):
        (sample,) = result["samples"][way]
        assert sample["rate"] > 10
        assert 0 < sample["p50_ms"] <= sample["p99_ms"]
        assert sample["postgres_us"] > 0
    assert result["samples"]["pgbeam"][0]["proxy_us"] > 0
    assert (tmp_path / "bench.md").read_text() == done.stdout.removesuffix("\n")
