"""Transactions one after another, PostgreSQL some milliseconds away: round trips are all that counts there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bench.errors import RunFailed
from bench.figures import Goal, Sample, percentile
from bench.places import DATABASE, ROUND_TRIP_MS, USER, Place, far
from bench.stage import Stage
from pgbeam_core.embedded.postgres import HOST

TRANSACTIONS = 200
WARM_UP = 20
_DIRECT_TRIPS = 3
"""BEGIN, the statement, COMMIT."""
_READ = "SELECT abalance FROM pgbench_accounts WHERE aid = 7"
TEXTS = {
    "read": _READ,
    "cached read": f"/* @pgbeam:cache */ {_READ}",
    "write": "UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid = 7",
}

Run = Callable[[str], None]
"""One transaction of one statement."""


@dataclass(frozen=True)
class FarWork:
    """BEGIN, one statement and COMMIT, as the library does it by itself, by one client."""

    library: str
    """psycopg | sqlalchemy"""
    kind: str
    """One of TEXTS."""
    ways: tuple[str, ...]
    round_trips: float
    """Wanted of PgBeam, at most."""
    group: str = "far"
    unit: str = "transaction"

    @property
    def name(self) -> str:
        """How tables call it."""
        return f"one {self.kind} in a transaction, {self.library}, PostgreSQL {ROUND_TRIP_MS:g} ms away"

    @property
    def goals(self) -> tuple[Goal, ...]:
        """So many round trips, where a direct connection has three; less than one are milliseconds at most."""
        if self.round_trips < 1:
            return (Goal(self.round_trips * ROUND_TRIP_MS, None, "p50_ms"),)
        return (Goal(_DIRECT_TRIPS / self.round_trips, "direct"),)

    def prepare(self, stage: Stage, place: Place) -> None:
        """Whether the library is there."""
        try:
            __import__(self.library)
        except ImportError as missing:
            raise RunFailed(f"{self.library} is not installed") from missing

    def once(self, stage: Stage, place: Place) -> Sample:
        """Each transaction's time."""
        with far(stage.setup, place.way) as there, LIBRARIES[self.library](there.port) as run:
            took = [_timed(run, TEXTS[self.kind]) for _ in range(WARM_UP + TRANSACTIONS)][WARM_UP:]
        p50 = percentile(took, 0.5)
        return Sample(rate=1000 / p50, p50_ms=p50, p99_ms=percentile(took, 0.99))


def _timed(run: Run, sql: str) -> float:
    before = time.perf_counter()
    run(sql)
    return (time.perf_counter() - before) * 1000


@contextmanager
def _psycopg(port: int) -> Iterator[Run]:
    import psycopg

    with psycopg.connect(f"postgresql://{USER}@{HOST}:{port}/{DATABASE}?sslmode=disable") as conn:

        def run(sql: str) -> None:
            conn.execute(sql)
            conn.commit()

        yield run


@contextmanager
def _sqlalchemy(port: int) -> Iterator[Run]:
    import sqlalchemy

    engine = sqlalchemy.create_engine(f"postgresql+psycopg://{USER}@{HOST}:{port}/{DATABASE}?sslmode=disable")

    def run(sql: str) -> None:
        with engine.begin() as conn:
            conn.execute(sqlalchemy.text(sql))

    try:
        yield run
    finally:
        engine.dispose()


LIBRARIES = {"psycopg": _psycopg, "sqlalchemy": _sqlalchemy}
