"""A worker, between a supervisor that is a transport in memory and a PostgreSQL that is a script."""

from __future__ import annotations

import json
from typing import Any

import pluggy
import pytest
from rich.text import Text
from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock, StringTransport

from pgbeam_core import hookimpl
from pgbeam_core.api import hookspecs
from pgbeam_core.errors import PgBeamError, PluginError
from pgbeam_core.net.listening import ClientFactory
from pgbeam_core.service import PgBeamService
from pgbeam_core.settings import Settings, apply_project, as_tree
from pgbeam_core.telemetry.logs import Log
from pgbeam_core.testing import startup
from pgbeam_core.wire.startup import CancelRequest
from pgbeam_core.workers.worker import Worker
from tests.session.stage import Stage as Staged


class Plugin:
    """A pool that is never used, numbers to count, and a start that may fail."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.hits = 3

    @hookimpl
    def startup(self) -> None:
        if self.error is not None:
            raise self.error

    @hookimpl
    def pool(self) -> Any:
        return self

    def close(self, reason: str) -> None:
        """As a pool."""

    @hookimpl
    def stats(self) -> dict[str, int]:
        return {"hits": self.hits}

    @hookimpl
    def panel(self) -> Text:
        return Text(f"{self.hits} hits", style="bold")


class Stage:
    """A worker whose supervisor is the test."""

    def __init__(self) -> None:
        self.plugin = Plugin()
        manager = pluggy.PluginManager("pgbeam")
        manager.add_hookspecs(hookspecs)
        manager.register(self.plugin, name="mine")
        self.settings = apply_project(Settings(workers=2), "shop", "postgresql://127.0.0.1:5/x")
        orders = {"number": 2, "workers": 2, "settings": as_tree(self.settings)}
        self.worker = Worker(orders, {}, frozenset())
        self.reactor = MemoryReactorClock()
        self.service = PgBeamService(self.worker.settings, manager, self.reactor)
        self.transport = StringTransport()
        self.log = Log(None, "info", "json")  # type: ignore[arg-type]
        self.worker.link.makeConnection(self.transport)

    def begin(self) -> list[Any]:
        """Let it begin; what it says."""
        self.worker.begin(self.service, self.log)
        said = self.said()
        if said and said[0].get("request") == {"ask": "console.orders"}:  # there is nobody else who could know
            nobody = {"ok": False, "error": "nobody answers", "sqlstate": "42704"}
            self.worker.link.lineReceived(json.dumps({"re": said[0]["id"], "result": nobody}).encode())
            return said[1:] + self.said()
        return said

    def tell(self, what: str, **fields: Any) -> list[Any]:
        """Tell it something; what it says then."""
        self.worker.link.lineReceived(json.dumps({"what": what, **fields}).encode())
        return self.said()

    def said(self) -> list[Any]:
        """What it has said since this was last asked."""
        lines = self.transport.value().splitlines()
        self.transport.clear()
        return [json.loads(line) for line in lines]

    def client(self) -> tuple[Any, StringTransport]:
        """A client that it was handed."""
        factory: ClientFactory = self.worker._clients
        protocol, transport = factory.buildProtocol(None), StringTransport()
        protocol.makeConnection(transport)
        return protocol, transport


@pytest.fixture
def stage() -> Stage:
    """One that has not begun."""
    return Stage()


def test_it_says_when_it_is_ready_and_what_can_be_asked(stage: Stage) -> None:
    """It listens to nobody but the supervisor."""
    alone, together = (
        ("console", "console.orders", "explain", "list", "operator", "ping", "stats"),
        ("console.steer", "tables"),
    )
    merges = {**dict.fromkeys(alone, False), **dict.fromkeys(together, True)}
    assert stage.begin() == [{"what": "ready", "merges": merges}]
    assert not stage.reactor.tcpServers


def test_what_operators_have_ordered_holds_for_a_worker_that_comes_late(stage: Stage) -> None:
    """Before it is given clients it hears what is paused and what is disabled."""
    stage.worker.begin(stage.service, stage.log)
    (asked,) = stage.said()
    orders = {"paused": [[None, None]], "disabled": [["shop", "crm"]]}
    reply = {"re": asked["id"], "result": {"ok": True, "result": orders}}
    stage.worker.link.lineReceived(json.dumps(reply).encode())
    assert [message["what"] for message in stage.said()] == ["ready"]
    steering = stage.service.beam.console.steering
    assert (steering.is_paused, steering.is_disabled("shop", "crm")) == (True, True)


def test_it_says_why_it_cannot_start(stage: Stage) -> None:
    """In the words of the plugin that could not, and ends."""
    stage.plugin.error = PgBeamError("no room")
    assert {"what": "failed", "message": "no room"} in stage.begin()
    assert stage.transport.disconnecting
    stage.worker.link.connectionLost()
    assert stage.worker.finished.called


def test_its_account_can_be_added_to_others(stage: Stage) -> None:
    """Counters, the histograms behind the quantiles, and panels as text where they are wanted."""
    stage.begin()
    (reply,) = stage.tell("stats", id=1, panels=True)
    account = reply["result"]
    assert account["stats"]["mine"] == {"hits": 3}
    assert account["latencies"] == {}
    ((name, text),) = account["panels"]
    assert (name, "3 hits" in text, "\x1b[1m" in text) == ("mine", True, True)
    assert stage.tell("stats", id=2, panels=False)[0]["result"]["panels"] == []


def test_a_cancel_request_that_it_does_not_know_goes_round(stage: Stage) -> None:
    """The client that brought it is let go when the others have looked at it, not before."""
    stage.begin()
    protocol, transport = stage.client()
    protocol.dataReceived(CancelRequest(7, b"\x01\x02\x03\x04").to_bytes())
    (asked,) = stage.said()
    assert (asked["what"], asked["pid"], asked["secret"]) == ("cancel", 7, "01020304")
    protocol.dataReceived(b"nothing may follow")
    assert not transport.disconnecting
    stage.worker.link.lineReceived(json.dumps({"re": asked["id"], "result": False}).encode())
    assert transport.disconnecting
    protocol.connectionLost()
    assert stage.said() == [{"what": "gone"}]


def test_a_cancel_request_of_its_own_is_its_own_affair(stage: Stage) -> None:
    """Nobody else is asked, and what another worker was asked is answered with whether it was known."""
    stage.begin()
    cancelled: list[bool] = []

    def waiting() -> Deferred[None]:
        return Deferred[None](lambda _: cancelled.append(True)).addErrback(lambda _: None)

    conversation = Staged().conversation
    conversation.pending = waiting()
    pid, secret = stage.service.beam.cancel_keys.issue(conversation, pid=None, long=True)
    protocol, transport = stage.client()
    protocol.dataReceived(CancelRequest(pid, secret).to_bytes())
    assert (cancelled, stage.said(), transport.disconnecting) == ([True], [], True)
    conversation.pending = waiting()
    assert stage.tell("cancel", id=1, pid=pid, secret=secret.hex()) == [{"re": 1, "result": True}]
    assert stage.tell("cancel", id=2, pid=pid, secret="00") == [{"re": 2, "result": False}]
    assert len(cancelled) == 2


def test_news_come_and_go(stage: Stage) -> None:
    """What one plugin tells, the same plugin in the other workers hears; a listener that fails harms nobody."""
    stage.begin()
    heard: list[int] = []
    broadcast = stage.service.beam.broadcast
    broadcast.subscribe("mine.count", heard.append)
    broadcast.subscribe("mine.bad", lambda value: 1 / 0)  # type: ignore[arg-type]
    broadcast.publish("mine.count", 3)
    assert stage.said() == [{"what": "news", "name": "mine.count", "value": 3}]
    for name in ("mine.bad", "nobody's", "mine.count"):
        assert stage.tell("news", name=name, value=4) == []
    assert heard == [4]
    with pytest.raises(PluginError):
        broadcast.subscribe("mine.count", print)


def test_new_settings_reach_its_log_and_its_plugins(stage: Stage) -> None:
    """What has not changed stays the object that everybody holds."""
    stage.begin()
    project = stage.service.settings.projects["shop"]
    tree = as_tree(stage.settings) | {"log_level": "debug", "workers": 3}
    assert stage.tell("reload", id=1, settings=tree) == [{"re": 1, "result": None}]
    assert (stage.log.level, stage.service.settings.log_level) == ("debug", "debug")
    assert stage.service.settings.workers == 2
    assert stage.service.settings.projects["shop"] is project


def test_it_leaves_when_its_supervisor_is_gone(stage: Stage) -> None:
    """Clients are sent away, and it ends by itself."""
    stage.begin()
    protocol, transport = stage.client()
    protocol.dataReceived(startup("app", "shop")[:10])
    stage.worker.link.connectionLost()
    assert b"57P01" in transport.value()
    protocol.connectionLost()
    stage.reactor.advance(1)
    assert stage.worker.finished.called


def test_a_stop_does_not_wait_for_a_drain(stage: Stage) -> None:
    """It says that it leaves once, and closes the line when everything is put away."""
    stage.begin()
    protocol, _ = stage.client()
    assert stage.tell("drain") == [{"what": "leaving"}]
    assert not stage.transport.disconnecting
    stage.tell("stop")
    assert stage.transport.disconnecting
    protocol.connectionLost()
    stage.reactor.advance(1)
    stage.worker.link.connectionLost()
    assert stage.worker.finished.called
