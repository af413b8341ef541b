"""Several clients' turns on one server: each gets its own reply, its own error, its own cancel, and nobody else's."""

from __future__ import annotations

from typing import Any

import pytest

from pgbeam_core.api._bookkeeping import PROVED_BY
from pgbeam_core.wire import backend
from tests.behaviour.pool.shared import READ, Crowd
from tests.session.plugins import code
from tests.session.stage import ONE, READY, SYNC, TWO, bind, done, error, execute, messages, parse, pbe, query, tags

CANCELLED = error("57014", "canceling statement due to user request")


def row(value: str) -> bytes:
    """A reply of one row."""
    return backend.data_row([value.encode()]) + done()


def test_reads_stand_behind_one_another() -> None:
    """Three clients' reads are on one server at once, and each client gets its own row."""
    crowd = Crowd()
    clients = crowd.crowd(3)
    for client in clients:
        crowd.ask(client)
    (server,) = crowd.busy()
    assert server.owed == 3
    crowd.answer(row("1"), row("2"), row("3"))
    assert [client.take() for client in clients] == [row(value) + READY for value in "123"]
    assert crowd.target_pool.servers.idle[server.identity] == [server]


def test_a_reply_in_pieces_is_still_its_clients() -> None:
    """However the bytes of several replies arrive."""
    crowd = Crowd()
    clients = crowd.crowd(3)
    for client in clients:
        crowd.ask(client)
    (server,) = crowd.busy()
    for byte in row("one") + READY + row("two") + READY + row("three") + READY:
        crowd.say(bytes([byte]), server)
    assert [client.take() for client in clients] == [row(value) + READY for value in ("one", "two", "three")]


@pytest.mark.parametrize("sql", [READ, "SELECT count(*) FROM t WHERE a > 3"])
def test_trust_comes_first(sql: str) -> None:
    """Only after some short and small executions alone may a shape stand behind others."""
    crowd = Crowd(proved=())
    crowd.prove(sql, times=PROVED_BY - 1)
    first, second = crowd.crowd(2)
    crowd.ask(first, sql)
    crowd.ask(second, sql)
    assert len(crowd.budget.waiting) == 1, "not trusted yet"
    for client in (first, second):
        crowd.answer(done())
        client.take()
    crowd.ask(first, sql)
    crowd.ask(second, sql)
    assert len(crowd.budget.waiting) == 0
    assert crowd.busy()[0].owed == 2


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT a FROM t FOR UPDATE",
        "SELECT now()",
        "SELECT random()",
        "SELECT nextval('s')",
        "SELECT my_function()",
        "SELECT pg_sleep(0)",
        "WITH d AS (DELETE FROM t RETURNING a) SELECT a FROM d",
        "SELECT a INTO n FROM t",
        "INSERT INTO t VALUES (1)",
        "SHOW work_mem",
        "SELECT 1; SELECT 2",
        "VALUES (current_user)",
        "SELECT set_config('work_mem', '1MB', false)",
    ],
)
def test_anything_but_a_plain_read_has_a_server_of_its_own(sql: str) -> None:
    """Locks, writes, chance, time and settings do not stand among other clients' turns, however short they are."""
    crowd = Crowd(proved=())
    crowd.prove(sql)
    first, second = crowd.crowd(2)
    crowd.ask(first, sql)
    crowd.ask(second, sql)
    assert len(crowd.budget.waiting) == 1


def test_sharing_can_be_turned_off() -> None:
    """`share = false`: a server for each."""
    crowd = Crowd(share=False)
    first, second = crowd.crowd(2)
    crowd.ask(first)
    crowd.ask(second)
    assert len(crowd.budget.waiting) == 1


# Errors.


def test_an_error_is_its_clients_own() -> None:
    """The one before it and the one behind it get their rows."""
    crowd = Crowd()
    clients = crowd.crowd(3)
    for client in clients:
        crowd.ask(client)
    wrong = error("22012", "division by zero")
    crowd.answer(row("1"), wrong, row("3"))
    assert [client.take() for client in clients] == [row("1") + READY, wrong + READY, row("3") + READY]


@pytest.mark.parametrize("failing", ["Parse", "Bind", "Execute"])
def test_an_error_in_the_extended_protocol_is_its_clients_own(failing: str) -> None:
    """Wherever it happens, the server skips to that request's Sync and not further."""
    crowd = Crowd()
    clients = crowd.crowd(3)
    for number, client in enumerate(clients):
        client.conversation.input.received(pbe(READ, b"s%d" % number) + SYNC)
    wrong = error("22P02")
    before = {"Parse": b"", "Bind": ONE, "Execute": ONE + TWO}[failing]
    crowd.answer(ONE + TWO + row("1"), before + wrong)
    assert clients[0].take() == ONE + TWO + row("1") + READY
    assert clients[1].take() == before + wrong + READY
    crowd.answer(ONE + TWO + row("3"))
    assert clients[2].take() == ONE + TWO + row("3") + READY


def test_a_named_statement_whose_bind_fails_can_be_bound_again() -> None:
    """A wrong value costs one execution, not the statement, and not the one of another client that looks the same."""
    crowd = Crowd()
    first, second = crowd.crowd(2)
    for client, said in ((first, ONE), (second, b"")):  # the second time the server has it already
        client.conversation.input.received(parse(READ, b"mine") + SYNC)
        crowd.answer(said)
        assert client.take() == ONE + READY
    for client in (first, second):
        client.conversation.input.received(bind(b"mine") + execute() + SYNC)
    crowd.answer(error("22P02"), TWO + row("2"))
    assert (tags(first.take()), second.take()) == ("EZ", TWO + row("2") + READY)
    first.conversation.input.received(bind(b"mine") + execute() + SYNC)
    crowd.answer(TWO + row("1"))
    assert first.take() == TWO + row("1") + READY


# Lost servers.


def test_turns_that_had_no_byte_are_sent_once_more() -> None:
    """The server dies in the first reply: that client is told, the two behind it get theirs from another server."""
    crowd = Crowd()
    clients = crowd.crowd(3)
    for client in clients:
        crowd.ask(client)
    (server,) = crowd.busy()
    crowd.say(backend.data_row([b"1"]), server)
    crowd.lose(server)
    got = clients[0].take()
    assert (tags(got), code(messages(got)[1])) == ("DEZ", "08006")
    for client, value in zip(clients[1:], "23", strict=True):
        assert client.take() == b""
        crowd.answer(row(value))
        assert client.take() == row(value) + READY
    assert all(client.gone is None for client in clients)
    assert crowd.budget.servers == 1


def test_once_more_is_once() -> None:
    """If the other server dies too, the client is told."""
    crowd = Crowd()
    first, second = crowd.crowd(2)
    crowd.ask(first)
    crowd.ask(second)
    crowd.lose(crowd.busy()[0])
    crowd.lose(crowd.busy()[0])
    got = first.take()
    assert (tags(got), code(messages(got)[0])) == ("EZ", "08006")
    crowd.answer(row("2"))
    assert second.take() == row("2") + READY


def test_the_goodbye_of_a_server_is_told_to_the_head_alone() -> None:
    """FATAL 57P01 belongs to the turn that it hit; those behind it go on elsewhere and hear nothing of it."""
    crowd = Crowd()
    first, second = crowd.crowd(2)
    crowd.ask(first)
    crowd.ask(second)
    (server,) = crowd.busy()
    crowd.say(error("57P01", "terminating connection", "FATAL"), server)
    crowd.lose(server)
    assert tags(first.take()) == "EZ"
    crowd.answer(row("2"))
    assert second.take() == row("2") + READY


def test_half_a_row_ends_its_clients_session_only() -> None:
    """Nothing can be said inside half a row; who waited behind it goes on."""
    crowd = Crowd()
    first, second = crowd.crowd(2)
    crowd.ask(first)
    crowd.ask(second)
    (server,) = crowd.busy()
    crowd.say(row("half of this")[:12], server)
    crowd.lose(server)
    assert first.gone is not None
    crowd.answer(row("2"))
    assert second.take() == row("2") + READY


def test_a_byte_that_nobody_is_owed_costs_the_server() -> None:
    """A reply too many: nobody gets it, whoever still waits there goes elsewhere."""
    crowd = Crowd()
    first, second = crowd.crowd(2)
    crowd.ask(first)
    crowd.ask(second)
    (server,) = crowd.busy()
    crowd.say(row("1") + READY + b"?\x00\x00\x00\x04", server)
    assert not server.alive
    assert first.take() == row("1") + READY
    crowd.answer(row("2"))
    assert second.take() == row("2") + READY


@pytest.mark.parametrize("request_", [query(READ), pbe(READ) + SYNC, pbe(READ, b"mine") + SYNC])
def test_a_request_sent_once_more_is_whole(request_: bytes) -> None:
    """By any protocol: the other server is told everything that the reply needs, the client hears each part once."""
    crowd = Crowd(proved=())
    crowd.prove(READ)
    for _ in range(2):
        extra = crowd.come()
        extra.conversation.input.received(pbe(READ) + SYNC)
        crowd.answer(ONE + TWO + done())
    first, second = crowd.crowd(2)
    crowd.ask(first)
    second.conversation.input.received(request_)
    crowd.lose(crowd.busy()[0])
    crowd.answer(row("1"))
    (server,) = crowd.busy()
    asked = tags(crowd.sent(server))
    simple = request_[:1] == b"Q"
    assert asked == ("QQ" if simple else "QPBES")
    crowd.answer(row("2") if simple else ONE + TWO + row("2"))
    assert second.take() == (b"" if simple else ONE + TWO) + row("2") + READY


# Cancels.


def test_a_cancel_goes_out_for_the_head_alone() -> None:
    """Who is not at the head when it cancels is told so at once, the head by the server, and nobody else is hit."""
    crowd = Crowd()
    first, second, third = crowd.crowd(3)
    for client in (first, second, third):
        crowd.ask(client)
    second.conversation.cancel()
    assert (crowd.cancels, code(second.take()[: -len(READY)])) == ([], "57014")
    crowd.answer(row("1"), row("2"))
    assert [first.take(), second.take()] == [row("1") + READY, b""]
    third.conversation.cancel()
    assert len(crowd.cancels) == 1
    crowd.answer(CANCELLED)
    assert code(third.take()[: len(CANCELLED)]) == "57014"


WAYS = {
    "simple": (query(READ), b"", b""),
    "unnamed": (pbe(READ) + SYNC, TWO, ONE + TWO),
    "prepared": (bind(b"mine") + execute() + SYNC, TWO, TWO),
}
"""How a client asks → its request, what the server says before the row, and what the client hears before it."""


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("way", WAYS)
def test_a_cancel_that_hits_the_next_one_is_made_good(way: str, together: bool, request: pytest.FixtureRequest) -> None:
    """The head's cancel comes late and ends the turn behind it: that client never asked for it, and gets its row."""
    crowd = Crowd()
    asked, from_server, to_client = WAYS[way]
    first, second = crowd.crowd(2)
    named_on_the_server(crowd, second)
    crowd.ask(first)
    second.conversation.input.received(asked)
    first.conversation.cancel()
    (server,) = crowd.busy()
    replies = row("1") + READY + CANCELLED + READY
    size = len(replies) if together else 1
    for at in range(0, len(replies), size):
        crowd.say(replies[at : at + size], server)
    assert first.take() == row("1") + READY
    assert second.take() == b""
    crowd.cancels[0].callback(None)  # only now is the server fit for somebody else
    crowd.answer(from_server + row("2"))
    assert second.take() == to_client + row("2") + READY


def named_on_the_server(crowd: Crowd, client: Any) -> None:
    """The client prepares the read, and the server has it under a name: another Parse is PgBeam's to answer."""
    for request, reply in ((parse(READ, b"mine") + SYNC, ONE), (pbe(READ) + SYNC, TWO + done())):
        client.conversation.input.received(request)
        crowd.answer(reply)
        assert client.take() == ONE + reply.removeprefix(ONE) + READY
