"""Starting, draining and stopping, on a clock and listeners in memory."""

# mypy: disallow-untyped-calls=False
from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pluggy
import pytest
from twisted.internet.testing import MemoryReactorClock, StringTransport

from pgbeam_core import hookimpl
from pgbeam_core.api import hookspecs
from pgbeam_core.errors import PgBeamError
from pgbeam_core.service import PgBeamService, longest_served
from pgbeam_core.settings import Merged, validate
from pgbeam_core.settings.where import Origin
from pgbeam_core.wire import backend


class Life:
    """A plugin that notes its life, and may refuse to live."""

    def __init__(self, name: str, notes: list[str], error: Exception | None = None) -> None:
        self._name, self._notes, self._error = name, notes, error

    @hookimpl
    def startup(self) -> None:
        if self._error is not None:
            raise self._error
        self._notes.append(f"{self._name} up")

    @hookimpl
    def shutdown(self) -> None:
        self._notes.append(f"{self._name} down")


class NoPool:
    """A pool that is only asked for and closed."""

    available = True

    def __init__(self, notes: list[str]) -> None:
        self._notes = notes

    @hookimpl
    def pool(self) -> Any:
        return self

    def close(self, reason: str) -> None:
        self._notes.append("pool closed")


class Stage:
    """A service with plugins."""

    def __init__(self, **errors: Exception) -> None:
        self.notes: list[str] = []
        self.reactor = MemoryReactorClock()
        manager = pluggy.PluginManager("pgbeam")
        manager.add_hookspecs(hookspecs)
        manager.register(NoPool(self.notes), name="pool")
        for name in ("b", "a"):
            manager.register(Life(name, self.notes, errors.get(name)), name=name)
        merged = Merged()
        upstream = {"upstream": "postgresql://db.example.com?sslmode=disable"}
        merged.lay({"projects": {"shop": upstream}, "plugins": {"order": []}}, Origin("test"))
        merged.lay({"shutdown_grace": 5, "listen": ["127.0.0.1:0"]}, Origin("test"))
        self.service = PgBeamService(validate(merged, {}), manager, self.reactor)

    def client(self) -> tuple[Any, StringTransport]:
        """Somebody connects."""
        protocol, transport = self.service.clients.buildProtocol(None), StringTransport()
        protocol.makeConnection(transport)
        return protocol, transport


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a PgBeam keeps goes to a folder of the test's own."""
    monkeypatch.chdir(tmp_path)


def failure_of(deferred: Any) -> Any:
    """What it failed with."""
    found: list[Any] = []
    deferred.addErrback(lambda failure: found.append(failure.value))
    return found[0]


def test_plugins_start_in_order_and_stop_in_reverse() -> None:
    """What is named first is ready first and put away last."""
    stage = Stage()
    stage.service.start()
    assert stage.notes == ["a up", "b up"]
    assert [host for host, _ in stage.service.addresses] == ["127.0.0.1"]
    stage.service.stop()
    assert stage.notes == ["a up", "b up", "pool closed", "b down", "a down"]


@pytest.mark.parametrize("error", [PgBeamError("no room"), ValueError("no room")])
def test_a_plugin_that_cannot_start_stops_the_start(error: Exception) -> None:
    """With a message that names what is wrong, before any client is let in."""
    stage = Stage(b=error)
    raised = failure_of(stage.service.start())
    assert isinstance(raised, PgBeamError)
    assert "no room" in raised.message
    assert stage.service.addresses == []
    stage.service.stop()
    assert stage.notes == ["a up", "pool closed", "a down"] or stage.notes == ["a up", "a down"]


def test_a_drain_sends_idle_clients_away_and_stops() -> None:
    """Who is only connected is told 57P01."""
    stage = Stage()
    stage.service.start()
    protocol, transport = stage.client()
    stage.service.drain()
    assert backend.error_fields(transport.value())["C"] == "57P01"
    assert transport.disconnecting
    protocol.connectionLost()
    stage.reactor.advance(1)
    assert stage.notes[-1] == "a down"


def test_a_drain_does_not_wait_for_ever() -> None:
    """After shutdown_grace it stops, whoever is still there."""
    stage = Stage()
    stage.service.start()
    stage.client()
    stage.service.drain()
    stage.reactor.pump([0.05] * 110)
    assert stage.notes[-1] == "a down"


def test_a_second_stop_does_no_harm() -> None:
    """Ctrl-C twice."""
    stage = Stage()
    stage.service.start()
    stage.service.stop()
    stage.service.stop()
    assert stage.notes.count("a down") == 1


def test_what_is_asked_over_the_control_socket() -> None:
    """One process is its only worker."""
    stage = Stage()
    stage.service.start()
    stage.client()
    stage.reactor.advance(2)
    replies: list[Any] = []
    for name in ("stats", "workers"):
        stage.service.beam.control.ask({"ask": name}).addCallback(replies.append)
    assert replies[0]["result"] == stage.service.stats()
    assert replies[1]["result"] == [{"worker": 1, "process": os.getpid(), "clients": 1, "up_s": 2.0}]
    stage.service.stop()


def test_who_was_served_for_longest_is_told() -> None:
    """The log names the client in whose turn the loop was held, not one that came before or after."""

    def client(*served: Any) -> Any:
        return SimpleNamespace(served=served or None)

    clients = [client(1.0, "long ago"), client(10.0, "quick"), client(10.01, "slow"), client(10.4, "next"), client()]
    assert longest_served(clients, 9.9, 10.41) == repr("slow")
    assert longest_served(clients, 10.3, 10.9) == repr("next")
    assert longest_served(clients, 11.0, 12.0) == ""
    assert longest_served(clients * 1000, 9.9, 10.41) == ""


def test_stats_hold_the_core_and_every_plugin() -> None:
    """By project, and what plugins raised."""
    stage = Stage()
    stats = stage.service.stats()
    assert stats.pop("loop") == {"gaps": 0, "gaps_held": 0, "longest_gap_ms": 0, "longest_held_ms": 0}
    assert stats == {"projects": {}, "pins": {}, "plugin_errors": {}}
