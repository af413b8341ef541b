"""A PgBeam that is restarted under its clients: another process takes its place, and nobody is turned away."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import psycopg
import pytest

from tests.behaviour import frames
from tests.behaviour.beams import PGBEAM, SOCKET_PORT, Beam
from tests.behaviour.clusters import Cluster, free_port
from tests.behaviour.failures.test_faults import code, value
from tests.behaviour.wireclient import WireClient
from tests.behaviour.workers.several import until

pytestmark = [pytest.mark.pg, pytest.mark.newest]

WORKERS = pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
_TAKEN = re.compile(r"process (\d+) has taken over")


class Row:
    """The processes that one PgBeam was, one after another."""

    def __init__(self, first: Beam) -> None:
        self.beam = first
        self.processes = [psutil.Process(first.process.pid)]

    @property
    def newest(self) -> psutil.Process:
        return self.processes[-1]

    def command(self) -> subprocess.CompletedProcess[str]:
        """`pgbeam restart`, as an operator has it."""
        config = self.beam.command[self.beam.command.index("--config") + 1]
        return subprocess.run(
            [str(PGBEAM), "restart", "--config", config],
            cwd=Path(config).parent,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def restart(self) -> None:
        """By SIGUSR2; returns when the next process has taken over."""
        before = len(_TAKEN.findall(self.beam.log))
        self.newest.send_signal(signal.SIGUSR2)
        until(lambda: len(_TAKEN.findall(self.beam.log)) > before, 60)
        self.follow()

    def follow(self) -> None:
        """Note who has taken over."""
        self.processes.append(psutil.Process(int(_TAKEN.findall(self.beam.log)[-1])))

    def end(self) -> None:
        """Nobody is left behind, in whatever state the test ends."""
        ours = str(Path(self.beam.command[-1] if "--config" not in self.beam.command else self.beam.log_path.parent))
        for process in psutil.process_iter(["cmdline", "cwd"]):
            if process.info["cwd"] == ours and "pgbeam" in " ".join(process.info["cmdline"] or ()):
                process.kill()
        self.beam.process.wait(10)


Start = Callable[..., Row]


@pytest.fixture
def row(cluster: Cluster, tmp_path: Path) -> Iterator[Start]:
    """row(settings={…}) starts a PgBeam that is to be restarted."""
    started: list[Row] = []

    def start(**options: Any) -> Row:
        started.append(Row(Beam(cluster, "transaction", tmp_path, **options)))
        return started[-1]

    yield start
    for each in started:
        each.end()


class Comers(threading.Thread):
    """Clients that come, ask and leave, all the time; `failed` has what went wrong."""

    def __init__(self, connect: Callable[[], WireClient]) -> None:
        super().__init__()
        self.connect = connect
        self.over = False
        self.came = 0
        self.failed: list[BaseException] = []

    def run(self) -> None:
        """Until it is over."""
        while not self.over:
            try:
                with self.connect() as client:
                    assert value(client.ask(frames.query("SELECT 17"))) == b"17"
                self.came += 1
            except Exception as error:
                self.failed.append(error)


def gone(process: psutil.Process) -> bool:
    """It has ended, and whoever started it knows."""
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def descriptors(process: psutil.Process) -> int:
    """How many it has open, connections of TCP aside."""
    connected = [each for each in process.net_connections("tcp") if each.raddr]
    return int(process.num_fds()) - len(connected)


@pytest.mark.parametrize(
    ("workers", "times"),
    [(1, 3), pytest.param(1, 20, marks=pytest.mark.slow), pytest.param(3, 8, marks=pytest.mark.slow)],
)
def test_nobody_is_turned_away_while_it_is_restarted_again_and_again(row: Start, workers: int, times: int) -> None:
    """Restarts under clients that come and go: no connection is refused or reset, nothing leaks from one process to
    the next, and each ends with its last client."""
    mine = row(settings={"workers": workers, "metrics_listen": "127.0.0.1:0"})
    mine.restart()
    until(lambda: gone(mine.processes[0]))
    inherited = descriptors(mine.newest)
    comers = [Comers(mine.beam.wire) for _ in range(3)]
    for each in comers:
        each.start()
    for _ in range(times - 1):
        mine.restart()
    for each in comers:
        each.over = True
        each.join()
    assert [each.failed for each in comers] == [[], [], []]
    assert sum(each.came for each in comers) > 20
    until(lambda: all(gone(process) for process in mine.processes[:-1]), 20)
    assert mine.beam.process.wait(10) == 0
    until(lambda: descriptors(mine.newest) <= inherited + 4, 10)  # what is opened late, as a database of the cache
    assert len(mine.newest.children(recursive=True)) == (0 if workers == 1 else workers)
    assert not mine.beam.complaints()


@WORKERS
def test_who_is_there_stays_until_he_leaves(row: Start, fresh_shop: None, workers: int) -> None:
    """A transaction goes on over a restart, an idle client asks on, and cancel requests reach both, though they come
    in at the new process."""
    mine = row(settings={"workers": workers})
    url = mine.beam.url()
    with psycopg.connect(url) as open_one, psycopg.connect(url, autocommit=True) as idle:
        open_one.execute("INSERT INTO categories VALUES (77, 'over')")
        idle.execute("SET application_name = 'idle one'")
        said = mine.command()
        assert (said.returncode, said.stderr) == (0, "")
        mine.follow()
        assert f"process {mine.newest.pid} has taken the place of process {mine.processes[0].pid}" in said.stdout
        assert open_one.execute("SELECT name FROM categories WHERE id = 77").fetchone() == ("over",)
        open_one.commit()
        assert idle.execute("SHOW application_name").fetchone() == ("idle one",)
        with psycopg.connect(url, autocommit=True) as late:
            for client in (idle, late):
                timer = threading.Timer(0.5, client.cancel)
                timer.start()
                with pytest.raises(psycopg.errors.QueryCanceled):
                    client.execute("SELECT pg_sleep(20)")
                timer.join()
            assert late.execute("SELECT name FROM categories WHERE id = 77").fetchone() == ("over",)
    assert mine.beam.process.wait(10) == 0
    assert not mine.beam.complaints()


@pytest.mark.slow
def test_idle_clients_are_sent_away_when_the_grace_is_over(row: Start, fresh_shop: None) -> None:
    """After `shutdown_grace` an idle client is told 57P01; a transaction has as long again to end."""
    mine = row(settings={"shutdown_grace": 2.0})
    idle, busy = mine.beam.wire(), mine.beam.wire()
    busy.ask(frames.query("BEGIN; INSERT INTO categories VALUES (78, 'late')"))
    mine.restart()
    assert code([idle.frame()]) == "57P01"
    assert busy.ask(frames.query("COMMIT"))[-1].body == b"I"
    assert mine.beam.process.wait(10) == 0
    with mine.beam.wire() as client:
        assert value(client.ask(frames.query("SELECT name FROM categories WHERE id = 78"))) == b"late"
    idle.close()
    busy.close()


def test_settings_that_are_wrong_do_not_end_it(row: Start) -> None:
    """Who restarts into a mistake is told which, with exit code 1, and the old process serves on; mended, it works."""
    mine = row()
    config = Path(mine.beam.command[mine.beam.command.index("--config") + 1])
    right = config.read_text()
    with mine.beam.wire() as client:
        config.write_text(re.sub(r"(max_active = )\d+", r"\g<1>0", right))
        said = mine.command()
        assert said.returncode == 1
        assert "the new process could not take over" in said.stderr
        assert "max_active" in said.stderr
        assert value(client.ask(frames.query("SELECT 1"))) == b"1"
        mine.beam.wire().close()
        assert "not restarted, this process goes on" in mine.beam.log
        config.write_text(right)
        assert mine.command().returncode == 0
        mine.follow()
        assert value(client.ask(frames.query("SELECT 1"))) == b"1"
    assert mine.beam.process.wait(10) == 0


@pytest.mark.slow
def test_addresses_may_change(row: Start) -> None:
    """The new process listens where its settings say: an address that is new is there, a socket in the file system is
    as it was, and an address that cannot be had is named, while the old process serves on."""
    added, taken = free_port(), free_port()
    with tempfile.TemporaryDirectory(prefix="pgb") as folder, socket.socket() as other:
        other.bind(("127.0.0.1", taken))
        other.listen()
        mine = row(folder_of_sockets=folder)
        path = Path(folder) / f".s.PGSQL.{SOCKET_PORT}"
        before = path.stat().st_ino
        local = {"host": folder, "port": SOCKET_PORT, "user": "app", "dbname": "shop"}
        mine.restart()
        until(lambda: gone(mine.processes[0]))
        assert path.stat().st_ino == before
        with psycopg.connect(**local) as client:
            assert client.execute("SELECT 1").fetchone() == (1,)
        config = Path(mine.beam.command[mine.beam.command.index("--config") + 1])
        config.write_text(f'metrics_listen = "127.0.0.1:{taken}"\n' + config.read_text())
        said = mine.command()
        assert said.returncode == 1
        assert f"cannot listen on 127.0.0.1:{taken}" in said.stderr
        config.write_text(config.read_text().replace(str(taken), str(added)))
        assert mine.command().returncode == 0
        with urllib.request.urlopen(f"http://127.0.0.1:{added}/readyz", timeout=10) as reply:
            assert reply.status == 200
        assert path.stat().st_ino == before


def test_a_new_process_that_is_killed_leaves_its_place_to_the_old_one(row: Start) -> None:
    """kill -9 on the new process while the old one has clients: the old one accepts again, and says so."""
    mine = row()
    with mine.beam.wire() as stays:
        mine.restart()
        mine.newest.kill()
        until(lambda: "this one takes its place back" in mine.beam.log)
        with mine.beam.wire() as client:
            assert value(client.ask(frames.query("SELECT 2"))) == b"2"
        assert mine.command().returncode == 0
        mine.follow()
        assert value(stays.ask(frames.query("SELECT 3"))) == b"3"
    assert mine.beam.process.wait(10) == 0


def test_a_second_restart_waits_for_nobody_and_says_so(row: Start) -> None:
    """One restart at a time: the other is refused; a process that has been replaced says who has its place; and it can
    be told to stop meanwhile."""
    mine = row()
    with mine.beam.wire():
        mine.newest.send_signal(signal.SIGUSR2)
        until(lambda: "is to take over" in mine.beam.log)
        mine.newest.send_signal(signal.SIGUSR2)
        until(lambda: "not restarted: a restart is under way already" in mine.beam.log)
        until(lambda: bool(_TAKEN.search(mine.beam.log)), 60)
        mine.follow()
        mine.processes[0].send_signal(signal.SIGUSR2)
        until(lambda: f"not restarted: process {mine.newest.pid} has taken the place" in mine.beam.log)
        mine.processes[0].terminate()
        assert mine.beam.process.wait(10) == 0
    mine.beam.wire().close()


def test_sigterm_while_the_new_process_starts_ends_both(row: Start) -> None:
    """Who stops PgBeam in the middle of a restart has nothing left running."""
    mine = row()
    mine.newest.send_signal(signal.SIGUSR2)
    until(lambda: "is to take over" in mine.beam.log)
    child = mine.newest.children()[0]
    mine.newest.terminate()
    assert mine.beam.process.wait(15) == 0
    until(lambda: gone(child))


@WORKERS
def test_the_old_process_killed_in_the_middle_leaves_one_that_serves(row: Start, workers: int) -> None:
    """kill -9 on the old process as soon as the new one has begun: that one serves, and no worker is left without a
    supervisor."""
    mine = row(settings={"workers": workers, "shutdown_grace": 1})
    left = mine.newest.children(recursive=True)
    mine.newest.send_signal(signal.SIGUSR2)
    until(lambda: "is to take over" in mine.beam.log)
    child = next(each for each in mine.newest.children() if each not in left)
    mine.newest.kill()
    mine.beam.process.wait()
    time.sleep(0.1)

    def served() -> bool:
        try:
            with mine.beam.wire() as client:
                return value(client.ask(frames.query("SELECT 5"))) == b"5"
        except OSError:
            return False

    until(served, 30)
    until(lambda: all(gone(worker) for worker in left), 30)
    assert not gone(child)


@pytest.mark.parametrize("l2", ["disk", "off"])
def test_writes_at_one_process_are_seen_at_the_other(row: Start, fresh_shop: None, l2: str) -> None:
    """What a client of the old process writes is never hidden by a reply that the new one remembers, nor the other way
    about; with nothing shared they cache nothing while both have clients."""
    mine = row(settings={"plugins": {"cache": {"enabled": True, "ttl_s": 600, "l2": l2}}})
    question = frames.query("SELECT name FROM categories WHERE id = 1")
    with mine.beam.wire() as old:
        mine.beam.wait_for_catalog()
        old.ask(question)
        mine.restart()
        with mine.beam.wire() as new:
            for number in range(10):
                for writer, reader in ((old, new), (new, old)):
                    reader.ask(question)
                    name = f"{number} by {'old' if writer is old else 'new'}"
                    writer.ask(frames.query(f"UPDATE categories SET name = '{name}' WHERE id = 1"))
                    assert value(reader.ask(question)) == name.encode()
            old.close()
            until(lambda: gone(mine.processes[0]))
            mine.beam.wait_for_catalog()


@pytest.mark.slow
def test_several_generations_stay_in_touch(row: Start, fresh_shop: None) -> None:
    """Restarted again while the first process has clients still: cancel requests reach these too, and their writes end
    cached replies; the process in between stays for that, until the first one has gone."""
    mine = row(settings={"plugins": {"cache": {"enabled": True, "ttl_s": 600}}})
    url = mine.beam.url()
    with psycopg.connect(url, autocommit=True) as first:
        mine.restart()
        with psycopg.connect(url, autocommit=True) as second:
            mine.restart()
            for client in (first, second):
                timer = threading.Timer(0.5, client.cancel)
                timer.start()
                with pytest.raises(psycopg.errors.QueryCanceled):
                    client.execute("SELECT pg_sleep(20)")
                timer.join()
        with psycopg.connect(url, autocommit=True) as third:
            question = "SELECT name FROM categories WHERE id = 1"
            for number in range(3):
                third.execute(question)
                first.execute("UPDATE categories SET name = %s WHERE id = 1", (f"n{number}",))
                assert third.execute(question).fetchone() == (f"n{number}",)
            first.execute("ALTER TABLE categories ADD COLUMN more int DEFAULT 5")
            assert len(third.execute("SELECT * FROM categories WHERE id = 1").fetchone() or ()) == 3
        time.sleep(1)
        assert not gone(mine.processes[1])
    until(lambda: gone(mine.processes[0]) and gone(mine.processes[1]), 15)
    mine.beam.wire().close()


@pytest.mark.slow
def test_mixed_load_over_restarts(row: Start, fresh_shop: None) -> None:
    """Transactions that psycopg begins, prepared statements and clients that come for one query, over several restarts:
    the only errors are of who was idle when the old process went, and no write is lost or done twice."""
    mine = row(settings={"shutdown_grace": 2.0})
    over = threading.Event()
    done: dict[int, set[int]] = {}
    unknown: dict[int, set[int]] = {}
    odd: list[str] = []

    def write(who: int) -> None:
        client: psycopg.Connection | None = None
        number = who * 1_000_000
        while not over.is_set():
            number += 1
            try:
                if client is None:
                    client = psycopg.connect(mine.beam.url(), prepare_threshold=1)
                client.execute("SELECT name FROM users WHERE id = %s", (who,)).fetchone()
                client.execute("INSERT INTO categories VALUES (%s, 'x')", (number,))
                client.commit()
                done.setdefault(who, set()).add(number)
            except psycopg.OperationalError as error:
                unknown.setdefault(who, set()).add(number)
                # As with PostgreSQL itself: a query that crosses the farewell finds the connection closed.
                if error.sqlstate != "57P01" and "server closed the connection" not in str(error):
                    odd.append(f"{error.sqlstate} {error}")
                client = None
        if client is not None:
            client.close()

    writers = [threading.Thread(target=write, args=(who,)) for who in range(1, 5)]
    comer = Comers(mine.beam.wire)
    for thread in (*writers, comer):
        thread.start()
    for _ in range(5):
        mine.restart()
        time.sleep(1)
    over.set()
    comer.over = True
    for thread in (*writers, comer):
        thread.join()
    assert (comer.failed, odd) == ([], [])
    with mine.beam.cluster.connect() as boss:
        there = {number for (number,) in boss.execute("SELECT id FROM categories WHERE id > 1000000").fetchall()}
    assert set().union(*done.values()) - there == set()
    assert there - set().union(*done.values()) - set().union(*unknown.values()) == set()
