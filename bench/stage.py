"""What the works are performed on: a PostgreSQL with data, and the proxies in front of it."""

from __future__ import annotations

import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.errors import Skipped
from bench.figures import Sample
from bench.guard import Guard
from bench.places import DATABASE, PROXIES, Place, Setup
from bench.proc import cpu_s
from bench.processes import run
from pgbeam_core.embedded import EmbeddedPostgres
from pgbeam_core.embedded.postgres import HOST

SETTLE_S = 0.15
"""Servers notice that clients have left, and parents that children ended, a moment later."""
CONFIG = (
    "max_connections = 400",
    "shared_buffers = 256MB",
    "max_wal_size = 8GB",
    "checkpoint_timeout = 1h",
    "autovacuum = off",
    "synchronous_commit = off",
    "jit = off",
)


@dataclass(frozen=True)
class Spent:
    """Seconds of CPU of proxy, PostgreSQL and all clients that have ended, and the units of work done in them."""

    proxy_s: float = 0.0
    postgres_s: float = 0.0
    client_s: float = 0.0
    units: int = 0

    def less(self, other: Spent) -> Spent:
        """What is left without the other; no less than nothing, as CPU time is counted in hundredths of a second."""
        return Spent(
            max(0.0, self.proxy_s - other.proxy_s),
            max(0.0, self.postgres_s - other.postgres_s),
            max(0.0, self.client_s - other.client_s),
            self.units,
        )

    def per(self, units: int) -> Spent:
        """The share of each unit."""
        return Spent(self.proxy_s / units, self.postgres_s / units, self.client_s / units, 1)


NOTHING = Spent()


@dataclass(frozen=True)
class Stage:
    """A running PostgreSQL, the places that lead to it, and how long to measure. Times are seconds."""

    setup: Setup
    places: dict[str, Place]
    skipped: dict[str, str]
    """Ways that are not there, each with the reason."""
    seconds: int
    rows: int
    """Rows that a copy moves."""
    connecting: dict[tuple[str, str], Spent] = field(default_factory=dict)
    """(work, way) → what its clients spend on coming and going, with one transaction each."""

    @property
    def postgres(self) -> EmbeddedPostgres:
        """The server behind everything."""
        return self.setup.postgres

    def program(self, name: str) -> str:
        """The path of one of PostgreSQL's programs."""
        return str(self.postgres.programs / name)

    def measured(self, place: Place, action: Callable[[], tuple[Sample, int]], beside: Spent = NOTHING) -> Sample:
        """Run the action, which gives its figures and how many units of work they took; add the CPU time per unit.

        `beside` is what it spends on other things than units.
        """
        sample, spent = self.spent(place, action)
        share = spent.less(beside).per(max(spent.units - beside.units, 1))
        sample.proxy_us = share.proxy_s * 1e6 if place.pid is not None else None
        sample.postgres_us, sample.client_us = share.postgres_s * 1e6, share.client_s * 1e6
        return sample

    def spent(self, place: Place, action: Callable[[], tuple[Sample, int]]) -> tuple[Sample, Spent]:
        """The same without the division."""
        time.sleep(SETTLE_S)
        before = self._until_now(place)
        sample, units = action()
        time.sleep(SETTLE_S)
        spent = self._until_now(place).less(before)
        return sample, replace(spent, units=units)

    def _until_now(self, place: Place) -> Spent:
        clients = resource.getrusage(resource.RUSAGE_CHILDREN)
        proxy = cpu_s(place.pid) if place.pid is not None else 0.0
        return Spent(proxy, cpu_s(self.postgres.pid or 0), clients.ru_utime + clients.ru_stime)


@dataclass(frozen=True)
class Plan:
    """How to set the stage."""

    programs: Path
    ways: frozenset[str]
    scale: int
    seconds: int
    rows: int
    servers: int
    clients: int
    install: bool
    pgbeam: tuple[str, ...]


@contextmanager
def stage(plan: Plan) -> Iterator[Stage]:
    """Everything started and filled; everything stopped and removed in the end."""
    folder = Path(tempfile.mkdtemp(prefix="pgbeam-bench-"))
    folder.chmod(0o755)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        guard = Guard(folder)
        stack.callback(guard.dismiss)
        tell("Starting PostgreSQL")
        postgres = EmbeddedPostgres(folder / "postgres", bin_dir=plan.programs, config=CONFIG, durable=False)
        stack.callback(postgres.stop)
        postgres.start()
        if postgres.pid is not None:
            guard.watch(postgres.pid, signal.SIGQUIT)
        _fill(postgres, plan.scale)
        setup = Setup(postgres, folder, guard, plan.servers, plan.clients, plan.install, plan.pgbeam)
        places, skipped = {"direct": Place("direct", postgres.port)}, {}
        for way in (way for way in PROXIES if way in plan.ways):
            try:
                places[way] = stack.enter_context(PROXIES[way](setup))
            except Skipped as reason:
                skipped[way] = str(reason)
                tell(f"Without {way}: {reason}")
        yield Stage(setup, places, skipped, plan.seconds, plan.rows)


def tell(text: str) -> None:
    """Say what is going on; tables alone go to stdout."""
    print(text, file=sys.stderr, flush=True)


def _fill(postgres: EmbeddedPostgres, scale: int) -> None:
    tell(f"Filling it (scale {scale})")
    postgres.psql(f"CREATE DATABASE {DATABASE}")
    place = ["-h", HOST, "-p", str(postgres.port), "-U", postgres.user, DATABASE]
    run([str(postgres.programs / "pgbench"), "-i", "-q", "-s", str(scale), *place], timeout_s=600)
    postgres.psql("CHECKPOINT", DATABASE)
