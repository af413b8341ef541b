"""Servers are not trusted with PgBeam's memory either: whatever one says without end, it is lost before it hurts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.task import Clock

from pgbeam_core.api.pool import Identity
from pgbeam_core.errors import ServerUnavailable
from pgbeam_core.net.server import ServerProtocol
from pgbeam_core.net.server_login import LOGIN_MESSAGES
from pgbeam_core.wire import backend
from pgbeam_core.wire.frames import frame
from tests.session.stage import TARGET, Wire

MB = 1 << 20
NOTICE = backend.notice_response("NOTICE", "00000", "x" * 1000)
PASSWORD_QUESTION = frame(ord("R"), (3).to_bytes(4))
NEGOTIATE = frame(ord("v"), (3 << 16).to_bytes(4) + bytes(4))


class Client:
    """A relay to a client that answers nothing."""

    unanswered = False
    repeatable = spent = False

    def challenge(self, frame: bytes) -> None:
        """The server asks."""

    def attach(self, server: object) -> None:
        """This server."""

    def accepted(self) -> None:
        """The client is in."""

    def detach(self) -> None:
        """It is over."""


def server_at_login() -> Any:
    """A server that has been told who wants to log in."""
    clock = Clock()
    relay: Any = Client()
    cancel: Any = None
    server = ServerProtocol(
        TARGET,
        Identity("app", "shop"),
        None,
        now=clock.seconds,
        later=lambda call: clock.callLater(0, call),
        cancel=cancel,
        prepared_limit=10,
        relay=relay,
    )
    server.makeConnection(Wire())
    return server


def parameter(place: int) -> bytes:
    """One of many."""
    return backend.parameter_status(f"name{place}", "value" * 20)


FLOODS: dict[str, Callable[[int], bytes]] = {
    "notices": lambda _: NOTICE,
    "parameters": parameter,
    "one long parameter": lambda _: backend.parameter_status("search_path", "x" * 500_000),
    "questions": lambda _: PASSWORD_QUESTION,
    "negotiations": lambda _: NEGOTIATE,
    "welcomes": lambda _: backend.AUTHENTICATION_OK,
    "keys": lambda _: frame(ord("K"), bytes(8)),
}


@pytest.mark.parametrize("name", FLOODS)
def test_a_server_that_talks_on_during_the_login_is_lost(name: str) -> None:
    """Before it has said 1.1 MB or 2,000 messages; whoever waits for it is told 08006."""
    server = server_at_login()
    failed: list[Any] = []
    server.ready.addErrback(failed.append)
    said = place = 0
    while not failed and said < 2 * MB:
        data = FLOODS[name](place)
        if name == "one long parameter":
            data = data[:5] + data[5:].replace(b"search_path", b"path%07d" % place)
        server.dataReceived(data)
        said, place = said + len(data), place + 1
    assert failed, "it was listened to for ever"
    assert failed[0].check(ServerUnavailable)
    assert said < 1.6 * MB
    assert place <= LOGIN_MESSAGES + 1
    assert server.transport.disconnecting


@pytest.mark.parametrize("name", ["notices", "parameters"])
def test_a_server_that_talks_on_while_nobody_listens_is_lost(name: str) -> None:
    """It serves nobody, and is worth neither memory nor lines of the log."""
    server = server_at_login()
    server.dataReceived(backend.AUTHENTICATION_OK + frame(ord("K"), bytes(8)) + backend.READY_IDLE)
    assert server.alive
    place = 0
    while server.alive and place < 100_000:
        server.dataReceived(FLOODS[name](place))
        place += 1
    assert not server.alive
    assert len(server.parameters) <= 1_001


def test_a_long_frame_that_nobody_needs_is_refused_at_its_header() -> None:
    """A ReadyForQuery of a megabyte is none; an error of 100 MB is not held either."""
    for tag, length in ((b"Z", MB + 1), (b"C", MB + 1), (b"E", 100 * MB), (b"T", 100 * MB)):
        server = server_at_login()
        server.dataReceived(backend.AUTHENTICATION_OK + frame(ord("K"), bytes(8)) + backend.READY_IDLE)
        server.dataReceived(tag + length.to_bytes(4))
        assert not server.alive, tag
