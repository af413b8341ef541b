"""One run from start to stop, on a fake service and a fake clock."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.task import Clock
from twisted.logger import LogEvent, globalLogPublisher

from pgbeam_core.cli import life as life_module
from pgbeam_core.cli.life import Life
from pgbeam_core.cli.options import InFront
from pgbeam_core.control.registry import Control
from pgbeam_core.errors import SettingsError
from pgbeam_core.settings import Endpoint, Settings, apply_project


class FakeService:
    """Writes down what it is told; draining lasts until `drained` is fired."""

    def __init__(self, settings: Settings, said: list[str]) -> None:
        self.settings = settings
        self.addresses = [("127.0.0.1", 41234)]
        self.said = said
        self.drained: Deferred[None] = Deferred()
        self.start_result: Deferred[None] = succeed(None)
        self.control = Control()

    def start(self) -> Deferred[None]:
        self.said.append("start")
        return self.start_result

    def shut(self) -> None:
        self.said.append("shut")

    def drain(self) -> Deferred[None]:
        self.said.append("drain")
        return self.drained

    def stop(self) -> Deferred[None]:
        self.said.append("stop")
        return succeed(None)

    def reload(self, settings: Settings) -> None:
        self.settings = settings
        self.said.append("reload")


class FakeEmbedded:
    """An embedded server that takes no time."""

    def __init__(self, said: list[str]) -> None:
        self.said = said

    def start(self) -> str:
        self.said.append("embedded start")
        return "postgresql://shop@127.0.0.1:5/shop"

    def stop(self) -> None:
        self.said.append("embedded stop")


def in_front(settings: Settings, url: str) -> Settings:
    """In front of the embedded server."""
    return apply_project(settings, "shop", url)


class Run:
    """A Life with everything around it faked."""

    def __init__(self, settings: Settings, start_result: Callable[[], Deferred[None]] = lambda: succeed(None)) -> None:
        self.said: list[str] = []
        self.clock = Clock()
        self.settings: Settings | Exception = settings
        self.services: list[FakeService] = []
        self.start_result = start_result
        self.took: list[Settings] = []
        embedded = lambda _: FakeEmbedded(self.said)  # noqa: E731
        first = settings, in_front
        self.life = Life(self.clock, first, self.read, self.took.append, self.make, embedded, self.ready)
        self.done = Deferred.fromCoroutine(self.life.live())

    def read(self, sets: Sequence[str]) -> tuple[Settings, InFront]:
        if isinstance(self.settings, Exception):
            raise self.settings
        return self.settings, in_front

    def make(self, settings: Settings) -> FakeService:
        service = FakeService(settings, self.said)
        service.start_result = self.start_result()
        self.services.append(service)
        return service

    def ready(self, settings: Settings, service: Any, embedded: bool) -> None:
        self.said.append("ready")
        self.listening = settings.listen


@pytest.fixture
def begin(no_threads) -> Iterator[Callable[..., Run]]:
    """begin(settings) begins a run; what is still going when the test ends is stopped."""
    runs: list[Run] = []

    def begin(*arguments: Any) -> Run:
        runs.append(Run(*arguments))
        return runs[-1]

    yield begin
    for run in runs:
        run.life.leave()
        run.life.leave()
        assert run.done.called


@pytest.fixture
def logged() -> Iterator[list[LogEvent]]:
    """What is logged in a test."""
    events: list[LogEvent] = []
    globalLogPublisher.addObserver(events.append)
    yield events
    globalLogPublisher.removeObserver(events.append)


@pytest.fixture
def no_threads(monkeypatch):
    """What would run in a thread runs at once."""
    monkeypatch.setattr(life_module, "deferToThreadPool", lambda reactor, pool, function: succeed(function()))
    monkeypatch.setattr(Clock, "getThreadPool", lambda self: None, raising=False)


@pytest.fixture
def fronting() -> Settings:
    return apply_project(Settings(), "default", "postgresql://127.0.0.1:5/x")


def test_what_takes_long_at_the_start_is_done_before_anybody_waits(begin, fronting, monkeypatch):
    """Python's memory is tidied where no client is listened to, and no watchdog complains that the loop is held."""
    seen: list[str] = []
    monkeypatch.setattr(FakeService, "start", lambda self: seen.append("start") or self.start_result)
    monkeypatch.setattr(life_module, "settle_down", lambda: seen.append("settle"))
    begin(fronting)
    assert seen == ["settle", "start"]


def test_a_signal_drains_and_then_stops(begin, fronting):
    """Ctrl-C waits for running transactions, and no longer than they run."""
    run = begin(fronting)
    assert run.said == ["start", "ready"]
    run.life.leave()
    assert run.said == ["start", "ready", "drain"]
    assert not run.done.called
    run.services[0].drained.callback(None)
    assert run.said == ["start", "ready", "drain", "stop"]
    assert run.done.called
    assert run.life.failure is None
    assert not run.clock.getDelayedCalls()


def test_the_port_that_the_system_chose_is_announced(begin, fronting):
    """Who listens on port 0 is told where to connect."""
    assert begin(fronting).listening == (Endpoint("127.0.0.1", 41234),)


def test_draining_ends_with_the_grace(begin, fronting):
    """A transaction that never ends does not keep PgBeam for ever."""
    run = begin(fronting)
    run.life.leave()
    run.clock.advance(29.9)
    assert not run.done.called
    run.clock.advance(0.2)
    assert run.done.called


def test_a_second_signal_stops_at_once(begin, fronting):
    """Who presses Ctrl-C twice is in a hurry."""
    run = begin(fronting)
    run.life.leave()
    run.life.leave()
    run.life.leave()
    assert run.said[-1] == "stop"
    assert run.done.called


def test_without_a_project_the_embedded_server_comes_first_and_leaves_last(begin):
    """PgBeam stands in front of a server of its own, whose life is PgBeam's."""
    run = begin(Settings())
    assert run.said == ["embedded start", "start", "ready"]
    assert run.services[0].settings.default_project.primary.port == 5
    run.life.leave()
    run.life.leave()
    assert run.said[-2:] == ["stop", "embedded stop"]


def test_what_was_started_is_stopped_when_the_rest_fails(begin):
    """A taken port does not leave an embedded server behind, and says what to do."""
    taken = CannotListenError("127.0.0.1", 6432, OSError(errno.EADDRINUSE, "in use"))
    run = begin(Settings(), lambda: fail(taken))
    assert run.done.called
    assert run.said == ["embedded start", "start", "stop", "embedded stop"]
    assert run.life.failure.message == (
        "127.0.0.1:6432 is taken: stop what listens there, or choose another address with --listen HOST:PORT"
    )


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.EADDRINUSE, "in use"), "127.0.0.1:6432 is taken"),
        (CannotListenError("", 80, OSError(errno.EACCES, "denied")), r"\*:80 needs privileges"),
        (OSError(errno.EADDRNOTAVAIL, "no"), "is no address of this machine"),
        (OSError(errno.EMFILE, "Too many open files"), "cannot start: .*Too many open files"),
    ],
)
def test_why_it_cannot_listen(begin, fronting, error, words):
    """Each reason comes with its remedy."""
    run = begin(fronting, lambda: fail(error))
    assert run.life.failure is not None
    assert re.search(words, run.life.failure.message)


def test_a_reload_brings_new_settings(begin, fronting):
    """SIGHUP reads the settings again and hands them over."""
    run = begin(fronting)
    run.settings = apply_project(Settings(log_level="debug"), "default", "postgresql://127.0.0.1:6/x")
    run.life.reload()
    assert run.said[-1] == "reload"
    assert run.services[0].settings.default_project.primary.port == 6
    assert [settings.log_level for settings in run.took] == ["debug"]


def test_what_cannot_change_is_said_and_kept(begin, fronting, logged):
    """Where PgBeam listens and how many workers it has is decided at start; a reload says so and changes the rest."""
    run = begin(fronting)
    run.settings = replace(fronting, workers=2, listen=(Endpoint("127.0.0.1", 7000),), shutdown_grace=3.0)
    run.life.reload()
    now = run.services[0].settings
    assert (now.workers, now.listen, now.shutdown_grace) == (1, fronting.listen, 3.0)
    assert [event["key"] for event in logged if "key" in event] == ["listen", "workers"]


def test_a_reload_keeps_the_embedded_server(begin, logged):
    """Settings with or without a project still mean the server that runs already, and the log says so."""
    run = begin(Settings())
    run.settings = Settings(shutdown_grace=3.0)
    run.life.reload()
    assert run.services[0].settings.default_project.primary.port == 5
    assert [event["change"] for event in logged] == ["shutdown_grace: 30.0 -> 3.0"]
    logged.clear()
    run.settings = apply_project(run.settings, "own", "postgresql://127.0.0.1:6/x")
    run.life.reload()
    assert run.services[0].settings.default_project.primary.port == 5
    assert "projects hold from the next start on" in logged[0]["log_format"]
    assert run.services[0].settings.shutdown_grace == 3
    assert run.said.count("embedded start") == 1


def test_a_reload_while_it_starts_changes_nothing(begin, fronting):
    """Plugins that are not ready yet are not told of new settings."""
    started: Deferred[None] = Deferred()
    run = begin(fronting, lambda: started)
    run.life.reload()
    assert run.said == ["start"]
    started.callback(None)
    run.life.reload()
    assert run.said == ["start", "ready", "reload"]


@pytest.mark.parametrize("wrong", [SettingsError("settings.toml: workers = 0: must be at least 1"), Settings()])
def test_a_reload_of_wrong_settings_changes_nothing(begin, fronting, wrong):
    """A mistake in settings.toml, or a file without projects, does not take a running PgBeam down."""
    run = begin(fronting)
    run.settings = wrong
    run.life.reload()
    assert "reload" not in run.said
    assert run.took == []
    assert not run.done.called
