"""Requests of every shape, and COPY."""

from __future__ import annotations

from pgbeam_core.session.state import Phase
from pgbeam_core.wire import copy_messages, frontend
from tests.session.plugins import COPY_IN, code
from tests.session.stage import (
    FLUSH,
    ONE,
    READY,
    SYNC,
    TWO,
    Stage,
    copy_data,
    done,
    error,
    messages,
    parse,
    pbe,
    query,
    tags,
)

# Requests of odd shape.


def test_a_sync_alone_is_answered() -> None:
    """Drivers ping with a Sync: it needs no server outside a transaction."""
    stage = Stage()
    assert stage.send(SYNC) == READY
    assert stage.send(SYNC + SYNC) == READY + READY
    assert stage.pools.leases == 0


def test_a_flush_alone_says_nothing() -> None:
    """And costs no server."""
    stage = Stage()
    assert stage.send(FLUSH) == b""
    assert stage.pools.leases == 0


def test_a_pipeline_of_several_syncs_is_answered_in_order() -> None:
    """Each Sync ends a request of its own; the next is sent when the one before is done."""
    stage = Stage()
    stage.send((pbe("SELECT 1", b"") + SYNC) * 3)
    got = b""
    for _ in range(3):
        request = stage.sent()
        assert request.endswith(SYNC)
        got += stage.client.take()
        stage.say((ONE if b"P" in {frame[:1] for frame in messages(request)} else b"") + TWO + done() + READY)
    assert tags(got + stage.client.take()) == "12CZ" * 3


def test_a_flushed_request_goes_on_to_its_sync() -> None:
    """Parse, Bind, Flush, the reply; then Execute, Sync on the same server."""
    stage = Stage()
    assert stage.turn(parse("SELECT 1") + frontend.Bind(b"", b"").to_bytes() + FLUSH, ONE + TWO) == ONE + TWO
    assert stage.conversation.phase is Phase.OPEN
    assert stage.turn(frontend.Execute(b"", 0).to_bytes() + SYNC, done() + READY) == done() + READY
    assert stage.pools.idle == stage.servers


def test_an_error_before_sync_skips_to_it() -> None:
    """The client hears of the error at once, and of ReadyForQuery after its Sync."""
    stage = Stage()
    assert tags(stage.turn(pbe("broken") + FLUSH, error())) == "E"
    assert stage.turn(pbe("SELECT 1") + SYNC, READY) == READY


def test_a_query_that_an_earlier_error_skips_waits_for_its_sync() -> None:
    """The server skips a Query too; the Sync that the client had sent behind it goes out all the same."""
    stage = Stage()
    stage.send(pbe("broken") + FLUSH + query("SELECT 1") + SYNC)
    stage.say(error())
    assert stage.sent().endswith(SYNC)


def test_a_query_behind_a_request_that_waits_takes_its_turn() -> None:
    """Parse, Bind, Execute without a Sync and then a Query, while no server is free: one lease for both."""
    stage = Stage(servers=0)
    stage.send(pbe("SELECT 1") + query("SELECT 2"))
    assert len(stage.pools.waiting) == 1
    server = stage.server()
    stage.pools.serve(server)
    assert tags(stage.sent(server)) == "PBEQ"
    stage.say(ONE + TWO + done() + done() + READY, server)
    assert tags(stage.client.take()) == "12CCZ"
    assert stage.pools.idle == [server]


def test_an_unknown_message_ends_the_connection() -> None:
    """As PostgreSQL does: FATAL 08P01."""
    stage = Stage()
    got = stage.send(b"!\x00\x00\x00\x04")
    assert code(got) == "08P01"
    assert stage.client.gone is not None


def test_late_copy_data_is_ignored() -> None:
    """A client that has not heard yet that its COPY failed."""
    stage = Stage()
    assert stage.send(copy_data(b"x") + copy_messages.COPY_DONE + SYNC) == READY


# COPY.


def test_a_server_that_asks_for_copy_data_twice_is_lost() -> None:
    """No server does so: nobody gets another byte of it, and its client is told."""
    stage = Stage()
    stage.send(pbe("COPY t FROM STDIN") + SYNC)
    stage.say(ONE + TWO + COPY_IN + COPY_IN)
    assert not stage.servers[0].alive
    assert stage.client.gone is not None


def test_copy_in_streams_to_the_server() -> None:
    """CopyData goes on as it comes."""
    stage = Stage()
    assert stage.turn(query("COPY t FROM STDIN"), COPY_IN) == COPY_IN
    stage.sent()
    stage.send(copy_data(b"1\n"))
    assert stage.sent() == copy_data(b"1\n")
    stage.send(copy_data(b"2\n") + copy_messages.COPY_DONE + query("SELECT 1"))
    assert stage.sent() == copy_data(b"2\n") + copy_messages.COPY_DONE
    stage.say(done("COPY 2") + READY)
    assert stage.sent() == query("SELECT 1")


def test_two_copies_in_one_query() -> None:
    """The second COPY gets its data too, also when the client has sent it ahead."""
    stage = Stage()
    stage.turn(query("COPY a FROM STDIN; COPY b FROM STDIN"), COPY_IN)
    stage.send(copy_data(b"1\n") + copy_messages.COPY_DONE + copy_data(b"2\n") + copy_messages.COPY_DONE)
    stage.sent()
    stage.say(done("COPY 1") + COPY_IN)
    assert stage.sent() == copy_data(b"2\n") + copy_messages.COPY_DONE
    stage.say(done("COPY 1") + READY)
    assert stage.pools.idle == stage.servers


def test_copy_in_the_extended_protocol_ends_with_the_sync_behind_it() -> None:
    """The Sync that was sent with the Execute is swallowed by the COPY; the one behind CopyDone counts."""
    stage = Stage()
    stage.turn(pbe("COPY t FROM STDIN") + SYNC, ONE + TWO + COPY_IN)
    stage.send(copy_data(b"1\n") + copy_messages.COPY_DONE + SYNC)
    stage.say(done("COPY 1") + READY)
    assert tags(stage.client.take()) == "CZ"
    assert stage.pools.idle == stage.servers


def test_a_failed_copy_in_the_extended_protocol_ends_with_a_sync() -> None:
    """The client of a COPY that failed may go on with Sync at once, without CopyDone."""
    stage = Stage()
    stage.turn(pbe("COPY t FROM STDIN") + SYNC, ONE + TWO + COPY_IN)
    stage.send(copy_data(b"nonsense\n"))
    stage.say(error("22P02"))
    stage.send(SYNC)
    stage.say(READY)
    assert tags(stage.client.take()) == "Z"
    assert stage.pools.idle == stage.servers


def test_a_failed_copy_ignores_what_still_comes() -> None:
    """CopyData behind the error of a COPY is nobody's request."""
    stage = Stage()
    stage.turn(query("COPY t FROM STDIN"), COPY_IN)
    stage.send(copy_data(b"nonsense\n"))
    stage.say(error("22P02") + READY)
    assert tags(stage.client.take()) == "EZ"
    stage.sent()
    assert stage.send(copy_data(b"x\n") + copy_messages.COPY_DONE) == b""
    assert stage.turn(query("SELECT 1"), done() + READY) == done() + READY
