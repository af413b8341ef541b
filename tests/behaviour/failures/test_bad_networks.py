"""The network goes wrong, between clients and PgBeam or between PgBeam and PostgreSQL, at each moment that there is."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from tests.behaviour import frames
from tests.behaviour.beams import Beam
from tests.behaviour.clusters import Cluster, installation, start_cluster
from tests.behaviour.relay import ENDING, HARMLESS, SILENT, Fault, Relay
from tests.behaviour.wireclient import Closed, LoginRefused
from tests.net.certificates import files

from .moments import CLOSED, DEAF, HANGS_S, MOMENTS, RIGHT, SCHEMA, Scene, names, outcome, reply

pytestmark = pytest.mark.pg

LOST = {"08006", CLOSED}
"""What a client is told where the connection to its server has ended."""
LATE = {"08006", "25P03", "25P04", CLOSED, DEAF}
"""Where it says nothing any more: `connect_timeout_s`, or one of the times of a transaction."""
TIMES = {"transaction_timeout_ms": 12_000, "idle_transaction_timeout_ms": 6_000, "client_idle_timeout_s": 6.0}
HEALED_S = 30.0
DEAF_S = 1.0
"""So long a client listens on a line that says nothing."""
QUICK = {"reset", "truncate", "pieces"}


class World:
    """PgBeam with a project for each moment, a relay in front of each server, and one in front of each client."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.cluster = cluster
        self.far = {name: Relay(cluster.port, seed) for seed, name in enumerate(MOMENTS)}
        projects = {name: self._project(name) for name in MOMENTS}
        settings = {
            "tls": files().settings(mode="prefer"),
            "admin_users": ["app"],
            "connect_timeout_s": 6.0,
            "login_timeout_s": 6.0,
            "plugins": {"pool": {"max_active": 4}},
        }
        self.beam = Beam(cluster, "transaction", folder, settings=settings, more_projects=projects)
        self.near = {name: Relay(self.beam.port, seed) for seed, name in enumerate(MOMENTS)}

    def _project(self, name: str) -> dict[str, object]:
        mode = "require" if name == "handshake" else "disable"
        return {"upstream": f"postgresql://127.0.0.1:{self.far[name].port}?sslmode={mode}", **TIMES}

    def scene(self, name: str, leg: str, kind: str) -> Scene:
        """For that moment, the fault being on that leg."""
        relay = self.far[name] if leg == "server" else self.near[name]
        port = self.beam.port if leg == "server" else relay.port
        return Scene(name, port, relay, Fault(kind), self.cluster.url())

    def busy(self) -> list[dict[str, object]]:
        """Pools that have clients, or servers that are at work, by SHOW POOLS."""
        with psycopg.connect(self.beam.url(), dbname="pgbeam", autocommit=True) as console:
            cursor = console.execute("SHOW POOLS")
            columns = [column.name for column in cursor.description or ()]
            rows = [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]
        busy = ("cl_active", "cl_waiting", "sv_active", "sv_tested", "sv_login")
        own = "pgbeam"  # the console, which asks
        return [row for row in rows if row["database"] != own and any(row[each] for each in busy)]

    def lets_go(self, name: str) -> None:
        """PgBeam gives up, by itself, a client whom nothing reaches, and takes its server back."""
        deadline = time.monotonic() + HANGS_S
        while any(
            str(row["database"]).startswith(f"{name}/") and (row["sv_active"] or row["cl_waiting"])
            for row in self.busy()
        ):
            assert time.monotonic() < deadline, f"{name} keeps its server"
            time.sleep(0.2)

    def close(self) -> None:
        self.beam._end()
        for relay in (*self.near.values(), *self.far.values()):
            relay.close()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Built once; each test leaves it whole."""
    found = installation(15)
    if found is None:
        pytest.skip("PostgreSQL 15 is not installed here")
    cluster = start_cluster(found)
    try:
        data = cluster.folder / "data"
        for name in ("server.crt", "server.key"):
            shutil.copy(files()[name], data / name)
            shutil.chown(data / name, data.stat().st_uid, data.stat().st_gid)
        (data / "server.key").chmod(0o600)
        with (data / "postgresql.auto.conf").open("a") as file:
            file.write("ssl = on\n")
        cluster.restart()
        with cluster.connect() as boss:
            boss.execute(SCHEMA)
        made = World(cluster, tmp_path_factory.mktemp("networks"))
        yield made
        made.close()
    finally:
        cluster.stop()


def heals(world: World, name: str) -> None:
    """The project serves others, within what the breaker and the times allow."""
    deadline = time.monotonic() + HEALED_S
    while not serves(world, name):
        assert time.monotonic() < deadline, f"{name} does not heal"
        time.sleep(0.2)


def serves(world: World, name: str) -> bool:
    """Whether another client gets its answer."""
    word = f"after {name}"
    scene = Scene(name, world.beam.port, world.far[name], Fault("delay"), "")
    with suppress(LoginRefused, Closed, OSError), scene.client() as client:
        client.send(frames.query(f"SELECT '{word}'"))
        return outcome(reply(client), word, 1) == RIGHT
    return False


def play(world: World, leg: str, kind: str) -> dict[str, str]:
    """What the client got, at each moment; everything is well again in the end."""
    chosen = names(leg)
    deaf = leg == "client" and kind in SILENT

    def one(name: str) -> str:
        scene = world.scene(name, leg, kind)
        scene.patience = DEAF_S if deaf else HANGS_S
        try:
            try:
                found = MOMENTS[name](scene)
            except TimeoutError:
                assert deaf, "it hangs"
                world.lets_go(name)
                found = DEAF
            finally:
                never = scene.relay.trigger is not None and not scene.relay.triggered.is_set()
                scene.relay.heal()
                heals(world, name)
            return "wrong: it never went wrong" if never else found
        except AssertionError as problem:
            return f"wrong: {problem}"
        except Exception as problem:
            return f"unexpected: {problem!r}"

    with ThreadPoolExecutor(len(chosen)) as threads:
        found = dict(zip(chosen, threads.map(one, chosen), strict=True))
    deadline = time.monotonic() + HEALED_S
    while busy := world.busy():
        assert time.monotonic() < deadline, f"left behind: {busy}"
        time.sleep(0.1)
    assert not (complaints := world.beam.complaints()), complaints[:3]
    return found


def kinds(*chosen: str) -> list[object]:
    """Those that take longer are for when there is time."""
    return [kind if kind in QUICK else pytest.param(kind, marks=pytest.mark.slow) for kind in chosen]


@pytest.mark.parametrize("leg", ["server", "client"])
@pytest.mark.parametrize("kind", kinds(*HARMLESS))
def test_late_and_cut_up_packets_change_nothing(world: World, leg: str, kind: str) -> None:
    """Delays, packets of one byte and of a few: every client gets the right answer, at every moment."""
    assert play(world, leg, kind) == dict.fromkeys(names(leg), RIGHT)


@pytest.mark.parametrize("leg", ["server", "client"])
@pytest.mark.parametrize("kind", kinds(*ENDING))
def test_a_connection_that_ends_is_never_taken_for_an_answer(world: World, leg: str, kind: str) -> None:
    """Reset, closed, cut off in the middle, half closed: the client is told 08006 or is hung up on, nothing of what it
    got passes for a whole reply, others are served, and no server is left behind."""
    found = play(world, leg, kind)
    wrong = {
        name: what for name, what in found.items() if what not in {RIGHT, *(LOST if leg == "server" else {CLOSED})}
    }
    assert not wrong, wrong
    assert RIGHT not in (found["mid_query"], found["mid_reply"], found["copy_out"]), found


@pytest.mark.slow
@pytest.mark.parametrize("leg", ["server", "client"])
@pytest.mark.parametrize("kind", SILENT)
def test_a_connection_that_says_nothing_any_more_keeps_nobody_for_ever(world: World, leg: str, kind: str) -> None:
    """Nothing gets through, at once or from the middle of a message on: who waits is told when its time is over, others
    are served, and no server is left behind."""
    found = play(world, leg, kind)
    wrong = {name: what for name, what in found.items() if what not in {RIGHT, *LATE}}
    assert not wrong, wrong
    assert RIGHT not in (found["mid_query"], found["mid_reply"], found["copy_out"]), found
