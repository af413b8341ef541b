"""A web room in front of a PgBeam that is not there, and requests without a network."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from pgbeam_core.control.registry import Control
from pgbeam_core.settings import Endpoint
from pgbeam_core.telemetry.metrics import Family
from pgbeam_core.web.replies import HttpReply, HttpRequest
from pgbeam_core.web.server import HttpSite
from pgbeam_core.web.site import Web

TOKEN = "a-token-of-24-characters"

OPERATORS = {"admin_users": ("alice",), "stats_users": ("bob",)}


class FakeBeam:
    """What the web room looks at; tests change its attributes."""

    def __init__(self, **settings: Any) -> None:
        known = {"metrics_listen": Endpoint("127.0.0.1", 0), "dashboard": True, "dashboard_token": TOKEN, **OPERATORS}
        more = {"dashboard_write": True, "workers": 1, "projects": {}, "log_level": "info", **settings}
        self.settings: Any = SimpleNamespace(**{**known, **more})
        self.reactor = Clock()
        self.control = Control()
        self.addresses = [("127.0.0.1", 6432)]
        self.families: list[Family] = []
        self.reason: str | None = None
        self.counted: dict[str, Any] = {"projects": {}, "plugin_errors": {}}

    def metrics(self) -> list[Family]:
        return self.families

    def why_not_ready(self) -> str | None:
        return self.reason

    def stats(self) -> dict[str, Any]:
        return self.counted

    def latencies(self) -> dict[str, list[int]]:
        return {}

    def panels(self) -> list[tuple[str, Any]]:
        return []


class Stage:
    """A web room, and what comes of requests to it."""

    def __init__(self, **settings: Any) -> None:
        self.beam = FakeBeam(**settings)
        self.web = Web(self.beam)

    def start_looking(self) -> None:
        """The dashboard's charts and log begin."""
        assert self.web.dashboard is not None
        self.web.dashboard.start("127.0.0.1")

    def stop_looking(self) -> None:
        assert self.web.dashboard is not None
        self.web.dashboard.stop()

    def ask(self, method: str, path: str, *, token: str | None = TOKEN, **more: Any) -> HttpReply:
        """The reply to a request with the token, in whatever turns of the loop it takes."""
        headers = {"authorization": f"Bearer {token}"} if token is not None else {}
        if (body := more.pop("json", None)) is not None:
            more["body"] = json.dumps(body).encode()
            headers["content-type"] = "application/json"
        asked = self.web.routes.answer(HttpRequest(method, path, headers=headers | more.pop("headers", {}), **more))
        return self.outcome(asked)

    def outcome(self, asked: Deferred[HttpReply]) -> HttpReply:
        ended: list[Any] = []
        asked.addBoth(ended.append)
        for _ in range(100):
            if ended:
                break
            self.beam.reactor.advance(0)
        assert ended, "no reply"
        if isinstance(ended[0], Failure):
            ended[0].raiseException()
        reply: HttpReply = ended[0]
        return reply

    def send(self, data: bytes) -> bytes:
        """What is written to a connection on which that comes, byte for byte."""
        listener = HttpSite(self.web.routes, self.beam.reactor)
        protocol: Any = listener.buildProtocol(None)
        transport = StringTransport(peerAddress=IPv4Address("TCP", "192.0.2.1", 4000))
        transport.abortConnection = transport.loseConnection  # type: ignore[method-assign]
        protocol.makeConnection(transport)
        for start in range(0, len(data), 1000):
            protocol.dataReceived(data[start : start + 1000])
        for _ in range(20):
            self.beam.reactor.advance(0)
        written: bytes = transport.value()
        return written


def told(reply: HttpReply) -> Any:
    """What a reply says in JSON."""
    assert reply.content_type == "application/json"
    return json.loads(reply.body)
