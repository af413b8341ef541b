"""Statements prepared up to a Flush, as asyncpg and postgres.js do it: nothing of that is pending on a server."""

from __future__ import annotations

from typing import Any

import pytest

from pgbeam_core.session.ending import is_idle
from pgbeam_core.wire import backend, frontend
from tests.session.plugins import ANSWER, WHOLE, code, staged
from tests.session.stage import (
    FLUSH,
    IN_TRANSACTION,
    ONE,
    READY,
    SYNC,
    THREE,
    TWO,
    Stage,
    bind,
    close,
    describe,
    done,
    error,
    execute,
    parse,
    pbe,
    query,
    tags,
)

ROW = backend.data_row([b"1"])
DESCRIBED = backend.ParameterDescription(()).to_bytes() + backend.row_description([("x", 23, 4)])
PREPARES = parse("SELECT 1", b"a") + describe(b"a", frontend.STATEMENT) + FLUSH
RUNS = bind(b"a") + execute() + SYNC


def prepared(stage: Stage) -> None:
    """The client has learnt the columns of its statement."""
    assert stage.turn(PREPARES, ONE + DESCRIBED + READY) == ONE + DESCRIBED
    assert tags(stage.sent()) == "PDS"


def test_what_was_prepared_is_executed_as_any_statement() -> None:
    """The server is free while the client thinks, and the client hears ReadyForQuery but once."""
    stage = Stage()
    prepared(stage)
    assert stage.pools.idle == stage.servers
    assert stage.turn(RUNS, TWO + ROW + done() + READY) == TWO + ROW + done() + READY
    assert tags(stage.sent()) == "BES"


def test_a_read_that_was_prepared_before_is_answered() -> None:
    """The first read of a statement on a connection comes from the cache as the later ones do."""
    stage, _ = staged(lambda query: ANSWER)
    prepared(stage)
    assert stage.send(RUNS) == TWO + ANSWER.rows + ANSWER.complete + READY
    assert stage.send(bind(b"a") + describe() + execute() + SYNC) == TWO + WHOLE + READY
    assert stage.sent() == b""


def test_so_is_one_in_a_transaction_that_is_kept_back() -> None:
    """The transaction stays lazy."""
    stage, _ = staged(lambda query: ANSWER if query.answerable else None, lazy="reads")
    stage.send(query("BEGIN"))
    prepared(stage)
    assert stage.send(RUNS) == TWO + ANSWER.rows + ANSWER.complete + IN_TRANSACTION
    assert stage.send(query("COMMIT")) == done("COMMIT") + READY
    assert stage.sent() == b""


def test_it_may_run_on_another_server() -> None:
    """One that lacks the statement is given it."""
    stage = Stage(2)
    first, second = stage.servers
    prepared(stage)
    stage.pools.idle[:] = [second]
    stage.send(RUNS)
    assert stage.sent(first) == b""
    assert tags(stage.sent(second)) == "PDBES"


def test_each_step_may_have_its_flush() -> None:
    """And the last one its Sync."""
    stage = Stage()
    assert stage.turn(parse("SELECT 1", b"a") + FLUSH, ONE + READY) == ONE
    assert stage.turn(describe(b"a", frontend.STATEMENT) + FLUSH, DESCRIBED + READY) == DESCRIBED
    assert stage.turn(close(b"a") + FLUSH, READY) == THREE
    assert stage.send(SYNC) == READY
    assert stage.pools.idle == stage.servers


@pytest.mark.parametrize("lazy", ["off", "reads"])
def test_an_error_is_told_at_once_and_skips_to_the_sync(lazy: str) -> None:
    """As with PostgreSQL, though the server has had its Sync."""
    stage = Stage(lazy=lazy)
    if lazy == "reads":
        stage.send(query("BEGIN"))
        stage.sent()
    got = stage.turn(parse("SELEC 1") + FLUSH, error("42601") + READY)
    assert code(got) == "42601"
    assert tags(got) == "E"
    assert stage.send(pbe("SELECT 1") + FLUSH + query("SELECT 2")) == b""
    assert stage.send(SYNC) == (READY if lazy == "off" else backend.READY_FAILED)
    assert tags(stage.sent()) == "PS"


def test_a_server_lost_meanwhile_costs_the_statement() -> None:
    """The client hears of it at once, and goes on behind its Sync."""
    stage = Stage()
    stage.send(PREPARES)
    stage.lose()
    assert tags(stage.client.take()) == "E"
    assert stage.send(RUNS) == READY
    assert stage.client.gone is None


def test_a_loss_at_a_flush_says_nothing_of_later_ones() -> None:
    """A server that is lost while it is given the client's settings is told with ReadyForQuery, if a Query waits."""
    stage = Stage(3)
    first, second, third = stage.servers
    stage.turn(query("SET app.tenant = 'acme'"), done("SET") + READY, first)
    stage.pools.idle[:] = [second]
    stage.send(PREPARES)
    stage.lose(second)
    assert tags(stage.client.take()) == "E"
    assert stage.send(SYNC) == READY
    stage.pools.idle[:] = [third]
    stage.send(query("SELECT 1"))
    stage.lose(third)
    assert tags(stage.client.take()) == "EZ"


def test_who_has_not_come_to_the_sync_is_in_the_middle_of_a_request() -> None:
    """Such a client is not sent away as one that is idle."""
    stage = Stage()
    prepared(stage)
    conversation = stage.conversation
    assert conversation.busy
    assert not is_idle(conversation)
    assert stage.send(SYNC) == READY
    assert not conversation.busy
    assert is_idle(conversation)


@pytest.mark.parametrize("behind", [query("SET pgbeam.debug = on"), query("SELECT 1")])
def test_a_query_ends_it_too(behind: bytes) -> None:
    """A Query has its own ReadyForQuery."""
    stage = Stage()
    prepared(stage)
    got = stage.send(behind) or stage.turn(b"", done() + READY)
    assert tags(got) == "CZ"
    assert not stage.conversation.busy


@pytest.mark.parametrize(
    "request_",
    [
        parse("SELECT 1", b"a") + bind(b"a") + FLUSH,
        parse("EXECUTE x", b"a") + FLUSH,
        parse("SELECT 1", b"a") + FLUSH + bind(b"a"),
    ],
)
def test_what_leaves_something_pending_keeps_its_server(request_: bytes) -> None:
    """A portal, a statement that is what another is now, a client that does not wait for the reply."""
    stage = Stage()
    if b"EXECUTE x" in request_:
        stage.turn(parse("SELECT 1", b"x") + SYNC, ONE + READY)
        stage.sent()
    stage.send(request_)
    assert not stage.sent().endswith(SYNC)
    assert stage.pools.idle == []


def test_nothing_changes_inside_a_transaction() -> None:
    """There the server is the client's anyway."""
    stage: Any = Stage()
    stage.turn(query("BEGIN"), done("BEGIN") + IN_TRANSACTION)
    stage.sent()
    assert stage.turn(PREPARES, ONE + DESCRIBED) == ONE + DESCRIBED
    assert tags(stage.sent()) == "PDH"


def test_a_table_that_has_changed_past_pgbeam_is_prepared_anew() -> None:
    """ParseComplete came from memory, and the server tells at Describe that what it has is out of date."""
    stage = Stage()
    prepared(stage)
    stage.send(SYNC)
    other, _ = stage.join()
    stage.send(PREPARES, other)
    assert tags(stage.sent()) == "DS"
    stage.say(backend.ParameterDescription((23,)).to_bytes() + error("42883") + READY)
    assert other.take() == b""
    assert tags(stage.sent()) == "CPDS"
    stage.say(THREE + ONE + DESCRIBED + READY)
    assert other.take() == ONE + DESCRIBED


def test_an_error_that_stays_is_told() -> None:
    """Once it has been prepared anew."""
    stage = Stage()
    prepared(stage)
    stage.send(SYNC)
    other, _ = stage.join()
    stage.send(PREPARES, other)
    stage.say(error("42703") + READY)
    stage.sent()
    stage.say(THREE + error("42703") + READY)
    assert tags(other.take()) == "E"
    assert stage.send(SYNC, other) == READY


@pytest.mark.parametrize("pool_mode", ["session", "statement"])
def test_pool_modes(pool_mode: str) -> None:
    """Whoever has the server, it is in order."""
    stage, _ = staged(lambda query: ANSWER, pool_mode=pool_mode)
    prepared(stage)
    assert stage.send(RUNS) == TWO + ANSWER.rows + ANSWER.complete + READY
