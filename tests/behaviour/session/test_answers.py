"""What a plugin says instead of the server."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail, succeed

from pgbeam_core import hookimpl
from pgbeam_core.api.query import Query
from pgbeam_core.api.results import Notice
from pgbeam_core.wire import backend, frontend
from tests.session.plugins import ANSWER, REFUSAL, WHOLE, Says, code, staged
from tests.session.stage import (
    FAILED,
    FLUSH,
    IN_TRANSACTION,
    ONE,
    READY,
    SYNC,
    TWO,
    Stage,
    bind,
    describe,
    done,
    error,
    execute,
    messages,
    parse,
    pbe,
    query,
    tags,
)

# Answers and refusals.


def test_an_answer_costs_no_server() -> None:
    """A query that a plugin answers is done at once; the server is not asked."""
    stage, plugin = staged(lambda _: ANSWER)
    assert stage.send(query("SELECT 1")) == WHOLE + READY
    assert stage.pools.leases == 0
    assert [(result.source, result.tag, result.rows) for result in plugin.results] == [("says", "SELECT 1", 1)]


def test_an_answer_in_the_extended_protocol_has_the_frames_that_were_asked_for() -> None:
    """ParseComplete, BindComplete and RowDescription stand where the client asked for them."""
    stage, _ = staged(lambda _: ANSWER)
    request = parse("SELECT 1") + frontend.Bind(b"", b"").to_bytes() + describe() + frontend.Execute(b"", 0).to_bytes()
    assert stage.send(request + SYNC) == ONE + TWO + WHOLE + READY


def test_an_answer_stands_for_a_description_of_the_statement_too() -> None:
    """postgres.js asks for that in the request that runs it: without parameters, and all as text, it is the same."""
    stage, _ = staged(lambda _: ANSWER)
    head = parse("SELECT 1") + describe(b"", frontend.STATEMENT)
    assert (
        stage.send(head + bind() + execute() + SYNC)
        == b"".join(
            [
                ONE,
                backend.ParameterDescription(()).to_bytes(),
                ANSWER.description or b"",
                TWO,
                ANSWER.rows,
                ANSWER.complete,
            ]
        )
        + READY
    )
    binary = frontend.Bind(b"", b"", result_formats=(1,)).to_bytes()
    assert stage.send(head + binary + execute() + SYNC) == b""


def test_a_description_of_the_statement_has_its_parameters() -> None:
    """Only the server knows their types."""
    stage, _ = staged(lambda _: ANSWER)
    values = frontend.Bind(b"", b"", values=(b"1",)).to_bytes()
    assert stage.send(parse("SELECT $1") + describe(b"", frontend.STATEMENT) + values + execute() + SYNC) == b""


@pytest.mark.parametrize("request_", [pbe("SELECT 1") * 2 + SYNC, pbe("SELECT 1") + FLUSH, parse("SELECT 1") + SYNC])
def test_an_answer_is_not_taken_where_it_cannot_stand_for_the_reply(request_: bytes) -> None:
    """Pipelines of several executions and unfinished requests go to the server."""
    stage, _ = staged(lambda _: ANSWER)
    assert stage.send(request_) == b""
    assert stage.pools.leases == 1


def test_an_answer_is_not_taken_inside_a_transaction() -> None:
    """A transaction sees its own snapshot, not a cache."""
    stage, _ = staged(lambda query: ANSWER if query.statement.reads else None)
    stage.turn(query("BEGIN"), done("BEGIN") + IN_TRANSACTION)
    assert stage.send(query("SELECT 1")) == b""


def test_a_refusal_is_an_error_and_the_session_lives() -> None:
    """A refused query is an ERROR; the next one is served."""
    refusing = [REFUSAL]
    stage, plugin = staged(lambda _: refusing.pop() if refusing else None)
    got = stage.send(query("SELECT 1"))
    assert tags(got) == "EZ"
    assert code(messages(got)[0]) == "53400"
    assert stage.turn(query("SELECT 1"), done() + READY) == done() + READY
    assert [result.error is None for result in plugin.results] == [False, True]


def test_a_refusal_inside_a_transaction_fails_the_transaction() -> None:
    """As any error would: the server is put into the failed state, and the client is told so."""
    stage, _ = staged(lambda query: REFUSAL if query.statement.reads else None)
    stage.turn(query("BEGIN"), done("BEGIN") + IN_TRANSACTION)
    stage.sent()
    assert stage.send(query("SELECT 1")) == b""
    assert tags(stage.sent()) == "BS"
    stage.say(error("26000", "internal words") + FAILED)
    got = stage.client.take()
    assert tags(got) == "EZ"
    assert code(messages(got)[0]) == "53400"
    assert got[-1:] == b"E"


def test_one_refused_execution_refuses_its_pipeline() -> None:
    """Nothing of a pipeline runs when one of its executions is refused; each has its result."""
    stage, plugin = staged(lambda query: REFUSAL if b"2" in query.statement.text else None)
    assert tags(stage.send(pbe("SELECT 1") + pbe("SELECT 2") + SYNC)) == "EZ"
    assert stage.pools.leases == 0
    assert len(plugin.results) == 2


def test_a_refused_query_behind_a_pipeline_ends_with_ready() -> None:
    """A Query behind a flushed pipeline is refused: its client waits for ReadyForQuery and sends no Sync."""
    stage, _ = staged(lambda query: REFUSAL if query.simple else None)
    stage.send(pbe("SELECT 1") + FLUSH)
    stage.say(ONE + TWO + done())
    assert stage.send(query("SELECT 2")) == ONE + TWO + done()
    assert tags(stage.sent()) == "PBEHBS"
    stage.say(error("26000") + READY)
    assert tags(stage.client.take()) == "EZ"


def test_an_answer_behind_a_pipeline_is_not_taken() -> None:
    """The server still owes what stands before it."""
    stage, _ = staged(lambda query: ANSWER if query.simple else None)
    stage.send(pbe("SELECT 1") + FLUSH)
    assert stage.send(query("SELECT 2")) == b""
    stage.say(ONE + TWO + done() + done() + READY)
    assert tags(stage.client.take()) == "12CCZ"


def test_a_refused_unfinished_request_is_skipped_to_its_sync() -> None:
    """After the error of a flushed request nothing comes until the client's Sync, and then one ReadyForQuery."""
    stage, _ = staged(lambda _: REFUSAL)
    assert tags(stage.send(pbe("SELECT 1") + FLUSH)) == "E"
    assert stage.send(pbe("SELECT 2")) == b""
    assert stage.send(SYNC) == READY


def test_a_notice_of_a_plugin_stands_before_ready() -> None:
    """What `result` gives is the last thing before ReadyForQuery, from servers and from plugins alike."""

    class Notes:
        @hookimpl
        def result(self) -> Notice:
            return Notice("hello")

    stage = Stage(plugins={"notes": Notes()})
    assert tags(stage.turn(query("SELECT 1"), done() + READY)) == "CNZ"
    assert tags(stage.turn(pbe("SELECT 1") + SYNC, ONE + TWO + done() + READY)) == "12CNZ"


# Plugins that take their time.


def test_a_late_answer_comes_in_order() -> None:
    """What the client sends meanwhile waits; then everything comes in the order of asking."""
    waits: Deferred[Any] = Deferred()
    stage, _ = staged(lambda query: waits if query.statement.text == b"SELECT 1" else None)
    assert stage.send(query("SELECT 1") + query("SELECT 2")) == b""
    assert stage.pools.leases == 0
    waits.callback(ANSWER)
    assert stage.client.take() == WHOLE + READY
    assert stage.sent() == query("SELECT 2")


def test_a_deferred_of_none_asks_the_plugins_behind_and_then_the_server() -> None:
    """None is no opinion, late as well as at once."""
    waits: Deferred[Any] = Deferred()
    behind = Says(lambda _: None)
    stage = Stage(plugins={"first": Says(lambda _: waits), "behind": behind})
    stage.send(query("SELECT 1"))
    waits.callback(None)
    assert stage.sent() == query("SELECT 1")


def test_a_plugin_behind_that_must_not_fail_refuses() -> None:
    """A plugin with on_error = "refuse" that raises behind a late None refuses the query with XX000."""

    def raises(_query: Query) -> None:
        raise RuntimeError("broken")

    waits: Deferred[Any] = Deferred()
    stage = Stage(plugins={"first": Says(lambda _: waits), "limits": Says(raises)}, refusing=("limits",))
    stage.send(query("SELECT 1"))
    waits.callback(None)
    got = stage.client.take()
    assert tags(got) == "EZ"
    assert code(messages(got)[0]) == "XX000"


def test_a_deferred_that_fails_is_no_opinion() -> None:
    """A plugin whose Deferred fails costs only itself."""
    stage, _ = staged(lambda _: fail(RuntimeError("broken")))
    assert stage.turn(query("SELECT 1"), done() + READY) == done() + READY
    assert stage.hooks.raised["execute", "says"] == 1


def test_a_deferred_that_fails_refuses_where_it_must() -> None:
    """The same, for a plugin that must not be passed over."""
    stage, _ = staged(lambda _: fail(RuntimeError("broken")), refusing=("says",))
    assert tags(stage.send(query("SELECT 1"))) == "EZ"


def test_a_client_that_leaves_cancels_what_was_being_thought_about() -> None:
    """The plugin hears of it, and nothing is written to anybody."""
    cancelled: list[bool] = []
    stage, _ = staged(lambda _: Deferred(lambda _: cancelled.append(True)))
    stage.send(query("SELECT 1"))
    stage.client.hang_up("left")
    assert cancelled == [True]
    assert stage.pools.leases == 0


def test_a_cancel_request_cancels_what_is_being_thought_about() -> None:
    """Cancel while a plugin thinks: 57014, and the session goes on."""
    stage, _ = staged(lambda _: Deferred())
    stage.send(query("SELECT 1"))
    stage.conversation.cancel()
    got = stage.client.take()
    assert tags(got) == "EZ"
    assert code(messages(got)[0]) == "57014"


def test_hundreds_of_pipelined_queries_answered_at_once_need_no_stack() -> None:
    """A plugin that answers with Deferreds that have fired must not run into Python's recursion limit."""
    stage, _ = staged(lambda _: succeed(ANSWER))
    got = stage.send(query("SELECT 1") * 2000)
    stage.clock.advance(0)
    assert got + stage.client.take() == (WHOLE + READY) * 2000


def test_a_plugin_that_raises_costs_only_itself() -> None:
    """The query goes on as if the plugin had no opinion."""

    def raises(_query: Query) -> None:
        raise RuntimeError("broken")

    stage, _ = staged(raises)
    assert stage.turn(query("SELECT 1"), done() + READY) == done() + READY
    assert stage.hooks.raised["execute", "says"] == 1
