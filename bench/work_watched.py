"""What it costs to be seen: the same work at a PgBeam that tells nothing, and at one that all look at."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

from bench.errors import RunFailed
from bench.figures import Goal, Sample
from bench.places import ROOT, TOKEN, Place
from bench.processes import running, wait_said
from bench.stage import Stage
from bench.watchers import READY
from bench.work_pgbench import PgbenchWork


@dataclass(frozen=True)
class WatchedWork:
    """pgbench, with those who look at that PgBeam for as long as it is measured."""

    base: PgbenchWork
    ways: tuple[str, ...] = ("watched", "pgbeam")
    goals: tuple[Goal, ...] = (Goal(0.97, "pgbeam", of="watched"),)
    group: str = "watched"
    unit: str = "transaction"

    @property
    def name(self) -> str:
        """How tables call it."""
        return f"{self.base.name}, watched"

    def prepare(self, stage: Stage, place: Place) -> None:
        """As without them."""
        self.base.prepare(stage, place)

    def once(self, stage: Stage, place: Place) -> Sample:
        """One run."""
        with nullcontext() if place.web is None else _watchers(stage, place.web):
            return self.base.once(stage, place)


@contextmanager
def _watchers(stage: Stage, web: tuple[int, int]) -> Iterator[None]:
    home = stage.setup.home("watchers")
    command = [sys.executable, "-m", "bench.watchers", *map(str, web), TOKEN]
    with running(command, home, stage.setup.guard, packages=ROOT) as watchers:
        wait_said(watchers, home, READY)
        yield
        if watchers.poll() is not None:
            raise RunFailed(f"nobody watched: {(home / 'log').read_text()[-500:]}")
