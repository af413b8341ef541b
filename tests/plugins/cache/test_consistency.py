"""Many readers and writers through two processes: nobody ever sees a value that had been replaced before he asked.

SOAK_SECONDS makes it run for longer. A failure names its seed: SOAK_SEED=… has everybody do the same again.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from tests.postgres.beams import Beam
from tests.postgres.clusters import Cluster

pytestmark = [pytest.mark.pg, pytest.mark.newest, pytest.mark.usefixtures("fresh_shop")]
SECONDS = float(os.environ.get("SOAK_SECONDS", "8"))
ROWS = 5
_READ = "/* @pgbeam:cache maxAge=60 swr=60 */ SELECT balance FROM accounts WHERE id = %s"


class Ledger:
    """What is known to be committed: for each row, the highest value whose commit somebody has been told of."""

    def __init__(self) -> None:
        self.told = dict.fromkeys(range(1, ROWS + 1), 0)
        self.tried = dict.fromkeys(range(1, ROWS + 1), 0)
        self.locks = {row: threading.Lock() for row in self.told}
        self.reads = 0
        self.hits = 0


def _write(url: str, ledger: Ledger, chance: random.Random, end: float) -> None:
    """Count rows up; roll some back, to values that nobody may ever see; read each value back at once."""
    with psycopg.connect(url, autocommit=True) as conn:
        while time.monotonic() < end:
            row = chance.randint(1, ROWS)
            with ledger.locks[row]:
                value = ledger.tried[row] = ledger.tried[row] + 1
                if chance.random() < 0.2:
                    with conn.transaction(force_rollback=True):
                        conn.execute("UPDATE accounts SET balance = %s WHERE id = %s", (10**6 + value, row))
                elif chance.random() < 0.5:
                    with conn.transaction():
                        conn.execute("UPDATE accounts SET balance = %s WHERE id = %s", (value, row))
                    ledger.told[row] = value
                else:
                    conn.execute("UPDATE accounts SET balance = %s WHERE id = %s", (value, row))
                    ledger.told[row] = value
                known = ledger.told[row]
                found = conn.execute(_READ, (row,)).fetchone()
                assert found is not None
                assert found[0] == known, f"row {row}: its writer reads {found[0]} after {known}"
            time.sleep(chance.random() * 0.05)


def _read(url: str, ledger: Ledger, chance: random.Random, end: float) -> None:
    """What is read is at least what was told before it was asked, and at most what was tried."""
    with psycopg.connect(url, autocommit=True) as conn:
        heard: list[str] = []
        conn.add_notice_handler(lambda notice: heard.append(notice.message_primary or ""))
        conn.execute("SET pgbeam.debug = on")
        while time.monotonic() < end:
            row = chance.randint(1, ROWS)
            least = ledger.told[row]
            found = conn.execute(_READ, (row,)).fetchone()
            assert found is not None
            assert least <= found[0] <= ledger.tried[row], f"row {row}: {found[0]} is not from {least} on: {heard[-1:]}"
            ledger.reads += 1
            ledger.hits += "cache=hit" in heard[-1]


@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_nobody_sees_the_past(cluster: Cluster, beam: Callable[..., Beam], tmp_path: Path, mode: str) -> None:
    """Readers and writers of two processes that share the second level; the seed replays a failure."""
    seed = int(os.environ.get("SOAK_SEED", random.SystemRandom().randrange(10**6)))
    settings = {"state_dir": str(tmp_path / "s")}
    running = [beam(cluster, mode, plugins="cache,pool,debug", settings=settings) for _ in range(2)]
    ledger = Ledger()
    with cluster.connect() as boss:
        boss.execute("UPDATE accounts SET balance = 0")
    end = time.monotonic() + SECONDS
    with ThreadPoolExecutor(12) as threads:
        done = [
            threads.submit(
                _write if place < 4 else _read, running[place % 2].url(), ledger, random.Random(seed + place), end
            )
            for place in range(12)
        ]
        for each in done:
            try:
                each.result()
            except AssertionError as error:
                raise AssertionError(f"SOAK_SEED={seed}: {error}") from error
    assert ledger.hits > ledger.reads / 10
    with cluster.connect() as boss, psycopg.connect(running[0].url(), autocommit=True) as reader:
        for row in ledger.told:
            found = reader.execute(_READ, (row,)).fetchone()
            assert found == boss.execute("SELECT balance FROM accounts WHERE id = %s", (row,)).fetchone()
