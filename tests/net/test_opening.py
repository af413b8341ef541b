"""Servers that are opened, and those that nobody wants any more by the time they are reached."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from pgbeam_core.api.pool import Identity
from pgbeam_core.api.query import Role, Target
from pgbeam_core.net import opening

TARGET = Target("shop", Role.PRIMARY, "db.example.com", 5432)


class Unstoppable:
    """Connects a server although it was told to give up, as a socket does that was connected just then."""

    def __init__(self) -> None:
        self.transport = StringTransport()
        self.server: Any = None

    def __call__(self, _reactor: object, _target: object, server: Any, **_how: object) -> Deferred[Any]:
        self.server = server
        return Deferred(lambda _: None)

    def arrive(self) -> None:
        """It is connected."""
        self.server.makeConnection(self.transport)


def test_a_server_that_is_reached_after_its_client_has_left_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told nothing: PostgreSQL would ask for a password, and wait a minute for the answer."""
    connect = Unstoppable()
    monkeypatch.setattr(opening.transport, "connect", connect)
    opener = opening.ServerOpener(Clock(), TARGET, prepared_limit=10)
    opened = opener(Identity("anna", "shop"), None, None)
    opened.addErrback(lambda _: None)
    opened.cancel()
    connect.arrive()
    assert connect.transport.disconnecting
    assert connect.transport.value() == b""


def test_a_server_is_told_no_database_that_it_would_choose_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that names only its user, at length, has a startup packet that PostgreSQL takes from PgBeam too."""
    connect = Unstoppable()
    monkeypatch.setattr(opening.transport, "connect", connect)
    opening.ServerOpener(Clock(), TARGET, prepared_limit=10)(Identity("n" * 9000, "n" * 9000), None, None)
    connect.arrive()
    assert len(connect.transport.value()) < 10_000
    connect.server.close("the test is over")


class Slow:
    """A client whose login is relayed, and who has been asked for its password, or not."""

    def __init__(self) -> None:
        self.unanswered = False

    def attach(self, server: Any) -> None:
        """It is connected."""

    def detach(self) -> None:
        """It is over."""


def test_a_server_that_accepts_and_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for it longer than connect_timeout_s."""
    connect, clock = Unstoppable(), Clock()
    monkeypatch.setattr(opening.transport, "connect", connect)
    failed: list[Any] = []
    opener = opening.ServerOpener(clock, TARGET, prepared_limit=10, timeout=15)
    opener(Identity("anna", "shop"), None, None).addErrback(failed.append)
    connect.arrive()
    clock.advance(14.9)
    assert not failed
    clock.advance(0.2)
    assert failed[0].value.sqlstate == "08006"
    assert connect.transport.disconnecting
    assert not clock.getDelayedCalls()


def test_a_client_that_is_asked_for_its_password_has_time_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server is not to blame; a minute is the end for both."""
    connect, clock, relay = Unstoppable(), Clock(), Slow()
    monkeypatch.setattr(opening.transport, "connect", connect)
    failed: list[Any] = []
    opener = opening.ServerOpener(clock, TARGET, prepared_limit=10, timeout=15)
    opener(Identity("anna", "shop"), None, relay).addErrback(failed.append)  # type: ignore[arg-type]
    connect.arrive()
    relay.unanswered = True
    clock.pump([1] * 44)
    assert not failed
    relay.unanswered = False
    clock.pump([1] * 2)
    assert failed
    assert not clock.getDelayedCalls()
