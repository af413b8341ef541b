"""Large amounts: COPY of a million rows, a gigabyte to a slow reader, pgbench."""

from __future__ import annotations

import filecmp
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.behaviour import frames
from tests.behaviour.beams import Direct
from tests.behaviour.clusters import Cluster
from tests.behaviour.conftest import BeamFactory

ROWS = 1_000_000
GIGABYTE = 1 << 30
MEMORY = 200 << 20


def program(leg: Direct, name: str, *arguments: str) -> str:
    """Run psql or pgbench against the leg and give its output; it must not complain."""
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C"}
    command = [leg.cluster.installation.program(name), *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_psql_copies_a_million_rows_both_ways(leg: Direct, fresh_shop: None, tmp_path: Path) -> None:
    r"""\copy in and out again gives a file that is identical byte for byte."""
    there, back = tmp_path / "there", tmp_path / "back"
    with there.open("w") as file:
        file.writelines(f"{number}\tname {number} ä\\\\\t{number * 7919 % 1000003}\t\\N\n" for number in range(ROWS))
    sql = ["CREATE TABLE bulk (id int, name text, n bigint, nothing text)"]
    sql += [rf"\copy bulk FROM '{there}'", rf"\copy (SELECT * FROM bulk ORDER BY id) TO '{back}'", "DROP TABLE bulk"]
    arguments = [part for text in sql for part in ("-c", text)]
    out = program(leg, "psql", leg.url(), "-v", "ON_ERROR_STOP=1", *arguments)
    assert out.splitlines() == ["CREATE TABLE", f"COPY {ROWS}", f"COPY {ROWS}", "DROP TABLE"]
    assert filecmp.cmp(there, back, shallow=False)


@pytest.mark.slow
@pytest.mark.parametrize("pool_mode", ["session", "transaction"])
def test_a_gigabyte_to_a_slow_reader(cluster: Cluster, pool_mode: str, beam: BeamFactory) -> None:
    """A client that hardly reads makes the server wait instead of PgBeam's memory grow."""
    mine = beam(cluster, pool_mode)
    rows, width = 10_000, GIGABYTE // 10_000
    with mine.wire() as client:
        client.send(frames.query(f"SELECT repeat('x', {width}) FROM generate_series(1, {rows})"))
        received = slow_start(client.socket.recv)
        client.timeout = 60
        client.socket.settimeout(60)
        received += rest_of_it(client.socket.recv)
        assert received > rows * width
        assert mine.peak_memory < MEMORY, f"{mine.peak_memory >> 20} MB"
        assert client.ask(frames.query("SELECT 1"))[-1].body == b"I"


def slow_start(recv: Callable[[int], bytes]) -> int:
    """Some seconds of a few kilobytes at a time; the number of bytes read."""
    received = 0
    for _ in range(30):
        received += len(recv(4096))
        time.sleep(0.1)
    return received


def rest_of_it(recv: Callable[[int], bytes]) -> int:
    """Everything up to ReadyForQuery, as fast as it comes; the number of bytes read."""
    received, tail = 0, b""
    while not tail.endswith(b"Z\0\0\0\5I"):
        data = recv(1 << 20)
        assert data, "closed in the middle of the result"
        received += len(data)
        tail = (tail + data)[-6:]
    return received


@pytest.mark.slow
def test_a_gigabyte_direct_is_read_the_same_way(cluster: Cluster) -> None:
    """The reader of the test above has no mistake of its own (with a tenth of the rows)."""
    with Direct(cluster).wire() as client:
        client.send(frames.query("SELECT repeat('x', 100000) FROM generate_series(1, 1000)"))
        client.socket.settimeout(60)
        assert slow_start(client.socket.recv) + rest_of_it(client.socket.recv) > 100_000_000


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["simple", "extended", "prepared"])
@pytest.mark.parametrize("script", ["select-only", "tpcb-like"])
def test_pgbench(leg: Direct, fresh_shop: None, protocol: str, script: str) -> None:
    """pgbench runs select-only and TPC-B in each protocol without a failed transaction."""
    place = ["-h", "127.0.0.1", "-p", str(leg.port), "-U", "app"]
    program(leg, "pgbench", *place, "-i", "-q", "-s", "1", "shop")
    load = ["-b", script, "-M", protocol, "-c", "8", "-t", "100", "-n"]
    out = program(leg, "pgbench", *place, *load, "shop")
    assert "number of transactions actually processed: 800/800" in out
    assert "number of failed transactions: 0 (0.000%)" in out
