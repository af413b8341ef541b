"""Shared turns starve nobody, and whatever is slow, large or stuck holds up few, and not for long."""

from __future__ import annotations

from typing import Any

import pytest

from pgbeam_core import Identity
from pgbeam_core.api._bookkeeping import BANNED_FOR, SLOW_S, SMALL_BYTES
from pgbeam_core.wire import backend
from pgbeam_pool.sharing import DEPTH, WIDTH
from tests.behaviour.pool.shared import OTHER, READ, Crowd
from tests.session.stage import IN_TRANSACTION, READY, FakeClient, done, query

BIG = backend.data_row([b"x" * 4000])


def row(value: str) -> bytes:
    """A reply of one row."""
    return backend.data_row([value.encode()]) + done()


# Which server.


def test_two_servers_are_shared_before_turns_pile_up() -> None:
    """With idle servers left, so many are shared; then turns stand behind one another evenly, up to a depth."""
    crowd = Crowd(10)
    fill(crowd, 4)
    clients = crowd.crowd(WIDTH * DEPTH + 1)
    for client in clients[:-1]:
        crowd.ask(client)
    assert [server.owed for server in crowd.busy()] == [DEPTH] * WIDTH
    crowd.ask(clients[-1])
    assert len(crowd.busy()) == WIDTH + 1


def fill(crowd: Crowd, servers: int) -> None:
    """Have so many servers opened, and idle."""
    clients = crowd.crowd(servers)
    for client in clients:
        crowd.ask(client, "BEGIN")
    for client in clients:
        answer_for(crowd, client, done("BEGIN") + IN_TRANSACTION)
        crowd.ask(client, "COMMIT")
        answer_for(crowd, client, done("COMMIT") + READY)
        client.hang_up("left")


def answer_for(crowd: Crowd, client: FakeClient, reply: bytes) -> bytes:
    """The server of that client says this; gives what the client hears."""
    lease = client.conversation.session.lease
    assert lease is not None
    server: Any = lease.server
    crowd.say(reply, server)
    return client.take()


def test_users_and_databases_are_never_on_one_server() -> None:
    """Whoever shares a server is the same to PostgreSQL: user, database and startup parameters."""
    crowd = Crowd(10)
    everybody = {
        Identity("app", "shop"),
        Identity("app", "other"),
        Identity("bob", "shop"),
        Identity("app", "shop", (("search_path", "mine"),)),
    }
    for identity in everybody:
        for client in crowd.crowd(2):
            client.conversation.session.identity = identity
            crowd.ask(client)
    assert {server.identity for server in crowd.busy()} == everybody
    for server in crowd.busy():
        assert {turn.owner.session.identity for turn in server._replies.turns} == {server.identity}


def test_settings_are_never_lent() -> None:
    """A client with a statement_timeout of its own is not put behind others, nor they behind it."""
    crowd = Crowd(2)
    hasty, plain, other = crowd.crowd(3)
    crowd.ask(hasty, "SET statement_timeout = '1s'")
    crowd.answer(done("SET"))
    assert hasty.take() == done("SET") + READY
    crowd.ask(hasty)
    crowd.ask(plain)
    crowd.ask(other)
    for server in crowd.busy():
        for turn in server._replies.turns:
            assert turn.owner.session.settings.now == server.settings


# Transactions beside shared turns.


@pytest.mark.parametrize("servers", [1, 2, 3])
def test_a_transaction_is_not_starved(servers: int) -> None:
    """Reads that never stop let one server drain: BEGIN goes after no more turns than a server may owe, every time."""
    crowd = Crowd(servers)
    fill(crowd, servers)
    readers = crowd.crowd(20)
    for reader in readers:
        crowd.ask(reader)
    writer = crowd.come()
    for _ in range(5):
        writer.conversation.input.received(query("BEGIN"))
        before = 0
        while writer.conversation.session.lease is None:
            before += serve_round(crowd, readers)
            assert before <= DEPTH * servers, "starved"
        answer_for(crowd, writer, done("BEGIN") + IN_TRANSACTION)
        crowd.ask(writer, "COMMIT")
        assert answer_for(crowd, writer, done("COMMIT") + READY) == done("COMMIT") + READY


@pytest.mark.parametrize("servers", [1, 2])
def test_readers_share_again_behind_a_transaction(servers: int) -> None:
    """Who had to wait because of one does not take servers one by one afterwards."""
    crowd = Crowd(servers)
    fill(crowd, servers)
    readers = crowd.crowd(20)
    writer = crowd.come()
    crowd.ask(writer, "BEGIN")
    answer_for(crowd, writer, done("BEGIN") + IN_TRANSACTION)
    another = crowd.come()
    for reader in readers[:10]:
        crowd.ask(reader)
    crowd.ask(another, "BEGIN")
    for reader in readers[10:]:
        crowd.ask(reader)
    crowd.ask(writer, "COMMIT")
    answer_for(crowd, writer, done("COMMIT") + READY)
    for _ in range(40):
        serve_round(crowd, readers)
        if another.conversation.session.lease is not None:
            break
    answer_for(crowd, another, done("BEGIN") + IN_TRANSACTION)
    crowd.ask(another, "COMMIT")
    answer_for(crowd, another, done("COMMIT") + READY)
    assert len(crowd.budget.waiting) == 0
    assert sum(server.owed for server in crowd.busy()) == 20


def serve_round(crowd: Crowd, readers: list[FakeClient]) -> int:
    """Each server that owes a reader something answers one turn, and who got a reply asks again at once."""
    answered = 0
    for server in crowd.busy():
        if server._replies.turns[0].owner.client in readers:
            crowd.answer(row("1"), server=server)
            answered += 1
    for reader in readers:
        if reader.take():
            reader.conversation.input.received(query(READ))
    return answered


def test_readers_are_not_starved_by_transactions() -> None:
    """Two clients that do one transaction after another on the only two servers leave turns to a reader."""
    crowd = Crowd(2)
    writers = crowd.crowd(3)
    for writer in writers:
        crowd.ask(writer, "BEGIN")
    reader = crowd.come()
    crowd.ask(reader)
    for step in range(10):
        for writer in writers:
            if writer.conversation.session.lease is None:
                continue
            begun = writer.conversation.session.in_transaction
            if begun:
                crowd.ask(writer, "COMMIT")
            reply = done("COMMIT") + READY if begun else done("BEGIN") + IN_TRANSACTION
            answer_for(crowd, writer, reply)
            if begun:
                crowd.ask(writer, "BEGIN")
        if reader.conversation.session.lease is not None:
            assert step < 4
            return
    raise AssertionError("the reader never had its turn")


def test_a_waiter_of_another_user_gets_its_place() -> None:
    """With no room left, reads that never stop leave a server to drain, and it is closed for who cannot use it."""
    crowd = Crowd(2)
    fill(crowd, 2)
    readers = crowd.crowd(8)
    for reader in readers:
        crowd.ask(reader)
    bob = crowd.come("bob")
    crowd.ask(bob, "BEGIN")
    for _ in range(8):
        serve_round(crowd, readers)
    lease = bob.conversation.session.lease
    assert lease is not None
    assert lease.server.identity.user == "bob"


# Slow, stuck and large.


def test_a_slow_read_loses_its_right() -> None:
    """A shape that had proved short and takes long on a shared server gets servers of its own for a while."""
    crowd = Crowd(3)
    first, second = crowd.crowd(2)
    crowd.ask(first)
    crowd.clock.advance(2 * SLOW_S)
    crowd.answer(row("1"))
    first.take()
    assert not crowd.statement(READ.encode())._cost.small
    crowd.ask(first)
    crowd.ask(second)
    assert [server.owed for server in crowd.busy()] == [1, 1]
    for server in crowd.busy():
        crowd.answer(row("1"), server=server)
    assert not crowd.statement(READ.encode())._cost.small
    for _ in range(BANNED_FOR):
        first.take()
        crowd.ask(first)
        crowd.answer(row("1"))
    assert crowd.statement(READ.encode())._cost.small


def test_waiting_behind_a_slow_one_costs_no_right() -> None:
    """Only the shape that was slow is blamed, not those that stood behind it."""
    crowd = Crowd(1)
    first, second = crowd.crowd(2)
    crowd.ask(first)
    crowd.ask(second, OTHER)
    crowd.clock.advance(2 * SLOW_S)
    crowd.answer(row("1"))
    crowd.answer(row("2"))
    assert not crowd.statement(READ.encode())._cost.small
    assert crowd.statement(OTHER.encode())._cost.small


def test_nobody_is_put_behind_one_that_is_stuck() -> None:
    """A read that waits for a lock keeps its server to itself; who comes later goes elsewhere."""
    crowd = Crowd(4)
    stuck, *others = crowd.crowd(8)
    crowd.ask(stuck)
    (held,) = crowd.busy()
    crowd.look_twice()
    for client in others:
        crowd.ask(client, OTHER)
    assert held.owed == 1


def test_who_stands_behind_a_stuck_one_goes_elsewhere() -> None:
    """A read that waits for a lock holds up those behind it for moments only, not until it has the lock."""
    crowd = Crowd(4)
    stuck, second, third = crowd.crowd(3)
    for client, sql in ((stuck, READ), (second, OTHER), (third, OTHER)):
        crowd.ask(client, sql)
    (held,) = crowd.busy()
    crowd.look_twice()
    elsewhere = [server for server in crowd.busy() if server is not held]
    for server in elsewhere:
        crowd.answer(*[row("2")] * server.owed, server=server)
    assert [second.take(), third.take()] == [row("2") + READY] * 2
    crowd.answer(row("1"), row("late"), row("late"), server=held)
    assert [stuck.take(), second.take(), third.take()] == [row("1") + READY, b"", b""]
    crowd.answer(done("DISCARD ALL"), server=held)
    assert held in crowd.target_pool.servers.idle[held.identity]


def test_a_stuck_server_is_not_the_one_that_is_left_to_drain() -> None:
    """BEGIN does not wait for a lock that another client's read waits for, while there is another server."""
    crowd = Crowd(2)
    fill(crowd, 2)
    first, stuck = crowd.crowd(2)
    crowd.ask(first, OTHER)
    crowd.ask(stuck)
    busy, held = crowd.busy()
    crowd.look_twice()
    crowd.answer(row("1"), server=busy)
    readers = [first, *crowd.crowd(3)]
    for reader in readers:
        reader.take()
        crowd.ask(reader, OTHER)
    writer = crowd.come()
    crowd.ask(writer, "BEGIN")
    for _ in range(10):
        if busy.owed and writer.conversation.session.lease is None:
            crowd.answer(row("1"), server=busy)
            for reader in readers:
                if reader.take():
                    reader.conversation.input.received(query(OTHER))
    assert writer.conversation.session.lease is not None
    assert held.owed == 1


def test_a_large_reply_stops_the_sharing() -> None:
    """A reply that grows past the cap has its server to itself until it is through."""
    crowd = Crowd(4)
    first, *others = crowd.crowd(6)
    crowd.ask(first)
    (large,) = crowd.busy()
    crowd.say(BIG * (SMALL_BYTES // len(BIG) + 1), large)
    for client in others:
        crowd.ask(client, OTHER)
    assert large.owed == 1
    crowd.say(done() + READY, large)
    assert not crowd.statement(READ.encode())._cost.small


def test_a_client_that_does_not_read_its_large_shared_reply() -> None:
    """Its server is stopped, so that memory does not grow; those behind it go on elsewhere; then it gets the rest."""
    crowd = Crowd(3)
    slow, second = crowd.crowd(2)
    crowd.ask(slow)
    crowd.ask(second, OTHER)
    (held,) = crowd.busy()
    crowd.say(BIG * (SMALL_BYTES // len(BIG) + 1), held)
    slow.conversation.client_full()
    assert held.transport.producerState == "paused"
    crowd.answer(row("2"), server=crowd.busy()[1])
    assert second.take() == row("2") + READY
    slow.conversation.client_drained()
    assert held.transport.producerState == "producing"
    slow.take()
    crowd.answer(done(), row("late"), server=held)
    assert (slow.take(), second.take()) == (done() + READY, b"")
    assert held.alive


def test_a_slow_client_that_leaves_lets_its_server_go_on() -> None:
    """A server that was stopped for it reads again."""
    crowd = Crowd(3)
    slow = crowd.come()
    crowd.ask(slow)
    (held,) = crowd.busy()
    crowd.say(BIG * (SMALL_BYTES // len(BIG) + 1), held)
    slow.conversation.client_full()
    slow.hang_up("left")
    assert held.transport.producerState == "producing" or not held.alive


def test_a_slow_client_with_small_replies_stops_nobody() -> None:
    """What a shared reply may hold is little enough to be kept."""
    crowd = Crowd(1)
    slow, second = crowd.crowd(2)
    crowd.ask(slow)
    crowd.ask(second)
    slow.conversation.client_full()
    crowd.answer(row("1"), row("2"))
    assert second.take() == row("2") + READY
    (server,) = crowd.servers
    assert server.transport.producerState == "producing"


# Clients that leave.


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_client_that_leaves_in_a_shared_turn(place: int) -> None:
    """Wherever it stood, the others get theirs, nobody gets its reply, and the server is as good as new."""
    crowd = Crowd()
    clients = crowd.crowd(3)
    for client in clients:
        crowd.ask(client)
    (server,) = crowd.busy()
    clients[place].hang_up("left")
    crowd.answer(row("0"), row("1"), row("2"))
    for number, client in enumerate(clients):
        assert client.take() == (b"" if number == place else row(str(number)) + READY)
    assert crowd.target_pool.servers.idle[server.identity] == [server]
    assert server.sharers == 0


def test_clients_that_leave_when_their_server_dies() -> None:
    """Nobody asks again for them."""
    crowd = Crowd()
    clients = crowd.crowd(3)
    for client in clients:
        crowd.ask(client)
    clients[1].hang_up("left")
    crowd.lose(crowd.busy()[0])
    assert sum(server.owed for server in crowd.busy()) + len(crowd.budget.waiting) == 2
