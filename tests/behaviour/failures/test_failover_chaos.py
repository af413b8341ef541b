"""Fifty clients with mixed load while servers, networks, workers and PgBeam itself fail: a seed decides what comes
when, and a checker of their histories what may have come of it."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import psycopg
import pytest

from tests.behaviour.beams import Beam
from tests.behaviour.clusters import DATABASE, installation
from tests.behaviour.relay import Relay

from .chaotic_clients import LAG_S, Client, live
from .conductor import Conductor
from .histories import SCHEMA, History
from .trio import Trio, until

pytestmark = [pytest.mark.pg, pytest.mark.slow]

CLIENTS = 50
SECONDS = float(os.environ.get("SOAK_SECONDS", "10"))
SEED = int(os.environ.get("CHAOS_SEED", "20240229"))
HEALED_S = 30.0
"""The longest that one client may be without an answer: a hold, rounds of probes, and a machine with much to do."""
MOST_RESIDENT = 400_000_000
"""Bytes of one process of PgBeam's, interpreted, however long it has run."""
MOST_DESCRIPTORS = 120
"""Of one process, once all clients have left: its servers, its links, its files."""


@pytest.fixture
def trio() -> Iterator[Trio]:
    """A commit is confirmed once one of two standbys has it, so that a failover loses nothing that was confirmed."""
    found = installation(18) or installation(15)
    if found is None:
        pytest.skip("no PostgreSQL is installed here")
    made = Trio(found)
    try:
        with made.nodes[0].connect() as boss:
            boss.execute(SCHEMA)
        for node in made.nodes:
            with node.connect() as boss:
                boss.execute("ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (*)'")
                boss.execute("ALTER SYSTEM SET synchronous_commit = on")
                boss.execute("SELECT pg_reload_conf()")
        yield made
    finally:
        made.stop()


@pytest.fixture
def relays(trio: Trio) -> Iterator[list[Relay]]:
    """In front of each server."""
    made = [Relay(node.port, SEED + number) for number, node in enumerate(trio.nodes)]
    yield made
    for relay in made:
        relay.close()


def start(trio: Trio, relays: list[Relay], folder: Path) -> Beam:
    """PgBeam with two workers in front of the relays."""
    hosts = ",".join(f"127.0.0.1:{relay.port}" for relay in relays)
    project = {
        "upstream": f"postgresql://boss@{hosts}/{DATABASE}?target_session_attrs=read-write",
        "failover_probe_s": 0.3,
        "auto_read_routing": True,
        # The network's silence has no other end.
        "transaction_timeout_ms": 20_000,
    }
    settings = {
        "workers": 2,
        "shutdown_grace": 2.0,
        "connect_timeout_s": 3.0,
        "admin_users": ["app"],
        "plugins": {
            "replica": {"probe_interval_s": 0.3, "probe_timeout_s": 1.0, "max_lag_s": LAG_S, "health_user": "boss"},
            "cache": {"invalidate": "tables" if SEED % 2 else "off"},
        },
    }
    return Beam(trio.nodes[0], "transaction", folder, project=project, settings=settings)


def test_no_history_is_wrong(trio: Trio, relays: list[Relay], tmp_path: Path) -> None:
    """No foreign reply, no committed write lost or doubled, no half transaction, nothing written to an old primary, no
    read older than promised, one's own writes are seen, only documented errors, everything heals, nothing leaks."""
    beam = start(trio, relays, tmp_path)
    near, history = Relay(beam.port, SEED), History()
    conductor = Conductor(trio, beam, relays, near, SEED, history)
    direct, far = beam.url(), beam.url().replace(str(beam.port), str(near.port))
    clients = [Client(far if number % 3 == 0 else direct, number, SEED, history) for number in range(1, CLIENTS + 1)]
    try:
        play(clients, partial(conduct, conductor, history))
        with conductor.primary.connect() as boss:
            rows = [number for (number,) in boss.execute("SELECT id FROM journal")]
        print(f"seed {SEED}: {len(conductor.happened)} acts: {', '.join(conductor.happened)}")
        print(f"{dict(history.done)}, errors {dict(history.errors)}")
        print(
            f"{len(history.committed)} committed, {len(history.unknown)} unknown, longest gap {max(history.gaps):.1f} s"
        )
        history.check(rows)
        assert max(history.gaps) < HEALED_S + conductor.outage
        has_let_go(beam)
        assert not (complaints := beam.complaints()), complaints[:3]
    finally:
        near.close()
        beam._end()


def play(clients: list[Client], conducting: partial[None]) -> None:
    """The clients live in a thread of their own while things happen in this one."""
    loop, stop = asyncio.new_event_loop(), asyncio.Event()
    problems: list[BaseException] = []

    def run() -> None:
        try:
            loop.run_until_complete(live(clients, stop))
        except BaseException as error:
            problems.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        conducting()
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(90)
    assert not thread.is_alive(), "clients hang"
    loop.close()
    assert not problems, problems


def conduct(conductor: Conductor, history: History) -> None:
    """Until the time is over, and each thing has happened once. What was wrong ends it at once."""
    until(lambda: len(history.committed) > CLIENTS, "it begins")
    ends = time.monotonic() + SECONDS
    while time.monotonic() < ends or not conductor.rounds:
        conductor.act()
        goal = len(history.committed) + CLIENTS
        until(partial(_reached, history, goal), f"it goes on after {conductor.happened[-3:]}", HEALED_S)
        assert not history.wrong, (history.wrong[:5], conductor.happened[-5:])


def _reached(history: History, goal: int) -> bool:
    return len(history.committed) > goal or bool(history.wrong)


def has_let_go(beam: Beam) -> None:
    """All clients have left: no server is at work, and no process holds what it does not need."""
    until(lambda: not _busy(beam), "all servers are idle")
    for process in (psutil.Process(beam.process.pid), *beam.workers()):
        resident = process.memory_info().rss
        print(f"{process.pid}: {resident / 1e6:.0f} MB, {process.num_fds()} descriptors")
        assert resident < MOST_RESIDENT
        until(partial(_has_few, process), "descriptors are closed")


def _has_few(process: psutil.Process) -> bool:
    return int(process.num_fds()) < MOST_DESCRIPTORS


def _busy(beam: Beam) -> list[object]:
    with psycopg.connect(beam.url(), dbname="pgbeam", autocommit=True) as console:
        cursor = console.execute("SHOW POOLS")
        columns = [column.name for column in cursor.description or ()]
        rows = [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]
    working = ("cl_active", "cl_waiting", "sv_active", "sv_tested", "sv_login")
    return [row for row in rows if row["database"] != "pgbeam" and any(row[each] for each in working)]
