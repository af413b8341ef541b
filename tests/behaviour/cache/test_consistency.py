"""Many readers and writers through two processes: nobody ever sees a value that had been replaced before he asked.

SOAK_SECONDS makes it run for longer. A failure names its seed: SOAK_SEED=… has everybody do the same again.
"""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.behaviour.beams import Beam
from tests.behaviour.clusters import Cluster

pytestmark = [pytest.mark.pg, pytest.mark.newest, pytest.mark.usefixtures("fresh_shop")]
SECONDS = float(os.environ.get("SOAK_SECONDS", "8"))
ROWS, MIRRORED = 5, 3
_CACHED = "/* @pgbeam:cache maxAge=60 swr=60 */ "
_READ = _CACHED + "SELECT balance FROM accounts WHERE id = %s"
_READ_MIRROR = _CACHED + "SELECT m.n %% 1000000 FROM mirror AS m WHERE m.id = %s"
_TABLES = f"""
SET ROLE app;
UPDATE accounts SET balance = 0;
CREATE TABLE wanted (id int, balance int);
CREATE FUNCTION grant_it() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN UPDATE accounts SET balance = NEW.balance WHERE id = NEW.id; RETURN NULL; END';
CREATE TRIGGER granted AFTER INSERT ON wanted FOR EACH ROW EXECUTE FUNCTION grant_it();
CREATE PROCEDURE put(row_id int, value int) LANGUAGE plpgsql AS
    'BEGIN UPDATE accounts SET balance = value WHERE id = row_id; COMMIT; PERFORM 1 / 0; END';
CREATE TABLE source (id int PRIMARY KEY, n int UNIQUE);
CREATE TABLE mirror (id int PRIMARY KEY, n int REFERENCES source (n) ON UPDATE CASCADE);
INSERT INTO source SELECT id, id * 1000000 FROM generate_series({ROWS + 1}, {ROWS + MIRRORED}) AS id;
INSERT INTO mirror SELECT * FROM source;
"""
_WAYS = (
    "UPDATE accounts SET balance = {value} WHERE id = {row}",
    "INSERT INTO wanted VALUES ({row}, {value})",
    "EXECUTE put ({row}, {value})",
    "CALL put({row}, {value})",
    "DO $$ BEGIN UPDATE accounts SET balance = {value} WHERE id = {row}; COMMIT; PERFORM 1 / 0; END $$",
)
"""By themselves, by a trigger, by EXECUTE, and by blocks that fail after they have committed."""
_PLAIN = _WAYS[:3]
_CASCADE = "UPDATE source SET n = id * 1000000 + {value} WHERE id = {row}"
_PREPARE = "PREPARE put (int, int) AS UPDATE accounts SET balance = $2 WHERE id = $1"


class Ledger:
    """What is known to be committed: for each row, the highest value whose commit somebody has been told of."""

    def __init__(self) -> None:
        self.told = dict.fromkeys(range(1, ROWS + MIRRORED + 1), 0)
        self.tried = dict.fromkeys(self.told, 0)
        self.locks = {row: threading.Lock() for row in self.told}
        self.reads = 0
        self.hits = 0


def _look(conn: psycopg.Connection[Any], row: int) -> int:
    """The value of a row, remembered or not."""
    found = conn.execute(_READ if row <= ROWS else _READ_MIRROR, (row,)).fetchone()
    assert found is not None
    return int(found[0])


def _say(conn: psycopg.Connection[Any], ways: tuple[str, ...], chance: random.Random, row: int, value: int) -> None:
    """Write that value, in one of the ways; some fail when they have committed it."""
    text = chance.choice(ways) if row <= ROWS else _CASCADE
    with contextlib.suppress(psycopg.errors.DivisionByZero):
        conn.execute(text.format(row=row, value=value).encode())


def _write(url: str, ledger: Ledger, chance: random.Random, end: float) -> None:
    """Count rows up; roll some back, to values that nobody may ever see; read each value back at once."""
    # psycopg's own prepared statements are off: with a rollback it deallocates them, and all others.
    with psycopg.connect(url, autocommit=True, prepare_threshold=None) as conn:
        conn.execute(_PREPARE)
        while time.monotonic() < end:
            row = chance.randint(1, ROWS + MIRRORED)
            with ledger.locks[row]:
                value = ledger.tried[row] = ledger.tried[row] + 1
                if chance.random() < 0.2:
                    with conn.transaction(force_rollback=True):
                        _say(conn, _PLAIN, chance, row, 10**5 * 9 + value)
                elif chance.random() < 0.5:
                    with conn.transaction():
                        assert _look(conn, row) == ledger.told[row]
                        _say(conn, _PLAIN, chance, row, value)
                        assert _look(conn, row) == value, f"row {row}: a transaction does not see its own {value}"
                    ledger.told[row] = value
                else:
                    _say(conn, _WAYS, chance, row, value)
                    ledger.told[row] = value
                known, found = ledger.told[row], _look(conn, row)
                assert found == known, f"row {row}: its writer reads {found} after {known}"
            time.sleep(chance.random() * 0.05)


def _read(url: str, ledger: Ledger, chance: random.Random, end: float, autocommit: bool) -> None:
    """What is read is at least what was told before it was asked, and at most what was tried."""
    with psycopg.connect(url, autocommit=autocommit) as conn:
        heard: list[str] = []
        conn.add_notice_handler(lambda notice: heard.append(notice.message_primary or ""))
        conn.execute("SET pgbeam.debug = on")
        conn.commit()
        while time.monotonic() < end:
            for _ in range(chance.randint(1, 3)):
                row = chance.randint(1, ROWS + MIRRORED)
                least = ledger.told[row]
                found = _look(conn, row)
                assert least <= found <= ledger.tried[row], f"row {row}: {found} is not from {least} on: {heard[-1:]}"
                ledger.reads += 1
                ledger.hits += "cache=hit" in heard[-1]
            if not autocommit:
                chance.choice([conn.commit, conn.rollback])()


def _define(url: str, chance: random.Random, end: float) -> None:
    """Change definitions in transactions that stay open for a while, and end in either way."""
    with psycopg.connect(url) as conn:
        while time.monotonic() < end:
            conn.execute("DROP TRIGGER IF EXISTS granted ON wanted" if chance.random() < 0.1 else "SELECT 1")
            conn.execute(
                "CREATE OR REPLACE TRIGGER granted AFTER INSERT ON wanted FOR EACH ROW EXECUTE FUNCTION grant_it()"
            )
            time.sleep(chance.random() * 0.02)
            chance.choice([conn.commit, conn.rollback])()
            time.sleep(chance.random() * 0.3)


@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_nobody_sees_the_past(cluster: Cluster, beam: Callable[..., Beam], tmp_path: Path, mode: str) -> None:
    """Readers and writers of two processes that share the second level; the seed replays a failure."""
    seed = int(os.environ.get("SOAK_SEED", random.SystemRandom().randrange(10**6)))
    settings = {"state_dir": str(tmp_path / "s")}
    running = [beam(cluster, mode, plugins="cache,pool,debug", settings=settings) for _ in range(2)]
    ledger = Ledger()
    with cluster.connect() as boss:
        boss.execute(_TABLES)
    end = time.monotonic() + SECONDS
    with ThreadPoolExecutor(13) as threads:
        done = [threads.submit(_define, running[0].url(), random.Random(seed), end)]
        for place in range(12):
            mine = (running[place % 2].url(), ledger, random.Random(seed + place), end)
            done.append(threads.submit(_write, *mine) if place < 4 else threads.submit(_read, *mine, place < 8))
        for each in done:
            try:
                each.result()
            except AssertionError as error:
                raise AssertionError(f"SOAK_SEED={seed}: {error}") from error
    assert ledger.hits > 100  # else nothing was shown; how many there are is a matter of how fast writes follow
    with cluster.connect() as boss, psycopg.connect(running[0].url(), autocommit=True) as reader:
        assert boss.execute("SELECT id, balance FROM accounts WHERE id <= %s ORDER BY id", [ROWS]).fetchall() == [
            (row, _look(reader, row)) for row in range(1, ROWS + 1)
        ]
        assert boss.execute("SELECT id, n % 1000000 FROM mirror ORDER BY id").fetchall() == [
            (row, _look(reader, row)) for row in range(ROWS + 1, ROWS + MIRRORED + 1)
        ]
