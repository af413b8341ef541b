"""The control socket, over a real socket and on fakes."""

from __future__ import annotations

import json
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.internet.threads import deferToThread
from twisted.logger import capturedLogs

from pgbeam_core import Control, PgBeamError, PluginError, ask_running
from pgbeam_core.control import server


class Talk:
    """A conversation without a socket."""

    def __init__(self, makers: server.Conversations | None = None) -> None:
        self.control = Control()
        self.clock = Clock()
        self.transport = StringTransport()
        self.protocol = (makers or server.Conversations(self.control)).buildProtocol(None)
        self.protocol.callLater = self.clock.callLater  # type: ignore[method-assign]
        self.protocol.makeConnection(self.transport)

    def say(self, *requests: object) -> list[Any]:
        """Send requests in one piece; give the replies."""
        self.transport.clear()
        self.protocol.dataReceived(b"".join(json.dumps(request).encode() + b"\n" for request in requests))
        return self.replies

    @property
    def replies(self) -> list[Any]:
        """What has come."""
        return [json.loads(line) for line in self.transport.value().splitlines()]


@pytest.fixture
def talk() -> Talk:
    """One conversation."""
    return Talk()


def test_requests_are_answered_in_order(talk: Talk) -> None:
    """Also when the first one takes its time."""
    waiting: Deferred[str] = Deferred()
    talk.control.answer("slow", lambda request: waiting)
    assert talk.say({"ask": "slow"}, {"ask": "ping"}) == []
    waiting.callback("at last")
    assert talk.replies == [{"ok": True, "result": "at last"}, {"ok": True, "result": "pong"}]


def test_errors_are_replies(talk: Talk) -> None:
    """The connection goes on after each of them."""

    def refuse(request: object) -> None:
        raise PgBeamError("not today", sqlstate="57P03")

    talk.control.answer("refuse", refuse)
    assert talk.say({"ask": "refuse"}) == [{"ok": False, "error": "not today", "sqlstate": "57P03"}]
    assert talk.say({"ask": "nobody"})[0]["sqlstate"] == "42704"
    assert talk.say(["no object"])[0]["sqlstate"] == "08P01"
    talk.transport.clear()
    talk.protocol.dataReceived(b"{no json\n")
    assert talk.replies[0]["sqlstate"] == "08P01"


def test_a_request_that_is_too_long_ends_the_conversation(talk: Talk) -> None:
    """Memory is bounded whoever asks."""
    talk.protocol.dataReceived(b"x" * (server.MOST_BYTES + 1))
    assert talk.replies[0]["sqlstate"] == "54000"
    assert talk.transport.disconnecting


@pytest.mark.parametrize(
    "line",
    [
        b"[" * 60_000,
        b'{"ask":' * 9_000,
        b"[" * 33 + b"]" * 33,
        b'{"ask": "ping", "x": ' + b"[" * 500 + b"]" * 500 + b"}",
    ],
)
def test_a_request_may_be_nested_so_deep_and_no_deeper(talk: Talk, line: bytes) -> None:
    """Brackets without end are an error that says so, no failure; the conversation goes on."""
    with capturedLogs() as events:
        talk.protocol.dataReceived(line + b"\n")
    assert talk.replies[0]["sqlstate"] in ("54000", "08P01")
    assert not events
    assert talk.say({"ask": "ping", "with": [[[]]]}) == [{"ok": True, "result": "pong"}]


def test_many_requests_behind_a_slow_one(talk: Talk) -> None:
    """As many as may wait are answered when it is, whatever that takes of the stack."""
    waiting: Deferred[str] = Deferred()
    talk.control.answer("slow", lambda request: waiting)
    talk.say({"ask": "slow"}, *[{"ask": "ping"}] * server._MOST_WAITING)
    waiting.callback("at last")
    assert [reply["result"] for reply in talk.replies] == ["at last"] + ["pong"] * server._MOST_WAITING


def test_who_does_not_read_is_not_answered(talk: Talk) -> None:
    """Replies that nobody takes do not pile up; once they are read it goes on."""
    talk.protocol.pauseProducing()
    assert talk.transport.producerState == "paused"
    assert talk.say({"ask": "ping"}) == []
    talk.protocol.resumeProducing()
    assert talk.replies == [{"ok": True, "result": "pong"}]


def test_connections_have_a_bound() -> None:
    """One too many is told so."""
    makers = server.Conversations(Control())
    talks = [Talk(makers) for _ in range(server._MOST_CONNECTIONS + 1)]
    assert not any(talk.transport.disconnecting for talk in talks[:-1])
    assert talks[-1].replies[0]["sqlstate"] == "53300"
    assert talks[-1].transport.disconnecting


def test_silence_ends_the_conversation(talk: Talk) -> None:
    """A forgotten connection does not stay."""
    talk.clock.advance(server.IDLE_S)
    assert talk.transport.disconnecting


def test_a_name_has_one_answerer() -> None:
    """Two plugins that claim one name are noticed at start."""
    control = Control()
    control.answer("mine", lambda _: None)
    with pytest.raises(PluginError):
        control.answer("mine", lambda _: None)


def test_several_results_make_one() -> None:
    """What every worker knows a part of is put together by whoever knows how; the rest any of them answers."""
    control = Control()
    control.answer("calls", lambda _: 3, merge=sum)
    assert control.merges == {"calls": True, "list": False, "ping": False}
    replies: list[Any] = []
    control.merge("calls", [3, 4]).addCallback(replies.append)
    assert replies == [{"ok": True, "result": 7}]


@pytest_twisted.ensureDeferred
async def test_over_a_socket(tmp_path: Path) -> None:
    """It is for its owner only, takes the place of a dead one, and is inherited by who comes second."""
    control = Control()
    control.answer("add", lambda request: request["a"] + request["b"])
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / server.NAME))
    first = server.ControlSocket(reactor, control, tmp_path)
    second = server.ControlSocket(reactor, Control(), tmp_path)
    first.start()
    try:
        assert stat.S_IMODE((tmp_path / server.NAME).stat().st_mode) == 0o600
        ask: Callable[..., Any] = lambda *args, **more: deferToThread(ask_running, tmp_path, *args, **more)  # noqa: E731
        assert await ask("add", a=1, b=2) == 3
        with pytest.raises(PgBeamError, match="nobody answers"):
            await ask("subtract")
        second.start()
        assert first.listening
        assert not second.listening
        await first.stop()
        second._again()
        assert second.listening
        assert await ask("ping") == "pong"
        with pytest.raises(PgBeamError, match="nobody answers"):
            await ask("add", a=1, b=2)
    finally:
        await first.stop()
        await second.stop()
    with pytest.raises(PgBeamError, match="no PgBeam answers"):
        ask_running(tmp_path, "ping")


def test_where_there_can_be_no_socket_pgbeam_runs_without(tmp_path: Path) -> None:
    """A state_dir that is no folder costs the control socket, and nothing else."""
    (tmp_path / "file").write_text("")
    nowhere = server.ControlSocket(reactor, Control(), tmp_path / "file")
    nowhere.start()
    assert not nowhere.listening
