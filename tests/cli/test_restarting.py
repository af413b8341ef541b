"""A restart whose new process is none: what the old one does, and what who asked is told."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.task import deferLater

from pgbeam_core.cli.restarting import Restarting
from pgbeam_core.control.registry import Control
from pgbeam_core.doors import Doors
from pgbeam_core.errors import PgBeamError
from pgbeam_core.workers import successor
from pgbeam_core.workers.generations import Before, Generations


class FakeProcess:
    """What was started: the end of the link, and how it ends."""

    def __init__(self, end: int) -> None:
        self.end = socket.socket(fileno=end)
        self.pid = 4711
        self.code: int | None = None

    def poll(self) -> int | None:
        """As subprocess.Popen has it."""
        return self.code

    def kill(self) -> None:
        """As subprocess.Popen has it."""
        self.die(-9)

    def die(self, code: int) -> None:
        """End, and hang up."""
        self.code = code
        self.end.close()


class Stage:
    """The old process: what it tells systemd, what happens to its sockets."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.started: list[FakeProcess] = []
        self.left = 0
        self.client_count = 1
        self.doors = Doors(None, None, None)
        self.control = Control()
        self.overlaps: list[bool] = []
        self.generations = Generations(reactor)
        self.generations.stand_for(self)  # type: ignore[arg-type]
        self.restarting = Restarting(reactor, self.generations, self.told.append, self.start, lambda: None, self.leave)
        self.restarting.answer(self.control, lambda: self.restarting.begin(self, 5.0))

    def start(self, inherited: Sequence[int]) -> FakeProcess:
        """As `starter` does."""
        self.started.append(FakeProcess(os.dup(inherited[0])))
        return self.started[-1]

    def leave(self) -> None:
        self.left += 1

    def overlap(self, on: bool) -> None:
        self.overlaps.append(on)


@pytest.fixture
def stage() -> Iterator[Stage]:
    """A PgBeam that serves; processes that it has started end with the test."""
    made = Stage()
    yield made
    for process in made.started:
        if process.code is None:
            process.die(0)


async def after(seconds: float) -> None:
    """Let the loop turn for that long."""
    await deferLater(reactor, seconds, lambda: None)  # type: ignore[arg-type]


@pytest_twisted.ensureDeferred
async def test_a_process_that_hangs_at_its_start_is_given_up(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is killed; who asked is told, systemd that all is as before; and the next attempt is free to begin."""
    monkeypatch.setattr(successor, "START_S", 0.05)
    reply = await stage.control.ask({"ask": "restart"})
    assert reply == {
        "ok": False,
        "error": "the new process could not take over: it does not serve after 0.05 s",
        "sqlstate": "58000",
    }
    assert stage.started[0].code == -9
    assert [each.partition("=")[0] for each in stage.told] == ["RELOADING", "READY"]
    assert stage.overlaps == [False, True, False]
    stage.restarting.begin(stage, 5.0)
    assert len(stage.started) == 2


@pytest_twisted.ensureDeferred
async def test_a_process_that_ends_before_it_serves_is_told_by_its_own_words(stage: Stage) -> None:
    """What it said is the reason; one that said nothing is told by how it ended."""
    asked = stage.control.ask({"ask": "restart"})
    before = Before(stage.started[0].end.dup())
    before.failed("settings.toml: workers = 0: must be at least 1")
    before.serves()  # its descriptors are closed as it ends
    stage.started[0].die(2)
    assert (await asked)["error"] == (
        "the new process could not take over: settings.toml: workers = 0: must be at least 1"
    )
    asked = stage.control.ask({"ask": "restart"})
    stage.started[1].die(1)
    assert "it ended with exit code 1 before it served" in (await asked)["error"]
    assert stage.left == 0


@pytest_twisted.ensureDeferred
async def test_only_one_restart_at_a_time(stage: Stage) -> None:
    """A second one is refused while the first is under way."""
    stage.restarting.begin(stage, 5.0)
    with pytest.raises(PgBeamError, match="a restart is under way already"):
        stage.restarting.begin(stage, 5.0)
    stage.restarting.leaving()
    await after(0.1)
    assert stage.started[0].code == -9
