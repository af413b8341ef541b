"""What a client's connection says to whatever arrives on it."""

# mypy: disallow-untyped-calls=False
from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from pgbeam_core import Refusal, hookimpl
from pgbeam_core.net.auth.login import Login
from pgbeam_core.net.client import ClientProtocol
from pgbeam_core.net.deadlines import LOGIN_TIMEOUT, PARTING_S
from pgbeam_core.net.listening import ClientFactory
from pgbeam_core.session.conversation import Conversation
from pgbeam_core.session.session import Session
from pgbeam_core.testing import FakePostgres, Rehearsal, startup, table
from pgbeam_core.wire import backend, frontend
from pgbeam_core.wire.startup import CancelRequest, GSSENCRequest, SSLRequest, StartupMessage
from tests.session.stage import messages, query, tags

HELLO = startup("app", "shop")
ANSWER_S = 15.0
"""login_timeout_s."""


class Door:
    """A plugin that lets in or not."""

    def __init__(self, answer: Any = None) -> None:
        self.answer = answer
        self.seen: list[str] = []

    @hookimpl
    def connect(self) -> Any:
        self.seen.append("connect")
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    @hookimpl
    def authenticated(self) -> None:
        self.seen.append("authenticated")

    @hookimpl
    def disconnect(self) -> None:
        self.seen.append("disconnect")


class Caller:
    """A client by hand: its bytes go in, what comes back is read."""

    def __init__(self, rehearsal: Rehearsal) -> None:
        self._rehearsal = rehearsal
        self.transport = StringTransport()
        self.protocol: ClientProtocol = ClientFactory(rehearsal.beam).buildProtocol(None)
        self.protocol.makeConnection(self.transport)

    def send(self, data: bytes) -> bytes:
        """Send; gives what came back once everything has arrived."""
        self.protocol.dataReceived(data)
        self._rehearsal.pump()
        return self.take()

    def take(self) -> bytes:
        """What came since last asked."""
        got: bytes = self.transport.value()
        self.transport.clear()
        return got

    def vanish(self) -> None:
        """The socket is closed."""
        self.protocol.connectionLost(Failure(ConnectionDone()))
        self._rehearsal.pump()

    @property
    def closed(self) -> bool:
        """PgBeam has hung up."""
        return bool(self.transport.disconnecting)


@pytest.fixture
def door() -> Door:
    """Lets everybody in unless told otherwise."""
    return Door()


@pytest.fixture
def rehearsal(door: Door) -> Iterator[Rehearsal]:
    """A PgBeam with that door."""
    with Rehearsal({"door": door}, servers={"primary:5432": FakePostgres({"SELECT 1": table(["a"], [["1"]])})}) as one:
        yield one


@pytest.fixture
def caller(rehearsal: Rehearsal) -> Caller:
    """A client that has connected."""
    return Caller(rehearsal)


def fields(data: bytes) -> dict[str, str]:
    """Of the ErrorResponse that came last."""
    return backend.error_fields(messages(data)[-1])


def test_a_login_is_greeted_as_by_postgresql(caller: Caller, door: Door) -> None:
    """AuthenticationOk, parameters, a key, ReadyForQuery."""
    assert tags(caller.send(HELLO)) == "RSKZ"
    assert tags(caller.send(query("SELECT 1"))) == "TDCZ"
    caller.send(frontend.TERMINATE)
    assert caller.closed
    assert door.seen == ["connect", "authenticated", "disconnect"]


def test_a_login_byte_by_byte(caller: Caller) -> None:
    """A startup packet that arrives in pieces is the same packet."""
    got = b"".join(caller.send(HELLO[place : place + 1]) for place in range(len(HELLO)))
    assert tags(got) == "RSKZ"


ENCRYPTIONS = [(SSLRequest(), GSSENCRequest()), (GSSENCRequest(), SSLRequest())]


@pytest.mark.parametrize("requests", ENCRYPTIONS)
def test_encryption_is_declined_and_the_login_goes_on(caller: Caller, requests: tuple[Any, Any]) -> None:
    """`N`, for one kind after the other; then the startup packet in clear."""
    for request in requests:
        assert caller.send(request.to_bytes()) == b"N"
    assert tags(caller.send(HELLO)) == "RSKZ"


@pytest.mark.parametrize("requests", ENCRYPTIONS)
def test_encryption_is_declined_once(caller: Caller, requests: tuple[Any, Any]) -> None:
    """A client cannot keep PgBeam busy with the same question: as in PostgreSQL it is a bad version the second time."""
    for request in requests:
        caller.send(request.to_bytes())
    got = fields(caller.send(requests[0].to_bytes()))
    assert (got["S"], got["C"]) == ("FATAL", "0A000")
    assert got["M"].startswith("unsupported frontend protocol 1234.56")
    assert caller.closed


def test_bytes_behind_an_unanswered_request_for_encryption_are_refused(caller: Caller) -> None:
    """They may have been put there by somebody else."""
    got = caller.send(SSLRequest().to_bytes() + HELLO)
    assert got[:1] == b"N"
    assert fields(got[1:])["C"] == "08P01"
    assert caller.closed


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x00\x00\x00\x00",
        b"\xff" * 8,
        CancelRequest(1, b"four").to_bytes()[:3] + b"\x08" + CancelRequest(1, b"four").to_bytes()[4:8],
    ],
)
def test_garbage_is_cut_without_a_word(caller: Caller, garbage: bytes, door: Door) -> None:
    """A browser, a TLS ClientHello, an impossible length, half a cancel request: PostgreSQL only logs these."""
    assert caller.send(garbage) == b""
    assert caller.closed
    assert door.seen == []


def test_a_startup_packet_without_a_user_is_told_off(caller: Caller, door: Door) -> None:
    """FATAL, behind what there is to say of the protocol, and no plugin is bothered."""
    got = caller.send(StartupMessage(3, 9, {"database": "shop"}).to_bytes())
    assert tags(got) == "vE"
    assert (fields(got)["S"], fields(got)["C"]) == ("FATAL", "28000")
    assert caller.closed
    assert door.seen == []


def test_a_client_of_the_last_century_is_told_in_its_own_words(caller: Caller) -> None:
    """Protocol 2 knows only errors of plain text."""
    got = caller.send(b"\x00\x00\x00\x08\x00\x02\x00\x00")
    assert got.startswith(b"EFATAL:  unsupported frontend protocol 2.0")
    assert caller.closed


def test_a_client_that_says_nothing_is_cut(caller: Caller, rehearsal: Rehearsal) -> None:
    """After the login timeout."""
    rehearsal.clock.advance(ANSWER_S - 1)
    assert not caller.closed
    rehearsal.clock.advance(1)
    assert caller.closed
    assert caller.take() == b""


@pytest.mark.parametrize("said", [HELLO[:1], SSLRequest().to_bytes()])
def test_a_startup_packet_must_come_in_time(caller: Caller, rehearsal: Rehearsal, said: bytes) -> None:
    """A byte now and then, or a question about encryption, gains a client no time."""
    rehearsal.clock.advance(ANSWER_S - 1)
    caller.send(said)
    rehearsal.clock.advance(1)
    assert caller.closed


def test_a_password_must_come_in_time(caller: Caller, rehearsal: Rehearsal) -> None:
    """After login_timeout_s the client is told so as PostgreSQL tells it, and its server is free."""
    rehearsal.primary.passwords["app"] = "sesame"
    rehearsal.clock.advance(ANSWER_S - 1)
    caller.send(HELLO)
    rehearsal.clock.advance(ANSWER_S - 1)
    assert not caller.closed
    rehearsal.clock.advance(1)
    assert fields(caller.take())["C"] == "57014"
    assert caller.closed
    rehearsal.pump()
    assert rehearsal.primary.connections == set()


def test_a_client_that_does_not_take_its_last_words_is_cut(caller: Caller, rehearsal: Rehearsal) -> None:
    """A socket that is to be closed when all is written may never be: nobody holds a descriptor that way."""
    caller.send(b"\x00\x00\x00\x08\x00\x02\x00\x00")
    assert not caller.transport.disconnected
    rehearsal.clock.advance(PARTING_S)
    assert caller.transport.disconnected


def test_there_are_only_so_many_that_have_not_logged_in(rehearsal: Rehearsal) -> None:
    """The oldest is told 53300 and makes room for the next; who is in, or just coming in, is not touched."""
    inside = Caller(rehearsal)
    inside.send(HELLO)
    rehearsal.beam.unauthenticated.most = 3
    callers = [Caller(rehearsal) for _ in range(5)]
    assert [caller.closed for caller in callers] == [True, True, False, False, False]
    assert fields(callers[0].take())["C"] == "53300"
    assert tags(callers[-1].send(HELLO)) == "RSKZ"
    assert tags(inside.send(query("SELECT 1"))) == "TDCZ"
    assert len(rehearsal.beam.unauthenticated) == 2
    for caller in callers:
        caller.vanish()
    assert len(rehearsal.beam.unauthenticated) == 0


def test_where_descriptors_are_short_who_has_not_logged_in_goes_first(rehearsal: Rehearsal) -> None:
    """And once all are in, one more is told that there are too many."""
    rehearsal.beam.most_clients = 2
    waiting, second, third = Caller(rehearsal), Caller(rehearsal), Caller(rehearsal)
    assert waiting.closed
    waiting.vanish()
    for caller in (second, third):
        assert tags(caller.send(HELLO)) == "RSKZ"
    last = Caller(rehearsal)
    assert fields(last.take())["M"] == "sorry, too many clients already"
    assert last.closed


def test_a_client_that_has_left_holds_nothing(rehearsal: Rehearsal) -> None:
    """What it had sent and prepared is gone at once, though Python's collector of garbage never comes."""
    gc.collect()
    gc.disable()
    try:
        caller = Caller(rehearsal)
        caller.send(HELLO)
        caller.send(frontend.Parse(b"s", b"SELECT 1").to_bytes() + frontend.SYNC)
        conversation: Any = caller.protocol.conversation
        caller.send(b"Q" + (1 << 29).to_bytes(4) + bytes(100_000))
        inbox, statements = conversation.input.inbox, conversation.client_statements.statements
        assert len(inbox) > 100_000
        assert statements
        transport = weakref.ref(caller.transport)
        caller.vanish()
        assert len(inbox) == 0
        assert not statements
        del conversation, caller
        assert transport() is None
    finally:
        gc.enable()


def test_a_login_leaves_nothing_to_the_collector(rehearsal: Rehearsal) -> None:
    """Clients come by the thousand a second: what was made for one is gone when it is."""
    gc.collect()
    gc.disable()
    others = set(map(id, _of_clients()))
    try:
        for leaves in (b"", frontend.TERMINATE):
            caller = Caller(rehearsal)
            caller.send(HELLO)
            assert tags(caller.send(query("SELECT 1"))) == "TDCZ"
            caller.send(leaves)
            caller.vanish()
            del caller
        rehearsal.results.clear()
        assert [made for made in _of_clients() if id(made) not in others] == []
    finally:
        gc.enable()


def _of_clients() -> list[Any]:
    """What there is of that, of other tests' too."""
    return [made for made in gc.get_objects() if type(made) in (Conversation, Session, Login, ClientProtocol)]


def test_a_logged_in_client_may_be_silent(caller: Caller, rehearsal: Rehearsal) -> None:
    """The login timeout is over with the login."""
    caller.send(HELLO)
    rehearsal.clock.advance(10 * LOGIN_TIMEOUT)
    assert not caller.closed


def test_a_refusal_at_connect_is_fatal(caller: Caller, door: Door, rehearsal: Rehearsal) -> None:
    """Sent as FATAL with its own SQLSTATE; no server is asked; one disconnect for the one connect."""
    door.answer = Refusal("08004", "connection rejected: IP not in allowlist")
    got = caller.send(HELLO)
    assert (fields(got)["S"], fields(got)["C"]) == ("FATAL", "08004")
    assert caller.closed
    caller.vanish()
    assert door.seen == ["connect", "disconnect"]
    assert rehearsal.primary.logins == 0
    assert rehearsal.beam.sessions == {}


@pytest.mark.parametrize(("answer", "letters"), [(None, "RSKZ"), (Refusal("08004", "no"), "E")])
def test_a_decision_that_takes_its_time_is_waited_for(caller: Caller, door: Door, answer: Any, letters: str) -> None:
    """Late as well as at once."""
    door.answer = waits = Deferred[Any]()
    assert caller.send(HELLO) == b""
    waits.callback(answer)
    assert tags(caller.send(b"")) == letters


def test_a_decision_that_fails_refuses(caller: Caller, door: Door) -> None:
    """Whoever cannot be judged is not let in."""
    door.answer = waits = Deferred[Any]()
    caller.send(HELLO)
    waits.errback(Failure(RuntimeError("broken")))
    assert fields(caller.take())["C"] == "XX000"


def test_a_client_that_leaves_while_it_is_judged(caller: Caller, door: Door) -> None:
    """The plugin's Deferred is cancelled, and the late decision goes nowhere."""
    cancelled: list[bool] = []
    door.answer = Deferred(lambda _: cancelled.append(True))
    caller.send(HELLO)
    caller.vanish()
    assert cancelled == [True]
    assert caller.take() == b""
    assert door.seen == ["connect", "disconnect"]


def test_a_password_is_relayed(caller: Caller, rehearsal: Rehearsal) -> None:
    """The server asks, the client answers, PgBeam says neither."""
    rehearsal.primary.passwords["app"] = "sesame"
    assert tags(caller.send(HELLO)) == "R"
    assert tags(caller.send(frontend.PasswordMessage(b"sesame").to_bytes())) == "RSKZ"


def test_a_wrong_password_is_refused_in_the_servers_words(caller: Caller, rehearsal: Rehearsal, door: Door) -> None:
    """28P01 as PostgreSQL says it."""
    rehearsal.primary.passwords["app"] = "sesame"
    caller.send(HELLO)
    got = caller.send(frontend.PasswordMessage(b"wrong").to_bytes())
    assert fields(got)["C"] == "28P01"
    assert caller.closed
    assert door.seen == ["connect", "disconnect"]


@pytest.mark.parametrize("frame", [query("SELECT 1"), b"!\x00\x00\x00\x04", b"p\x00\x00\x00\x01"])
def test_anything_but_a_password_is_refused_where_one_is_asked_for(
    caller: Caller, rehearsal: Rehearsal, frame: bytes
) -> None:
    """As PostgreSQL does."""
    rehearsal.primary.passwords["app"] = "sesame"
    caller.send(HELLO)
    assert fields(caller.send(frame))["C"] == "08P01"
    assert caller.closed


@pytest.mark.parametrize("goodbye", [frontend.TERMINATE, b""])
def test_a_client_that_leaves_at_the_password_takes_its_server_along(
    caller: Caller, rehearsal: Rehearsal, goodbye: bytes
) -> None:
    """No half logged in server stays behind."""
    rehearsal.primary.passwords["app"] = "sesame"
    caller.send(HELLO)
    if goodbye:
        caller.send(goodbye)
        assert caller.closed
    caller.vanish()
    assert rehearsal.primary.connections == set() or rehearsal.primary.silent


def test_a_server_that_is_down_is_said_to_be(caller: Caller, rehearsal: Rehearsal) -> None:
    """08006, FATAL."""
    rehearsal.primary.down = True
    got = caller.send(HELLO)
    assert (fields(got)["S"], fields(got)["C"]) == ("FATAL", "08006")


def test_queries_sent_with_the_startup_packet_wait_for_the_login(caller: Caller) -> None:
    """A client that expects no password question may send ahead."""
    assert tags(caller.send(HELLO + query("SELECT 1") * 2)) == "RSKZTDCZTDCZ"


def test_a_cancel_request_reaches_its_conversation_only(caller: Caller, rehearsal: Rehearsal) -> None:
    """The right key cancels; a wrong one does nothing; nothing is answered either way."""
    greeting = caller.send(HELLO)
    key = backend.BackendKeyData.from_bytes(messages(greeting)[-2])
    cancelled: list[bool] = []
    conversation: Any = caller.protocol.conversation
    conversation.pending = Deferred(lambda _: cancelled.append(True)).addErrback(lambda _: None)
    for secret, expected in ((bytes(4), []), (key.secret, [True])):
        other = Caller(rehearsal)
        assert other.send(CancelRequest(key.pid, secret).to_bytes()) == b""
        assert other.closed
        assert cancelled == expected


def test_a_key_is_worth_nothing_after_its_session(caller: Caller, rehearsal: Rehearsal) -> None:
    """A late cancel request must not hit whoever comes next."""
    greeting = caller.send(HELLO)
    key = backend.BackendKeyData.from_bytes(messages(greeting)[-2])
    caller.vanish()
    assert rehearsal.beam.cancel_keys.find(CancelRequest(key.pid, key.secret)) is None


def test_a_client_that_vanishes_at_any_byte_leaves_nothing(rehearsal: Rehearsal, door: Door) -> None:
    """Whatever it had said so far: no session, no client, and as many disconnects as connects."""
    conversation = SSLRequest().to_bytes(), HELLO + query("BEGIN") + query("SELECT 1")
    for cut in range(len(conversation[0]) + len(conversation[1]) + 1):
        caller = Caller(rehearsal)
        caller.send(conversation[0][:cut])
        if cut > len(conversation[0]):
            caller.send(conversation[1][: cut - len(conversation[0])])
        caller.vanish()
        assert rehearsal.beam.sessions == {}
        assert rehearsal.beam.clients == set()
    assert door.seen.count("connect") == door.seen.count("disconnect")


def test_a_broken_message_after_the_login_ends_the_session(caller: Caller) -> None:
    """FATAL 08P01, and what follows is not read."""
    caller.send(HELLO)
    got = caller.send(b"Q\x00\x00\x00\x01" + query("SELECT 1"))
    assert (fields(got)["S"], fields(got)["C"]) == ("FATAL", "08P01")
    assert caller.closed
    assert caller.send(query("SELECT 1")) == b""


def test_newer_protocol_versions_are_negotiated(caller: Caller) -> None:
    """3.9 and an unknown option: told what is spoken, then let in, with the long key of 3.2."""
    packet = StartupMessage(3, 9, {"user": "app", "database": "shop", "_pq_.colour": "blue"}).to_bytes()
    got = caller.send(packet)
    assert tags(got) == "vRSKZ"
    assert len(backend.BackendKeyData.from_bytes(messages(got)[-2]).secret) == 32


def test_a_door_that_must_not_fail_refuses_when_it_does() -> None:
    """A plugin with on_error = "refuse" that raises in `connect` lets nobody in, and says so."""
    from tests.core.plugins import Guard

    guard = Guard()
    with Rehearsal({"guard": guard}) as rehearsal:
        guard.broken = True
        caller = Caller(rehearsal)
        assert fields(caller.send(HELLO))["C"] == "XX000"
        assert caller.closed
