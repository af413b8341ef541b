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
Cpu = tuple[float | None, float, float]
"""Seconds of CPU of proxy, PostgreSQL and clients; None without a proxy."""
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
        time.sleep(SETTLE_S)
        before = self.cpu(place)
        sample, units = action()
        time.sleep(SETTLE_S)
        price(sample, before, self.cpu(place), units)
        return sample

    def cpu(self, place: Place, client: int | None = None) -> Cpu:
        """Used so far, by the client with that pid or else by all clients that have ended."""
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        clients = cpu_s(client) if client is not None else ended.ru_utime + ended.ru_stime
        return cpu_s(place.pid) if place.pid is not None else None, cpu_s(self.postgres.pid or 0), clients


def price(sample: Sample, before: Cpu, after: Cpu, units: float) -> None:
    """Put into the sample what each of the units cost between two times."""
    spent = [
        end - begin if begin is not None and end is not None else None for begin, end in zip(before, after, strict=True)
    ]
    each = [seconds * 1e6 / max(units, 1) if seconds is not None else None for seconds in spent]
    sample.proxy_us, sample.postgres_us, sample.client_us = each


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
    packages: Path | None


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
        setup = Setup(postgres, folder, guard, plan.servers, plan.clients, plan.install, plan.pgbeam, plan.packages)
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
