"""Workers and their supervisor are started, told, killed and stopped: who notices, and who does not."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from ..beams import Beam
from ..clusters import Cluster
from ..wireclient import Closed, LoginRefused, WireClient, error_fields
from .several import Crowd, Two, ask, control, until, worker_of

pytestmark = pytest.mark.newest


class Busy(threading.Thread):
    """A client that asks until it is told to stop, or is cut off."""

    def __init__(self, client: WireClient, number: int) -> None:
        super().__init__()
        self.client, self.number = client, number
        self.stop = False
        self.cut_off = False
        self.answered = 0
        self.wrong: list[str] = []

    def run(self) -> None:
        """Ask for tokens of one's own."""
        try:
            while not self.stop:
                token = f"{self.number}:{self.answered}"
                got = ask(self.client, f"SELECT '{token}'")
                if got != token:
                    self.wrong.append(f"{token} was answered with {got}")
                self.answered += 1
                time.sleep(0.002)
        except (Closed, OSError):
            self.cut_off = True


def test_a_killed_worker_costs_its_own_clients_only(two: Two, crowd: Crowd) -> None:
    """kill -9 on one of two workers under load: the clients of the other notice nothing; another takes its place."""
    mine = two()
    busy = [Busy(client, number) for number, client in enumerate(crowd(mine, 10))]
    victim = worker_of(mine, busy[0].client)
    doomed = [each for each in busy if worker_of(mine, each.client) == victim]
    for each in busy:
        each.start()
    time.sleep(0.5)
    psutil.Process(victim).kill()
    until(lambda: len(control(mine, "workers")) == 2 and victim not in {each.pid for each in mine.workers()})
    late = crowd(mine, 6)
    assert [ask(client, "SELECT 'late'") for client in late] == ["late"] * 6
    for each in busy:
        each.stop = True
        each.join(10)
    assert [each for each in busy if each.cut_off] == doomed
    assert len(doomed) == 5
    assert [wrong for each in busy for wrong in each.wrong] == []
    assert all(each.answered > 10 for each in busy if each not in doomed)
    assert "ended with SIGKILL; 5 clients were cut off" in mine.log


def test_a_stopped_worker_gets_no_clients(two: Two, crowd: Crowd) -> None:
    """kill -STOP on one of two workers: who comes after that is served by the other; on it goes with kill -CONT."""
    mine = two()
    first = crowd(mine, 2)
    victim = psutil.Process(worker_of(mine, first[0]))
    victim.suspend()
    try:
        until(lambda: "does not answer: new clients go to others" in mine.log)
        assert [ask(client, "SELECT 'in'") for client in crowd(mine, 6)] == ["in"] * 6
        assert control(mine, "stats")["supervisor"] == {"workers_silent": 1, "workers_killed": 0}
    finally:
        victim.resume()
    until(lambda: "answers again" in mine.log)
    assert [ask(client, "SELECT 'on'") for client in first] == ["on"] * 2


def test_clients_come_in_while_workers_die(two: Two, crowd: Crowd) -> None:
    """With all workers gone, clients wait at the door and are served by those that come next."""
    mine = two()
    for worker in mine.workers():
        worker.kill()
    assert [ask(client, "SELECT 'in'") for client in crowd(mine, 3)] == ["in"] * 3
    until(lambda: len(control(mine, "workers")) == 2)


def test_workers_do_not_outlive_their_supervisor(cluster: Cluster, mortal: Beam) -> None:
    """kill -9 on the supervisor: running transactions may end, then nothing is left, neither workers nor servers."""
    workers, mark = mortal.workers(), "a mark of its own"
    with mortal.wire(parameters={"application_name": mark}) as client:
        ask(client, "BEGIN")
        mortal.process.kill()
        mortal.process.wait()
        time.sleep(0.5)
        assert ask(client, "SELECT 'still here'") == "still here"
        ask(client, "COMMIT")
        assert psutil.wait_procs(workers, timeout=8)[1] == []
    with cluster.connect() as boss:
        left = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s"
        until(lambda: boss.execute(left, [mark]).fetchone() == (0,))
    assert not mortal.complaints()


def test_a_drain_reaches_all_workers(mortal: Beam, crowd: Crowd) -> None:
    """SIGTERM: new clients are refused, idle ones sent away, transactions of both workers end, then it is over."""
    clients = crowd(mortal, 4)
    assert len({worker_of(mortal, client) for client in clients[:2]}) == 2
    for client in clients[:2]:
        ask(client, "BEGIN")
    workers = mortal.workers()
    mortal.process.terminate()
    for client in clients[2:]:
        assert error_fields(client.frame().body)["C"] == "57P01"
    with pytest.raises(OSError, match="refused"):
        mortal.wire()
    assert [ask(client, "SELECT 'mine'") for client in clients[:2]] == ["mine"] * 2
    for client in clients[:2]:
        ask(client, "COMMIT")
    assert mortal.process.wait(8) == 0
    assert psutil.wait_procs(workers, timeout=1)[1] == []
    assert not mortal.complaints()


def test_a_second_signal_is_in_a_hurry(mortal: Beam, crowd: Crowd) -> None:
    """The transactions that the first one waits for, the second one does not."""
    for client in crowd(mortal, 2):
        ask(client, "BEGIN")
    workers = mortal.workers()
    mortal.process.terminate()
    time.sleep(0.3)
    assert mortal.process.poll() is None
    mortal.process.send_signal(signal.SIGINT)
    assert mortal.process.wait(4) == 0
    assert psutil.wait_procs(workers, timeout=1)[1] == []


def test_one_worker_may_be_told_to_leave(two: Two, crowd: Crowd) -> None:
    """SIGTERM to a worker: it drains, another one takes its place, and the other worker's clients stay."""
    mine = two()
    leaving, staying = crowd(mine, 2)
    old = worker_of(mine, leaving)
    psutil.Process(old).terminate()
    assert error_fields(leaving.frame().body)["C"] == "57P01"
    until(lambda: len(control(mine, "workers")) == 2 and old not in {each.pid for each in mine.workers()})
    assert ask(staying, "SELECT 'staying'") == "staying"


def test_a_reload_reaches_all_workers(two: Two, crowd: Crowd) -> None:
    """New settings hold in every worker; of wrong ones there is one message, and all keep what they had."""
    mine = two(settings={"plugins": {"cache": {"enabled": False}}})
    config = Path(mine.command[mine.command.index("--config") + 1])
    text = config.read_text()
    clients = crowd(mine, 2)
    config.write_text(text + 'plugins.limits.allowed_cidrs = ["10.0.0.0/8"]\n')
    mine.process.send_signal(signal.SIGHUP)
    until(lambda: mine.log.count("settings reloaded") == 2)
    for _ in range(2):
        with pytest.raises(LoginRefused, match="IP not in allowlist"):
            mine.wire()
    config.write_text(text + "plugins.limits.burst = -1\n")
    mine.process.send_signal(signal.SIGHUP)
    until(lambda: "settings were not reloaded" in mine.log)
    config.write_text(text + "workers = 3\n" if "workers" not in text else text.replace("workers = 2", "workers = 3"))
    mine.process.send_signal(signal.SIGHUP)
    until(lambda: mine.log.count("settings reloaded") == 4)
    assert mine.log.count("settings were not reloaded") == 1
    assert mine.log.count("workers cannot change while PgBeam runs") == 1
    clients += crowd(mine, 2)
    assert [ask(client, "SELECT 'well'") for client in clients] == ["well"] * 4
    assert len(mine.workers()) == 2


def test_a_worker_that_cannot_start_stops_the_start(cluster: Cluster, tmp_path: Path) -> None:
    """One message says why, and nothing is left running."""
    (tmp_path / "stubborn.py").write_text(
        "from pgbeam_core import PgBeamError, hookimpl\n"
        "@hookimpl\ndef startup(beam):\n    raise PgBeamError('not before noon')\n"
    )
    info = tmp_path / "pgbeam_stubborn-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pgbeam-stubborn\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[pgbeam]\nstubborn = stubborn\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(tmp_path))
        with pytest.raises(AssertionError, match="did not start") as failed:
            Beam(cluster, "session", tmp_path, plugins="pool,stubborn", settings={"workers": 2})
    assert str(failed.value).count("pgbeam: not before noon") == 1
    assert "Traceback" not in str(failed.value)


def test_two_pgbeams_with_one_state_dir(two: Two, cluster: Cluster, tmp_path: Path) -> None:
    """The second one says that the control socket is the first one's, serves all the same, and inherits it."""
    first = Beam(cluster, "session", tmp_path, settings={"workers": 1})
    try:
        second = two()
        assert "another PgBeam uses state_dir" in second.log
        assert [each["worker"] for each in control(second, "workers")] == [1]
        with second.wire() as client:
            assert ask(client, "SELECT 'served'") == "served"
    finally:
        first.stop()
    until(lambda: "the other PgBeam is gone" in second.log)
    assert [each["worker"] for each in control(second, "workers")] == [1, 2]


def test_the_listening_port_is_taken_by_one(two: Two) -> None:
    """A second PgBeam on the same address is refused, also when both have several workers."""
    first = two()
    second = subprocess.run([*first.command, "--set", "state_dir=other"], capture_output=True, text=True, check=False)
    assert second.returncode == 1
    assert f"cannot listen on 127.0.0.1:{first.port}: Address already in use" in second.stderr
    assert "Traceback" not in second.stderr
