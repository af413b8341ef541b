"""Works that psql does: moving a table out and in."""

from __future__ import annotations

import time
from dataclasses import dataclass

from bench.figures import Goal, Sample
from bench.places import DATABASE, Place
from bench.processes import run
from bench.stage import Stage

PATIENCE_S = 300
TABLE = """
CREATE UNLOGGED TABLE IF NOT EXISTS copied (id int, name text, price numeric(10, 2), made timestamptz);
CREATE UNLOGGED TABLE IF NOT EXISTS copied_in (LIKE copied);
"""
ROWS = """
INSERT INTO copied SELECT i, 'product number ' || i, i % 10000 * 0.37, timestamptz '2024-01-01' + i * interval '1 s'
FROM generate_series(1, {}) i WHERE NOT EXISTS (SELECT FROM copied);
"""


@dataclass(frozen=True)
class CopyWork:
    """`\\copy` of the stage's rows; one unit is one row."""

    direction: str
    """out | in, seen from PostgreSQL."""
    ways: tuple[str, ...]
    goals: tuple[Goal, ...] = ()
    group: str = "copy"
    unit: str = "row"

    @property
    def name(self) -> str:
        """How tables call it."""
        return f"\\copy {self.direction}"

    def prepare(self, stage: Stage, place: Place) -> None:
        """Make the table, and for `in` the file to read."""
        stage.postgres.psql(TABLE + ROWS.format(stage.rows), DATABASE)
        file = stage.setup.folder / "rows"
        if self.direction == "in" and not file.exists():
            run([*stage.setup.psql(stage.postgres.port), "-c", f"\\copy copied to '{file}'"], timeout_s=PATIENCE_S)

    def once(self, stage: Stage, place: Place) -> Sample:
        """One copy."""
        if self.direction == "in":
            stage.postgres.psql("TRUNCATE copied_in", DATABASE)
            command = f"\\copy copied_in from '{stage.setup.folder / 'rows'}'"
        else:
            command = "\\copy copied to '/dev/null'"
        return stage.measured(place, lambda: self._copy(stage, place, command))

    def _copy(self, stage: Stage, place: Place, command: str) -> tuple[Sample, int]:
        begin = time.perf_counter()
        run([*stage.setup.psql(place.port), "-c", command], timeout_s=PATIENCE_S)
        return Sample(rate=stage.rows / (time.perf_counter() - begin)), stage.rows
