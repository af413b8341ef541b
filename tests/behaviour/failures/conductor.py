"""Bad days of three servers, of PgBeam in front of them, and of the network between: a seed decides what comes when."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from functools import partial

import psutil  # type: ignore[import-untyped]
import psycopg

from tests.behaviour.beams import Beam
from tests.behaviour.clusters import Cluster
from tests.behaviour.relay import KINDS, Fault, Relay

from .histories import History
from .trio import Trio, until

_REMADE_S = 20.0


class Conductor:
    """Lets things happen. `primary` is the server that takes writes."""

    def __init__(self, trio: Trio, beam: Beam, relays: list[Relay], near: Relay, seed: int, history: History) -> None:
        self.trio, self.beam, self.relays, self.near, self.history = trio, beam, relays, near, history
        self.random = random.Random(seed)
        self.primary = trio.nodes[0]
        self.happened: list[str] = []
        self.outage = 0.0
        """The longest that there was no PgBeam, in seconds: how fast one starts is the machine's business."""
        self._acts: list[Callable[[], None]] = [
            *(self._kill_primary, self._pause_and_promote, self._kill_worker, self._network_of_servers),
            *(self._network_of_clients, self._restart_pgbeam, self._kill_pgbeam, self._blink, self._restart_replica),
            *(self._terminate, self._restart_primary, self._hand_over_pgbeam),
        ]

    def act(self) -> None:
        """Each of them once, in an order that the seed decides; then any."""
        turn = len(self.happened)
        if turn % len(self._acts) == 0:
            self.random.shuffle(self._acts)
        act = self._acts[turn % len(self._acts)]
        self.happened.append(act.__name__.strip("_"))
        act()

    @property
    def rounds(self) -> int:
        """How often each of them has happened."""
        return len(self.happened) // len(self._acts)

    # Servers.

    def _standbys(self) -> list[Cluster]:
        return [node for node in self.trio.nodes if node is not self.primary]

    def _best_standby(self) -> Cluster:
        """The one that has received most: with one of two confirming each commit it has all that was confirmed."""

        def received(node: Cluster) -> int:
            with node.connect(database="postgres") as boss:
                row = boss.execute(
                    "SELECT greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) - '0/0'"
                ).fetchone()
            return int(row[0] if row and row[0] is not None else 0)

        return max(self._standbys(), key=received)

    def _fail_over(self, old: Cluster) -> None:
        # One that still reads what an old primary had sent is on a branch of its own, and confirms what it has not.
        for node in self._standbys():
            node.follow(None)
        for node in self._standbys():
            until(partial(_receives_nothing, node), "it reads no more")
        new = self._best_standby()
        new.promote()
        self.primary = new
        for node in self.trio.nodes:
            if node not in (old, new):
                node.follow(new)

    def _bring_back(self, old: Cluster) -> None:
        """First as the primary that it was, for all to see, and to be let alone; then rewound, as a standby."""
        old.revive()
        first = _next_transaction(old)
        time.sleep(0.7)
        self.history.fenced.append(set(range(first, _next_transaction(old))))
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

    def _restart_primary(self) -> None:
        self.primary.crash()
        self.primary.revive()

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

    # The network.

    def _network_of_servers(self) -> None:
        self._goes_wrong(self.random.choice(self.relays))

    def _network_of_clients(self) -> None:
        self._goes_wrong(self.near)

    def _goes_wrong(self, relay: Relay) -> None:
        fault = Fault(self.random.choice(KINDS), self.random.choice([0, 0, 500]))
        self.happened[-1] += f" ({fault.kind})"
        relay.begin(fault)
        time.sleep(0.3 + self.random.random())
        relay.heal()

    # PgBeam.

    def _kill_worker(self) -> None:
        victim = self.random.choice(self.beam.workers())
        before = len(self.beam.workers())
        victim.kill()
        psutil.wait_procs([victim], 10)
        until(lambda: len(self.beam.workers()) == before, "another worker takes its place", _REMADE_S)

    def _restart_pgbeam(self, *, kill: bool = False) -> None:
        began = time.monotonic()
        self.beam.restart(kill=kill)
        self.outage = max(self.outage, time.monotonic() - began)

    def _hand_over_pgbeam(self) -> None:
        self.beam.hand_over()

    def _kill_pgbeam(self) -> None:
        self._restart_pgbeam(kill=True)


def _receives_nothing(node: Cluster) -> bool:
    with node.connect(database="postgres") as boss:
        return boss.execute("SELECT FROM pg_stat_wal_receiver").fetchone() is None


def _next_transaction(node: Cluster) -> int:
    """What a write would be numbered: one that waits for a standby to confirm it is not to be seen otherwise."""
    with psycopg.connect(node.url(database="postgres"), autocommit=True) as boss:
        row = boss.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())::text").fetchone()
    assert row is not None
    return int(row[0])
