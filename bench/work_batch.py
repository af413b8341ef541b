"""Batches of rows by several drivers, beside a client that asks for nothing much meanwhile."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from bench.errors import RunFailed
from bench.figures import Goal, Sample
from bench.places import DATABASE, USER, Place
from bench.processes import environment, telling_line
from bench.stage import Stage
from pgbeam_core.embedded.postgres import HOST

PATIENCE_S = 300
ROOT = Path(__file__).parent.parent
TABLE = "CREATE UNLOGGED TABLE IF NOT EXISTS batched (id int, name text)"
GRANT = f"GRANT ALL ON batched TO PUBLIC; GRANT USAGE ON SCHEMA public TO {USER}"


@dataclass(frozen=True)
class BatchWork:
    """One `executemany` of so many rows; one unit is one row. A second client asks `select 1` all the time."""

    driver: str
    """psycopg | asyncpg | raw: see `batch_client`."""
    rows: int
    ways: tuple[str, ...]
    goals: tuple[Goal, ...] = ()
    group: str = "batch"
    unit: str = "row"

    @property
    def name(self) -> str:
        """How tables call it."""
        return f"batch of {self.rows:,}, {self.driver}"

    def prepare(self, stage: Stage, place: Place) -> None:
        """Make the table, and insert once unmeasured."""
        stage.postgres.psql(f"{TABLE}; {GRANT}", DATABASE)
        stage.postgres.psql("TRUNCATE batched", DATABASE)
        finished(client(self.driver, place, min(self.rows, 1000)))

    def once(self, stage: Stage, place: Place) -> Sample:
        """One batch."""
        stage.postgres.psql("TRUNCATE batched", DATABASE)
        return stage.measured(place, lambda: self._batch(place))

    def _batch(self, place: Place) -> tuple[Sample, int]:
        other = client("beside", place, 0)
        assert other.stdout is not None
        if other.stdout.readline().strip() != "ready":
            finished(other)
            raise RunFailed("the second client could not begin")
        try:
            (took_s,) = finished(client(self.driver, place, self.rows))
        finally:
            usual_ms, longest_ms = finished(other)
        return Sample(rate=self.rows / took_s, beside_ms=usual_ms, longest_ms=longest_ms), self.rows


def client(what: str, place: Place, rows: int, user: str = USER, password: str = "") -> subprocess.Popen[str]:
    """One of `batch_client`, begun."""
    arguments = [what, HOST, str(place.port), user, DATABASE, str(rows)]
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, "-m", "bench.batch_client", *arguments],
        cwd=ROOT,
        env=environment() | {"PGPASSWORD": password},
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        text=True,
    )


def finished(client: subprocess.Popen[str]) -> list[float]:
    """Close its stdin, wait for its end; the figures that it printed."""
    try:
        said, problems = client.communicate(timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        client.kill()
        client.communicate()
        raise RunFailed(f"a batch took more than {PATIENCE_S} s") from None
    if client.returncode:
        raise RunFailed(telling_line(problems))
    return [float(word) for word in said.split()]
