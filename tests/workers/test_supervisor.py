"""The supervisor, with workers that are no processes."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.task import deferLater

from pgbeam_core.errors import PgBeamError
from pgbeam_core.settings import Endpoint, Settings, apply_project
from pgbeam_core.workers import looks, pulses
from pgbeam_core.workers import supervisor as supervisors
from pgbeam_core.workers.supervisor import Supervisor

from .fakes import FakeWorker

HERE = (Endpoint("127.0.0.1", 0),)


class Stage:
    """A supervisor, and every worker that it ever started."""

    def __init__(self, state_dir: Path, workers: int = 2) -> None:
        self.workers: list[FakeWorker] = []
        self.how: dict[int, dict[str, bool]] = {}
        """What the n-th worker to be started does not do."""
        settings = Settings(listen=HERE, workers=workers, state_dir=state_dir)
        self.settings = apply_project(settings, "shop", "postgresql://127.0.0.1:5/x")
        self.supervisor = Supervisor(self.settings, reactor, spawn=self._spawn)

    def _spawn(self, number: int, end: socket.socket) -> FakeWorker:
        self.workers.append(FakeWorker(number, end, **self.how.get(len(self.workers), {})))
        return self.workers[-1]

    def come(self) -> socket.socket:
        """A client connects."""
        client = socket.create_connection(self.supervisor.addresses[0], timeout=5)
        client.setblocking(False)
        return client

    async def until(self, true: Callable[[], Any]) -> None:
        """Let things happen until it is true."""
        for _ in range(500):
            if true():
                return
            await deferLater(reactor, 0.01)
        raise AssertionError("waited in vain")

    @property
    def counts(self) -> list[int]:
        """How many clients each worker was handed."""
        return [len(worker.clients) for worker in self.workers]


@pytest.fixture
def stage(tmp_path: Path) -> Any:
    """A stage that is cleared after the test."""
    made = Stage(tmp_path)
    yield made
    pytest_twisted.blockon(made.supervisor.stop())


@pytest_twisted.ensureDeferred
async def test_each_client_goes_to_the_worker_with_the_fewest(stage: Stage) -> None:
    """Also when one worker's clients have left and the other's have not."""
    await stage.supervisor.start()
    clients = [stage.come() for _ in range(6)]
    await stage.until(lambda: stage.counts == [3, 3])
    for _ in range(2):
        stage.workers[1].link.tell("gone")
    await deferLater(reactor, 0.05)
    clients += [stage.come() for _ in range(2)]
    await stage.until(lambda: stage.counts == [3, 5])
    for client in clients:
        client.close()


@pytest_twisted.ensureDeferred
async def test_clients_of_a_dead_worker_that_it_had_not_taken_go_to_another(stage: Stage) -> None:
    """Who was accepted, but not yet served, is not cut off."""
    stage.how = {0: {"takes": False}}
    await stage.supervisor.start()
    with stage.come() as one, stage.come() as two:
        await stage.until(lambda: stage.counts == [1, 1])
        stage.workers[0].die(-9)
        await stage.until(lambda: stage.counts[1] == 2)
        for number, client in enumerate(stage.workers[1].clients):
            client.send(b"%d" % number)
        await deferLater(reactor, 0.05)
        assert sorted([one.recv(9), two.recv(9)]) == [b"0", b"1"]


@pytest_twisted.ensureDeferred
async def test_a_worker_that_does_not_take_clients_is_passed_over(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that hangs gets no more of them than it already has."""
    monkeypatch.setattr("pgbeam_core.workers.process.STALLED_S", 0.05)
    stage.how = {0: {"takes": False}}
    await stage.supervisor.start()
    clients = [stage.come() for _ in range(2)]
    await stage.until(lambda: stage.counts == [1, 1])
    await deferLater(reactor, 0.1)
    clients += [stage.come() for _ in range(4)]
    await stage.until(lambda: stage.counts == [1, 5])
    for client in clients:
        client.close()


@pytest.fixture
def quick_beats(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers are asked more often than usual whether they are there."""
    monkeypatch.setattr(pulses, "BEAT_S", 0.01)


@pytest.mark.usefixtures("quick_beats")
@pytest_twisted.ensureDeferred
async def test_a_worker_that_does_not_answer_gets_no_clients(stage: Stage) -> None:
    """One that is stopped, or held, is passed over until it answers again; that is counted."""
    await stage.supervisor.start()
    stage.workers[0].silent = True
    await stage.until(lambda: len(stage.supervisor._crew.answering) == 1)
    clients = [stage.come() for _ in range(4)]
    await stage.until(lambda: stage.counts == [0, 4])
    assert stage.supervisor._pulses.counts == {"workers_silent": 1, "workers_killed": 0}
    for client in clients:
        client.close()


@pytest.mark.usefixtures("quick_beats")
@pytest_twisted.ensureDeferred
async def test_a_worker_that_answers_again_gets_clients_again(stage: Stage) -> None:
    """Nothing is held against one that was only busy."""
    await stage.supervisor.start()
    stage.workers[0].silent = True
    await stage.until(lambda: len(stage.supervisor._crew.answering) == 1)
    stage.workers[0].speak()
    await stage.until(lambda: len(stage.supervisor._crew.answering) == 2)
    with stage.come(), stage.come():
        await stage.until(lambda: stage.counts == [1, 1])


@pytest.mark.usefixtures("quick_beats")
@pytest_twisted.ensureDeferred
async def test_a_worker_that_never_answers_is_replaced(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its clients wait in vain: it is killed, and those that it had not taken go to others."""
    monkeypatch.setattr(pulses, "MOST_MISSED", 5)
    stage.how = {0: {"takes": False}}
    await stage.supervisor.start()
    with stage.come() as one, stage.come() as two:
        await stage.until(lambda: stage.counts == [1, 1])
        stage.workers[0].silent = True
        await stage.until(lambda: len(stage.workers) == 3)
        assert stage.workers[0].code == -9
        await stage.until(lambda: sum(stage.counts[1:]) == 2)
        assert one.fileno() != two.fileno()
    assert stage.supervisor._pulses.counts == {"workers_silent": 1, "workers_killed": 1}


@pytest.mark.usefixtures("quick_beats")
@pytest_twisted.ensureDeferred
async def test_a_worker_that_was_killed_is_not_waited_for(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its process is gone, though its link does not tell: another one takes its place."""
    monkeypatch.setattr(pulses, "MOST_MISSED", 5)
    await stage.supervisor.start()
    stage.workers[0].link_stays = stage.workers[0].silent = True
    await stage.until(lambda: len(stage.workers) == 3)
    assert stage.workers[0].code == -9
    await stage.until(lambda: len(stage.supervisor._crew.ready) == 2)
    stage.workers[0].link.close()


@pytest.mark.usefixtures("quick_beats")
@pytest_twisted.ensureDeferred
async def test_a_worker_that_ends_in_silence_is_not_waited_for(stage: Stage) -> None:
    """Nobody killed it, and its link does not tell: PgBeam stops all the same, and else another one takes its place."""
    await stage.supervisor.start()
    stage.workers[0].link_stays = stage.workers[0].silent = True
    stage.workers[0].die(1)
    await stage.until(lambda: len(stage.workers) == 3)
    await stage.until(lambda: len(stage.supervisor._crew.ready) == 2)
    stage.workers[1].link_stays = stage.workers[1].silent = True
    await stage.supervisor.stop()
    for worker in stage.workers[:2]:
        worker.link.close()


@pytest.mark.usefixtures("quick_beats")
@pytest_twisted.ensureDeferred
async def test_a_worker_that_is_never_ready_is_replaced(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A start that hangs does not leave PgBeam with one worker less for ever."""
    await stage.supervisor.start()
    monkeypatch.setattr(pulses, "MOST_STARTING", 5)
    stage.how = {2: {"starts": False}}
    stage.workers[0].die(1)
    await stage.until(lambda: len(stage.workers) == 4)
    assert stage.workers[2].code == -9
    await stage.until(lambda: len(stage.supervisor._crew.ready) == 2)


@pytest_twisted.ensureDeferred
async def test_a_dead_worker_is_replaced_and_told_what_holds_now(stage: Stage) -> None:
    """Its place is taken by one of its number; settings that change while that one starts reach it."""
    await stage.supervisor.start()
    stage.how = {2: {"starts": False}}
    stage.workers[0].die(1)
    await stage.until(lambda: len(stage.workers) == 3)
    assert stage.workers[2].number == 1
    fresh = apply_project(stage.settings, "shop", "postgresql://127.0.0.1:6/x")
    stage.supervisor.reload(fresh)
    await stage.until(lambda: stage.workers[1].said("reload"))
    assert not stage.workers[2].said("reload")
    stage.workers[2].link.tell("ready", merges={})
    await stage.until(lambda: stage.workers[2].said("reload"))
    assert ":6/x" in stage.workers[2].said("reload")[0]["settings"]["projects"]["shop"]["upstream"]


@pytest_twisted.ensureDeferred
async def test_with_no_worker_clients_wait_outside(stage: Stage) -> None:
    """They are served when there is one again."""
    await stage.supervisor.start()
    for worker in list(stage.workers):
        worker.die(-11)
    with stage.come():
        await stage.until(lambda: sum(stage.counts[2:]) == 1)


@pytest_twisted.ensureDeferred
async def test_the_first_reason_is_the_reason(stage: Stage) -> None:
    """A worker that cannot start fails the start with what it said; the others are stopped."""
    stage.how = {0: {"starts": False}}
    started = stage.supervisor.start()
    stage.workers[0].link.tell("failed", message="no room for the cache")
    stage.workers[0].die(1)
    with pytest.raises(PgBeamError, match="no room for the cache"):
        await started
    await stage.supervisor.stop()
    assert stage.workers[1].said("stop")
    with pytest.raises(ConnectionRefusedError):
        stage.come()


@pytest_twisted.ensureDeferred
async def test_a_worker_that_dies_without_a_word_fails_the_start(stage: Stage) -> None:
    """With the signal that killed it."""
    stage.how = {1: {"starts": False}}
    started = stage.supervisor.start()
    stage.workers[1].die(-11)
    with pytest.raises(PgBeamError, match="worker 2 ended with SIGSEGV before it was ready"):
        await started


@pytest_twisted.ensureDeferred
async def test_who_does_not_stop_is_killed(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hanging worker does not keep PgBeam from ending."""
    monkeypatch.setattr(supervisors, "STOP_S", 0.1)
    await stage.supervisor.start()
    stage.workers[0].stops = False
    await stage.supervisor.stop()
    assert [worker.code for worker in stage.workers] == [-9, 0]


@pytest_twisted.ensureDeferred
async def test_all_who_do_not_stop_are_killed(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is gone as soon as it is killed does not save the others."""
    monkeypatch.setattr(supervisors, "STOP_S", 0.1)
    await stage.supervisor.start()
    for worker in stage.workers:
        worker.stops = False
    stopped = stage.supervisor.stop()
    await stage.until(lambda: [worker.code for worker in stage.workers] == [-9, -9])
    await stopped


@pytest_twisted.ensureDeferred
async def test_a_cancel_request_is_shown_to_the_others(stage: Stage) -> None:
    """The worker that has the client says so; the one that asked is not asked."""
    await stage.supervisor.start()
    stage.workers[1].answers["cancel"] = True
    assert await stage.workers[0].link.ask("cancel", pid=7, secret="ff") is True
    assert [(message["pid"], message["secret"]) for message in stage.workers[1].said("cancel")] == [(7, "ff")]
    assert stage.workers[0].said("cancel") == []
    assert await stage.workers[1].link.ask("cancel", pid=7, secret="ff") is False


@pytest_twisted.ensureDeferred
async def test_news_are_for_the_others(stage: Stage) -> None:
    """Who tells them knows them already."""
    await stage.supervisor.start()
    stage.workers[0].link.tell("news", name="limits.login_failed", value="192.0.2.1")
    await stage.until(lambda: stage.workers[1].said("news"))
    (heard,) = stage.workers[1].said("news")
    assert (heard["name"], heard["value"]) == ("limits.login_failed", "192.0.2.1")
    assert stage.workers[0].said("news") == []


@pytest_twisted.ensureDeferred
async def test_requests_go_to_one_worker_or_to_all(stage: Stage) -> None:
    """As whoever answers them has it; a refusal by one is the reply."""
    await stage.supervisor.start()
    ask = stage.supervisor.control.ask
    stage.workers[0].answers["control"] = {"ok": True, "result": 3}
    stage.workers[1].answers["control"] = {"ok": True, "result": 4}
    assert await ask({"ask": "add"}) == {"ok": True, "result": 7}
    assert await ask({"ask": "one"}) == {"ok": True, "result": 3}
    assert (await ask({"ask": "nobody"}))["sqlstate"] == "42704"
    assert (await ask("nonsense"))["sqlstate"] == "08P01"
    assert (await ask({"ask": "list"}))["result"] == ["add", "list", "one", "ping", "stats", "workers"]
    stage.workers[1].answers["control"] = refusal = {"ok": False, "error": "no", "sqlstate": "22023"}
    assert await ask({"ask": "add"}) == refusal
    assert [each["worker"] for each in (await ask({"ask": "workers"}))["result"]] == [1, 2]


@pytest_twisted.ensureDeferred
async def test_stats_do_not_wait_for_a_worker_that_hangs(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the others counted is shown."""
    monkeypatch.setattr(looks, "LOOK_S", 0.1)
    await stage.supervisor.start()
    hangs = stage.workers[0].link
    hangs.lineReceived = lambda line: None  # type: ignore[method-assign]
    tree = {"projects": {}, "pins": {"listen": 2}, "plugin_errors": {}}
    stage.workers[1].answers["stats"] = {"stats": tree, "latencies": {}, "panels": [("cache", "\x1b[1mhits\x1b[0m 3")]}
    assert (await stage.supervisor.control.ask({"ask": "stats"}))["result"]["pins"] == {"listen": 2}
    assert stage.supervisor.stats()["pins"] == {"listen": 2}
    assert [(name, str(text)) for name, text in stage.supervisor.panels()] == [("cache, one of 1 workers", "hits 3")]
