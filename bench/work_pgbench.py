"""Works that pgbench does."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.errors import RunFailed
from bench.figures import Goal, Sample, percentile
from bench.places import DATABASE, Place
from bench.processes import run
from bench.stage import Stage
from bench.window import Window

PATIENCE_S = 60
KEYS = 1_000
"""Different queries of the cached select."""
CACHED = f"""\\set aid random(1, {KEYS})
{{}}SELECT abalance FROM pgbench_accounts WHERE aid = :aid;
"""
TRANSACTION = """\\set aid random(1, 100000 * :scale)
BEGIN;
SELECT abalance FROM pgbench_accounts WHERE aid = :aid;
COMMIT;
"""
CACHED_TRANSACTION = f"""\\set aid random(1, {KEYS})
BEGIN;
{{}}SELECT abalance FROM pgbench_accounts WHERE aid = :aid;
COMMIT;
"""
SCRIPTS = {"cached": CACHED, "transaction": TRANSACTION, "cached transaction": CACHED_TRANSACTION}
"""Those that are not pgbench's own; an annotation goes into the braces."""
ANNOTATION = "/* @pgbeam: cache */ "
"""For PgBeam alone: to others it is a comment, which keeps pgpool-II from its cache.

Without the space pgbench takes `:cache` for a variable of its own.
"""
PROTOCOLS = ("simple", "extended", "prepared")


@dataclass(frozen=True)
class PgbenchWork:
    """pgbench's built-in `script`, or one of SCRIPTS, by so many clients."""

    group: str
    script: str
    clients: int
    protocol: str
    ways: tuple[str, ...]
    title: str
    goals: tuple[Goal, ...] = ()
    reconnect: bool = False
    encrypted: bool = False
    logged: float = 0.1
    """Share of the transactions whose latency is written down: writing costs the client time."""
    warm_up: int = 2_000
    """Transactions before the measured ones, of all clients together."""
    unit: str = "transaction"

    @property
    def name(self) -> str:
        """How tables call it."""
        clients = f"{self.clients} client{'s' if self.clients > 1 else ''}"
        return f"{self.title}, {clients}, {self.protocol}"

    def prepare(self, stage: Stage, place: Place) -> None:
        """Open the pools, fill the caches, and let PgBeam learn what the queries are like."""
        if self.protocol == "prepared" and not place.prepares:
            raise RunFailed(f"{place.version} has no prepared statements in transaction mode")
        each = max(1, self.warm_up // self.clients)
        self._pgbench(stage, place, ["-t", str(each)])

    def once(self, stage: Stage, place: Place) -> Sample:
        """One run."""
        if self.script == "tpcb-like":
            # Else each run leaves the next one more dead rows to walk over.
            stage.postgres.psql("VACUUM pgbench_branches, pgbench_tellers; TRUNCATE pgbench_history", DATABASE)
        length = ["-T", str(stage.seconds)]
        if self.reconnect:
            return stage.measured(place, lambda: self._pgbench(stage, place, length))
        window = Window(stage, place, self.clients)
        sample, _ = self._pgbench(stage, place, length, window.watch)
        window.price(sample)
        return sample

    def _pgbench(
        self, stage: Stage, place: Place, length: list[str], meanwhile: Callable[[int], None] | None = None
    ) -> tuple[Sample, int]:
        folder = Path(tempfile.mkdtemp(prefix="run-", dir=stage.setup.folder))
        try:
            said = run(
                self._command(stage, place, length, folder),
                timeout_s=stage.seconds + PATIENCE_S,
                cwd=folder,
                meanwhile=meanwhile,
            )
            latencies = [ms for log in folder.glob("latency.*") for ms in read_log(log.read_text())]
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        rate, count = read_summary(said)
        sample = Sample(rate=rate)
        if latencies:
            sample.p50_ms, sample.p99_ms = percentile(latencies, 0.5), percentile(latencies, 0.99)
        return sample, count

    def _command(self, stage: Stage, place: Place, length: list[str], folder: Path) -> list[str]:
        threads = min(self.clients, len(os.sched_getaffinity(0)))
        command = [stage.program("pgbench"), "-n", "-c", str(self.clients), "-j", str(threads), *length]
        command += ["-M", self.protocol, "-l", "--log-prefix=latency", f"--sampling-rate={self.logged}"]
        if self.reconnect:
            command.append("-C")
        if self.script in SCRIPTS:
            script = folder / "script.sql"
            script.write_text(SCRIPTS[self.script].format(ANNOTATION if place.way in ("pgbeam", "sent") else ""))
            command += ["-f", str(script)]
        else:
            command += ["-b", self.script]
        return [*command, *place.arguments, f"dbname={DATABASE} sslmode=require" if self.encrypted else DATABASE]


def read_summary(text: str) -> tuple[float, int]:
    """(transactions per second without the first connecting, transactions) of what pgbench says in the end."""
    rate = re.search(r"^tps = ([\d.]+)", text, re.MULTILINE)
    count = re.search(r"^number of transactions actually processed: (\d+)", text, re.MULTILINE)
    if rate is None or count is None or int(count[1]) == 0:
        raise RunFailed("pgbench finished no transaction")
    return float(rate[1]), int(count[1])


def read_log(text: str) -> list[float]:
    """Milliseconds of each transaction in pgbench's log; those that failed count for nothing."""
    return [int(line.split(" ", 3)[2]) / 1000 for line in text.splitlines() if line.split(" ", 3)[2].isdigit()]
