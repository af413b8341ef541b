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
from dataclasses import dataclass
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
class Stage:
    """A running PostgreSQL, the places that lead to it, and how long to measure. Times are seconds."""

    setup: Setup
    places: dict[str, Place]
    skipped: dict[str, str]
    """Ways that are not there, each with the reason."""
    seconds: int
    rows: int
    """Rows that a copy moves."""

    @property
    def postgres(self) -> EmbeddedPostgres:
        """The server behind everything."""
        return self.setup.postgres

    def program(self, name: str) -> str:
        """The path of one of PostgreSQL's programs."""
        return str(self.postgres.programs / name)

    def measured(self, place: Place, action: Callable[[], tuple[Sample, int]]) -> Sample:
        """Run the action, which gives its figures and how many units of work they took; add the CPU time per unit."""
        postmaster = self.postgres.pid or 0
        time.sleep(SETTLE_S)
        before = _cpu(place, postmaster)
        sample, units = action()
        time.sleep(SETTLE_S)
        used = [
            (after - start) * 1e6 / max(units, 1) for start, after in zip(before, _cpu(place, postmaster), strict=True)
        ]
        sample.proxy_us = used[0] if place.pid is not None else None
        sample.postgres_us, sample.client_us = used[1], used[2]
        return sample


def _cpu(place: Place, postmaster: int) -> tuple[float, float, float]:
    """Seconds used so far by proxy, PostgreSQL and all clients that have ended."""
    clients = resource.getrusage(resource.RUSAGE_CHILDREN)
    proxy = cpu_s(place.pid) if place.pid is not None else 0.0
    return proxy, cpu_s(postmaster), clients.ru_utime + clients.ru_stime


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
