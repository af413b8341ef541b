"""What the supervisor and a worker say to each other."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.testing import StringTransport

from pgbeam_core.errors import PgBeamError
from pgbeam_core.workers.link import Link, Message, connect, first_message, line


class Pair:
    """Both ends, in one process."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, Message]] = []
        self.lost: list[str] = []
        self.answer: Any = "well"
        ours, theirs = socket.socketpair()
        self.one = Link(lambda what, message: None, lambda: self.lost.append("one"))
        self.other = Link(self._heard, lambda: self.lost.append("other"))
        connect(reactor, ours, self.one)
        connect(reactor, theirs, self.other)

    def _heard(self, what: str, message: Message) -> Any:
        self.heard.append((what, message))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Two that can speak to each other until the test ends."""
    made = Pair()
    yield made
    made.one.close()
    pytest_twisted.blockon(deferLater(reactor, 0.02))
    assert sorted(made.lost) == ["one", "other"]


@pytest_twisted.ensureDeferred
async def test_replies_find_their_questions(pair: Pair) -> None:
    """Also when the first answer comes last."""
    waiting: Deferred[str] = Deferred()
    pair.answer = waiting
    first = pair.one.ask("stats", panels=True)
    await deferLater(reactor, 0.02)
    pair.answer = "second"
    assert await pair.one.ask("stats") == "second"
    waiting.callback("first")
    assert await first == "first"
    assert [(what, message.get("panels")) for what, message in pair.heard] == [("stats", True), ("stats", None)]


@pytest_twisted.ensureDeferred
async def test_an_error_is_a_reply(pair: Pair) -> None:
    """With its SQLSTATE; one that nobody expected is in the log, not on the line."""
    pair.answer = PgBeamError("not today", sqlstate="57P03")
    with pytest.raises(PgBeamError, match="not today") as refused:
        await pair.one.ask("reload")
    assert refused.value.sqlstate == "57P03"
    pair.answer = ValueError("a secret")
    with pytest.raises(PgBeamError, match="failed, see the log"):
        await pair.one.ask("reload")


@pytest_twisted.ensureDeferred
async def test_sockets_come_with_their_messages(pair: Pair) -> None:
    """Each client arrives once and in order, many at a time, among other messages, and is the same connection."""
    clients = [socket.socketpair() for _ in range(100)]
    for number, (_, theirs) in enumerate(clients):
        pair.one.hand(theirs)
        pair.one.tell("between", number=number)
    while len(pair.heard) < 200:
        await deferLater(reactor, 0.01)
    got = [message["socket"] for what, message in pair.heard if what == "client"]
    for number, ((ours, theirs), copy) in enumerate(zip(clients, got, strict=True)):
        copy.send(b"%d" % number)
        assert ours.recv(9) == b"%d" % number
        for each in (ours, theirs, copy):
            each.close()


@pytest_twisted.ensureDeferred
async def test_a_question_to_somebody_who_is_gone_fails(pair: Pair) -> None:
    """Nobody waits for ever: neither who asked before nor who asks after."""
    pair.answer = Deferred()
    asked = pair.one.ask("stats")
    pair.other.close()
    with pytest.raises(PgBeamError, match="gone"):
        await asked
    with pytest.raises(PgBeamError, match="gone"):
        await pair.one.ask("stats")
    pair.one.tell("anything")


def test_nothing_is_said_before_there_is_a_line() -> None:
    """What is logged while a worker is being set up goes nowhere, and does no harm."""
    link = Link(lambda what, message: None, lambda: None)
    link.tell("log", event={})
    transport = StringTransport()
    link.makeConnection(transport)
    link.tell("log", event={})
    assert json.loads(transport.value()) == {"what": "log", "event": {}}


def test_the_first_message_needs_no_reactor() -> None:
    """In whatever pieces it comes; what comes behind it is kept; an end without one is noticed."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(line({"what": "begin", "text": "x" * 100_000}) + b'{"what": "st')
        message, rest = first_message(theirs)
        assert (len(message["text"]), rest) == (100_000, b'{"what": "st')
        ours.close()
        with pytest.raises(EOFError):
            first_message(theirs)
