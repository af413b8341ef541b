"""Clients with mixed load while primaries are killed, paused, promoted and brought back: a seed decides what comes
when, and a checker of their histories what may have come of it."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from .beams import Beam
from .clusters import Cluster, installation
from .histories import SCHEMA, History, Writer, live
from .trio import Trio, until

pytestmark = [
    pytest.mark.pg,
    pytest.mark.slow,
    pytest.mark.skipif("SOAK_SECONDS" not in os.environ, reason="for make soak"),
]

CLIENTS = 16
SECONDS = float(os.environ.get("SOAK_SECONDS", "10"))
SEED = int(os.environ.get("CHAOS_SEED", "20240229"))
HEALED_S = 15.0
"""The longest that one client may be without an answer: a hold, a round of probes, and a machine with much to do."""


class Conductor:
    """Lets things happen to three servers. `primary` is the one that takes writes."""

    def __init__(self, trio: Trio, seed: int) -> None:
        self.trio, self.random = trio, random.Random(seed)
        self.primary = trio.nodes[0]
        self.happened: list[str] = []

    def act(self) -> None:
        """One of them, chosen by the seed; the first two are failovers."""
        acts: list[Callable[[], None]] = [self._kill_primary, self._pause_and_promote]
        more = [self._blink, self._restart_replica, self._terminate, *acts]
        act = acts[len(self.happened)] if len(self.happened) < len(acts) else self.random.choice(more)
        self.happened.append(act.__name__)
        act()

    def _standbys(self) -> list[Cluster]:
        return [node for node in self.trio.nodes if node is not self.primary]

    def _best_standby(self) -> Cluster:
        """The one that has received most: with one of two confirming each commit it has all that was confirmed."""

        def received(node: Cluster) -> int:
            with node.connect(database="postgres") as boss:
                row = boss.execute("SELECT pg_last_wal_receive_lsn() - '0/0'").fetchone()
            return int(row[0] if row and row[0] is not None else 0)

        return max(self._standbys(), key=received)

    def _fail_over(self, old: Cluster) -> None:
        new = self._best_standby()
        new.promote()
        self.primary = new
        for node in self.trio.nodes:
            if node not in (old, new):
                node.follow(new)

    def _bring_back(self, old: Cluster) -> None:
        """First as the primary that it was, for all to see; then rewound, as a standby."""
        old.revive()
        time.sleep(0.5)
        old.kill()
        old.rewind(self.primary)
        old.follow(self.primary)
        old.revive()

    def _kill_primary(self) -> None:
        old = self.primary
        old.kill()
        self._fail_over(old)
        self._bring_back(old)

    def _pause_and_promote(self) -> None:
        old = self.primary
        old.signal(signal.SIGSTOP)
        self._fail_over(old)
        old.signal(signal.SIGCONT)
        time.sleep(0.5)
        old.kill()
        self._bring_back(old)

    def _blink(self) -> None:
        node = self.random.choice(self.trio.nodes)
        node.signal(signal.SIGSTOP)
        time.sleep(self.random.random())
        node.signal(signal.SIGCONT)

    def _restart_replica(self) -> None:
        node = self.random.choice(self._standbys())
        node.crash()
        node.revive()

    def _terminate(self) -> None:
        with self.primary.connect(database="postgres") as boss:
            boss.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app' AND random() < 0.5"
            )


def test_no_history_is_wrong(tmp_path: Path) -> None:
    """No foreign reply, no committed write lost or doubled, no half transaction, nothing written to an old primary and
    confirmed, one's own writes are seen, only documented errors, and everything heals."""
    found = installation(18) or installation(15)
    if found is None:
        pytest.skip("no PostgreSQL is installed here")
    trio = Trio(found)
    try:
        with trio.nodes[0].connect() as boss:
            boss.execute(SCHEMA)
            boss.execute("ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (*)'")
            boss.execute("ALTER SYSTEM SET synchronous_commit = on")
            boss.execute("SELECT pg_reload_conf()")
        for node in trio.nodes[1:]:
            with node.connect() as boss:
                boss.execute("ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (*)'")
                boss.execute("ALTER SYSTEM SET synchronous_commit = on")
                boss.execute("SELECT pg_reload_conf()")
        _play(trio, tmp_path)
    finally:
        trio.stop()


def _play(trio: Trio, folder: Path) -> None:
    settings = {"plugins": {"replica": {"probe_interval_s": 0.3, "health_user": "boss"}}}
    project = trio.project(auto_read_routing=True)
    beam = Beam(trio.nodes[0], "transaction", folder, project=project, settings=settings)
    conductor, history = Conductor(trio, SEED), History()
    loop, stop = asyncio.new_event_loop(), asyncio.Event()
    writers = [Writer(beam.url(), number, SEED, history) for number in range(1, CLIENTS + 1)]
    problems: list[BaseException] = []

    def run() -> None:
        try:
            loop.run_until_complete(live(writers, stop))
        except BaseException as error:
            problems.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        _conduct(conductor, history)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(60)
    assert not thread.is_alive(), "clients hang"
    loop.close()
    assert not problems, problems
    with conductor.primary.connect() as boss:
        rows = [number for (number,) in boss.execute("SELECT id FROM journal")]
    print(f"seed {SEED}: {conductor.happened}, {dict(history.done)}, errors {dict(history.errors)},")
    print(f"{len(history.committed)} committed, {len(history.unknown)} unknown, longest gap {max(history.gaps):.1f} s")
    history.check(rows)
    assert max(history.gaps) < HEALED_S
    beam.cluster = conductor.primary
    beam.stop()


def _conduct(conductor: Conductor, history: History) -> None:
    until(lambda: len(history.committed) > CLIENTS, "it begins")
    ends = time.monotonic() + SECONDS
    while time.monotonic() < ends or len(conductor.happened) < 2:
        conductor.act()
        goal = len(history.committed) + CLIENTS
        until(partial(_reached, history, goal), f"it goes on after {conductor.happened[-1]}", 30)


def _reached(history: History, goal: int) -> bool:
    return len(history.committed) > goal
