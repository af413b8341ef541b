"""Servers that say much, and clients of theirs that answer nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.task import Clock

from pgbeam_core.api.pool import Identity
from pgbeam_core.net.server import ServerProtocol
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


def server_in_service() -> Any:
    """One that has let PgBeam in, and serves nobody."""
    server = server_at_login()
    server.dataReceived(backend.AUTHENTICATION_OK + frame(ord("K"), bytes(8)) + backend.READY_IDLE)
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
