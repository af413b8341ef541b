"""Backpressure, and servers and clients that go away."""

from __future__ import annotations

from typing import Any

import pytest

from pgbeam_core.wire import backend
from tests.session.plugins import COPY_IN, code, staged
from tests.session.stage import (
    FLUSH,
    IN_TRANSACTION,
    ONE,
    READY,
    TWO,
    Stage,
    done,
    error,
    messages,
    pbe,
    query,
    tags,
)

# Backpressure.


def test_a_client_that_does_not_read_stops_its_server() -> None:
    """A slow client never makes memory grow."""
    stage = Stage()
    wire: Any = stage.servers[0].transport
    stage.send(query("SELECT 1"))
    stage.conversation.client_full()
    assert wire.producerState == "paused"
    stage.conversation.client_drained()
    assert wire.producerState == "producing"


def test_a_server_is_given_back_reading() -> None:
    """A server whose last client was slow must read for the next one."""
    stage = Stage()
    stage.send(query("SELECT 1"))
    stage.conversation.client_full()
    stage.say(done() + READY)
    wire: Any = stage.servers[0].transport
    assert stage.pools.idle == stage.servers
    assert wire.producerState == "producing"


def test_a_server_that_does_not_read_stops_its_client() -> None:
    """A COPY faster than the server can take it waits in the client."""
    stage = Stage()
    stage.turn(query("COPY t FROM STDIN"), COPY_IN)
    stage.servers[0].pauseProducing()
    assert not stage.client.reading
    stage.servers[0].resumeProducing()
    assert stage.client.reading


def test_a_client_reads_on_when_its_full_server_was_given_back() -> None:
    """A COPY that fails early leaves a full server behind; its client must not wait for that one to drain."""
    stage = Stage()
    stage.turn(query("COPY t FROM STDIN"), COPY_IN)
    stage.servers[0].pauseProducing()
    stage.say(error("22P02") + READY)
    assert stage.client.reading


def test_a_client_that_runs_ahead_is_not_read() -> None:
    """Above a quarter of a megabyte what a busy session sends stays in its socket."""
    stage = Stage()
    stage.send(query("SELECT 1"))
    stage.send(query("SELECT '" + "x" * 300_000 + "'"))
    assert not stage.client.reading
    stage.say(done() + READY)
    assert stage.client.reading


# Lost servers.


def test_a_lost_server_is_an_error_and_the_session_goes_on() -> None:
    """08006 for the query that was running; the next one has another server."""
    stage, plugin = staged(servers=2)
    stage.send(query("SELECT 1"))
    stage.lose()
    got = stage.client.take()
    assert tags(got) == "EZ"
    assert code(messages(got)[0]) == "08006"
    assert stage.turn(query("SELECT 2"), done() + READY, stage.servers[1]) == done() + READY
    assert [result.error and result.error[0] for result in plugin.results] == ["08006", None]


def test_a_lost_server_does_not_cost_the_next_query_its_own() -> None:
    """What the client had sent ahead goes to another server, which stays with it until it is done."""
    stage = Stage(servers=2)
    stage.send(query("SELECT 1") + query("SELECT 2"))
    stage.lose()
    assert tags(stage.client.take()) == "EZ"
    assert stage.servers[1].alive
    stage.say(done() + READY, stage.servers[1])
    assert stage.client.take() == done() + READY


def test_a_goodbye_that_crosses_a_commit_is_the_only_one() -> None:
    """A server that ends a transaction while its client says COMMIT: one FATAL, as from PostgreSQL, not two."""
    stage = Stage()
    stage.turn(query("BEGIN"), done("BEGIN") + IN_TRANSACTION)
    goodbye = error("57P01", "terminating connection", "FATAL")
    stage.say(goodbye)
    assert stage.client.take() == goodbye
    stage.send(query("COMMIT"))
    stage.lose()
    assert stage.client.take() == b""
    assert stage.client.gone is not None


@pytest.mark.parametrize("request_", [query("BEGIN"), query("LISTEN a")])
def test_a_lost_server_with_state_ends_the_session(request_: bytes) -> None:
    """A transaction or a pin cannot be continued elsewhere: FATAL, and the connection ends."""
    stage = Stage()
    begins = request_ == query("BEGIN")
    stage.turn(request_, done("BEGIN" if begins else "LISTEN") + (IN_TRANSACTION if begins else READY))
    stage.lose()
    got = stage.client.take()
    assert backend.error_fields(got)["S"] == "FATAL"
    assert stage.client.gone is not None


def test_a_server_that_says_goodbye_is_quoted_once() -> None:
    """FATAL 57P01 from the server is what the client reads, and nothing of PgBeam's behind it but ReadyForQuery."""
    stage = Stage()
    stage.send(query("SELECT 1"))
    stage.say(error("57P01", "terminating connection", "FATAL"))
    stage.lose()
    assert tags(stage.client.take()) == "EZ"


@pytest.mark.parametrize("request_", [pbe("SELECT 1") + FLUSH, query("COPY t FROM STDIN")])
def test_a_server_lost_in_the_middle_of_a_request_ends_the_session(request_: bytes) -> None:
    """Where the client could not tell which of its messages counted, it has to connect again."""
    stage = Stage()
    stage.turn(request_, ONE + TWO + done() if request_[:1] == b"P" else COPY_IN)
    stage.lose()
    assert backend.error_fields(stage.client.take())["S"] == "FATAL"
    assert stage.client.gone is not None


def test_a_server_lost_in_the_middle_of_a_row_ends_the_session() -> None:
    """An error inside a half row would be read as the rest of it."""
    stage = Stage()
    stage.send(query("SELECT 1"))
    stage.say(b"D\x00\x00\x01\x00\x00\x01\x00\x00\x00\xf6abc")
    before = stage.client.take()
    stage.lose()
    assert before.endswith(b"abc")
    assert stage.client.take() == b""
    assert stage.client.gone is not None


def test_an_idle_server_that_is_lost_costs_nothing() -> None:
    """A client between two queries does not notice."""
    stage = Stage(servers=2)
    stage.turn(query("SELECT 1"), done() + READY)
    stage.pools.idle.remove(stage.servers[0])
    stage.lose()
    assert stage.client.gone is None
    assert stage.turn(query("SELECT 1"), done() + READY, stage.servers[1]) == done() + READY


def test_a_client_that_leaves_in_the_middle_closes_its_server() -> None:
    """A server in a transaction or owing a reply is nobody else's."""
    for request, reply in ((query("BEGIN"), done("BEGIN") + IN_TRANSACTION), (query("SELECT 1"), b"")):
        stage = Stage()
        stage.turn(request, reply)
        stage.client.hang_up("left")
        assert not stage.servers[0].alive
        assert stage.pools.idle == []


def test_a_client_that_leaves_between_queries_gives_its_pinned_server_back() -> None:
    """The pool cleans it."""
    stage = Stage()
    stage.turn(query("LISTEN a"), done("LISTEN") + READY)
    stage.client.hang_up("left")
    assert stage.servers[0].state == {"listen"}
    assert stage.pools.idle == stage.servers
