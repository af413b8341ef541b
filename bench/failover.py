"""`python -m bench.failover`: what a failover costs 64 pgbench clients behind PgBouncer, pgpool-II and PgBeam.

Each run has a primary and a standby of its own. The primary dies of SIGKILL, and at once the standby is promoted, as by
whoever watches over it. PgBouncer is told the new address and to RELOAD as soon as the promotion is over, as its
documentation advises; the others have to find out by themselves. A client whose connection fails connects again 0.1 s
later.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import statistics
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from bench import machine
from bench.errors import Skipped
from bench.guard import Guard
from bench.places import DATABASE, NAMES, USER, Place, Setup, pgbouncer, running_pgpool
from bench.proc import tree
from bench.processes import environment, run, running, wait_ready
from bench.programs import postgres_programs, version_of_pgbeam
from bench.stage import CONFIG, tell
from pgbeam_core.embedded import EmbeddedPostgres
from pgbeam_core.embedded.postgres import HOST, free_port

CLIENTS = 64
RATE = 10
"""Transactions a second and client: the machine is to have time for the failover."""
BEFORE_S, AFTER_S = 5.0, 40.0
AGAIN_S = 0.1
SERVERS = 20
WAYS = ("pgbouncer", "pgpool", "pgbeam")


@dataclass
class Pair:
    """A primary and its standby, and where their proxies live."""

    primary: EmbeddedPostgres
    standby: EmbeddedPostgres
    setup: Setup

    def fail_over(self) -> None:
        """The primary and all its processes are gone, and the standby takes writes."""
        pid = self.primary.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)  # or it would say goodbye in the name of the first of its children that dies
        for each in (*(usage.pid for usage in tree(pid) if usage.pid != pid), pid):
            with suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)
        self.standby.psql("SELECT pg_promote(true, 30)")


@dataclass
class Losses:
    """What the clients saw, in seconds since the primary died."""

    failures: list[float] = field(default_factory=list)
    struck: set[int] = field(default_factory=set)
    """Clients who saw an error."""
    commits: dict[int, list[float]] = field(default_factory=dict)

    def figures(self) -> tuple[float, float, float, float, float]:
        """Clients who saw an error, failed attempts, seconds of errors, longest gap of all clients and of one."""
        seconds = max(self.failures) - min(self.failures) if self.failures else 0.0
        together = sorted(time for times in self.commits.values() for time in times)
        alone = max(_longest(sorted(times)) for times in self.commits.values())
        return len(self.struck), len(self.failures), seconds, _longest(together), alone


def _longest(times: Sequence[float]) -> float:
    """Between two commits, the end of the run included: who never comes back has a gap too."""
    return max((after - before for before, after in pairwise([*times, AFTER_S])), default=AFTER_S)


@contextmanager
def pair(programs: Path, packages: Path | None) -> Iterator[Pair]:
    """Started and filled; stopped and removed in the end."""
    folder = Path(tempfile.mkdtemp(prefix="pgbeam-failover-"))
    folder.chmod(0o755)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        guard = Guard(folder)
        stack.callback(guard.dismiss)
        primary = EmbeddedPostgres(folder / "primary", bin_dir=programs, config=CONFIG, durable=False)
        stack.callback(primary.stop)
        primary.start()
        primary.psql(f"CREATE DATABASE {DATABASE}")
        place = ["-h", HOST, "-p", str(primary.port), "-U", USER, DATABASE]
        run([str(programs / "pgbench"), "-i", "-q", "-s", "10", *place], timeout_s=600)
        standby = EmbeddedPostgres.replica_of(primary, folder / "standby", config=CONFIG)
        stack.callback(standby.stop)
        standby.start()
        for each in (primary, standby):
            if each.pid is not None:
                guard.watch(each.pid, signal.SIGQUIT)
        yield Pair(primary, standby, Setup(primary, folder, guard, SERVERS, CLIENTS, False, packages=packages))


@contextmanager
def behind_pgbouncer(both: Pair) -> Iterator[tuple[Place, Callable[[], None]]]:
    with pgbouncer(both.setup) as place:

        def follow() -> None:
            (file,) = both.setup.folder.glob("pgbouncer-*/pgbouncer.ini")
            text = file.read_text().replace(f"port={both.setup.upstream}", f"port={both.standby.port}")
            file.write_text(text)
            assert place.pid is not None
            os.kill(place.pid, signal.SIGHUP)

        yield place, follow


@contextmanager
def behind_pgpool(both: Pair) -> Iterator[tuple[Place, Callable[[], None]]]:
    """Streaming replication mode; both servers are checked each second, which by default they are not at all."""
    backends = "".join(
        f"backend_hostname{number} = '{HOST}'\nbackend_port{number} = {server.port}\nbackend_weight{number} = 1\n"
        f"backend_data_directory{number} = '{server.data_dir}'\nbackend_flag{number} = 'ALLOW_TO_FAILOVER'\n"
        for number, server in enumerate((both.primary, both.standby))
    )
    settings = f"""{backends}
sr_check_user = '{USER}'
health_check_period = 1
health_check_timeout = 2
health_check_user = '{USER}'
health_check_max_retries = 0
num_init_children = {CLIENTS + 16}
"""
    with running_pgpool(both.setup, both.setup.home("pgpool"), settings) as place:
        yield place, lambda: None


@contextmanager
def behind_pgbeam(both: Pair) -> Iterator[tuple[Place, Callable[[], None]]]:
    """Both hosts in one URL, all else as it is by default."""
    home, port = both.setup.home("pgbeam"), free_port()
    hosts = f"{HOST}:{both.primary.port},{HOST}:{both.standby.port}"
    (home / "settings.toml").write_text(
        f"""listen = ["{HOST}:{port}"]
state_dir = "{home}/state"
log_level = "warn"
[projects.bench]
upstream = "postgresql://{USER}@{hosts}/{DATABASE}?sslmode=disable"
auth = "trust"
[plugins.pool]
max_active = {SERVERS}
"""
    )
    command = [sys.executable, "-m", "pgbeam_core", "run", "--config", str(home / "settings.toml")]
    packages = both.setup.packages
    with running(command, home, both.setup.guard, packages=packages) as process:
        wait_ready(process, both.setup.psql(port), home)
        yield Place("pgbeam", port, process.pid, version_of_pgbeam(packages)), lambda: None


PLACES: dict[str, Callable[[Pair], AbstractContextManager[tuple[Place, Callable[[], None]]]]] = {
    "pgbouncer": behind_pgbouncer,
    "pgpool": behind_pgpool,
    "pgbeam": behind_pgbeam,
}


async def one_client(command: Sequence[str], number: int, folder: Path, ends: float, losses: Losses) -> None:
    """A pgbench of one client, started again whenever it has given up. Times are of the monotonic clock."""
    tries = 0
    while (left := ends - time.monotonic()) > 1:
        logged = [*command, "-T", str(int(left)), "--log-prefix", str(folder / f"c{number}-{tries}")]
        process = await asyncio.create_subprocess_exec(
            *logged, env=environment(), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
        )
        try:
            code = await process.wait()
        except asyncio.CancelledError:
            process.kill()
            await process.wait()
            raise
        tries += 1
        if code:
            losses.failures.append(time.time())
            losses.struck.add(number)
            await asyncio.sleep(AGAIN_S)


async def clients(both: Pair, place: Place, follow: Callable[[], None], folder: Path) -> Losses:
    """All of them, and the failover in their midst."""
    losses = Losses()
    pgbench = [str(both.primary.programs / "pgbench"), "-n", "-N", "-c", "1", "-R", str(RATE), "--log"]
    command = [*pgbench, *place.arguments, DATABASE]
    ends = time.monotonic() + BEFORE_S + AFTER_S
    tasks = [asyncio.create_task(one_client(command, number, folder, ends, losses)) for number in range(CLIENTS)]
    await asyncio.sleep(BEFORE_S)
    died = time.time()
    await asyncio.to_thread(both.fail_over)
    tell(f"  promoted {time.time() - died:.2f} s after the primary died")
    follow()
    await asyncio.gather(*tasks)
    losses.failures = [moment - died for moment in losses.failures]
    losses.commits = {number: logged(folder, number, died) for number in range(CLIENTS)}
    return losses


def logged(folder: Path, number: int, since: float) -> list[float]:
    """When a client's transactions were committed, by pgbench's own logs."""
    lines = (line.split() for file in folder.glob(f"c{number}-*") for line in file.read_text().splitlines())
    return [int(words[4]) + int(words[5]) / 1e6 - since for words in lines if words[2].isdigit()] or [-BEFORE_S]


def once(way: str, programs: Path, packages: Path | None) -> tuple[str, tuple[float, ...]]:
    """One run: the version, and the figures."""
    with pair(programs, packages) as both, PLACES[way](both) as (place, follow):
        folder = both.setup.folder / "logs"
        folder.mkdir()
        return place.version, asyncio.run(clients(both, place, follow, folder)).figures()


def main() -> int:
    """Print the table."""
    parser = ArgumentParser(prog="python -m bench.failover", description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--packages", type=Path, help="PgBeam with compiled modules, build/compiled")
    args = parser.parse_args()
    programs = postgres_programs("auto")
    head = ("clients that saw an error", "failed attempts", "seconds of errors", "longest gap of all, s", "of one, s")
    rows = [f"| | {' | '.join(head)} |", "|---|" + "--:|" * len(head)]
    for way in args.ways.split(","):
        found = []
        try:
            for number in range(args.rounds):
                tell(f"{way}, {number + 1} of {args.rounds}")
                version, figures = once(way, programs, args.packages)
                tell(f"  {figures}")
                found.append(figures)
        except Skipped as reason:
            tell(f"Without {way}: {reason}")
            continue
        cells = [
            f"{statistics.median(each):.{0 if column < 2 else 1}f} ({min(each):.{0 if column < 2 else 1}f}"
            f" to {max(each):.{0 if column < 2 else 1}f})"
            for column, each in enumerate(zip(*found, strict=True))
        ]
        rows.append(f"| {NAMES[way]} {version} | {' | '.join(cells)} |")
    print("\n".join([f"{key}: {value}" for key, value in machine.facts().items()]), end="\n\n")
    print("\n".join(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
