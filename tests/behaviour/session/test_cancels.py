"""Cancel requests: only the turn that they are about is hit, and none is lost."""

from __future__ import annotations

from tests.session.plugins import code
from tests.session.stage import IN_TRANSACTION, READY, Stage, done, error, messages, query, tags

CANCELLED = error("57014", "canceling statement due to user request")


def test_the_next_statement_waits_until_a_late_cancel_has_passed() -> None:
    """In a transaction, a cancel request that is under way when its statement ends must not hit the next one."""
    stage = Stage()
    stage.turn(query("BEGIN"), done("BEGIN") + IN_TRANSACTION)
    stage.send(query("SELECT 1"))
    passed = stage.conversation.cancel()
    stage.say(done() + IN_TRANSACTION)
    stage.sent()
    stage.send(query("SELECT 2"))
    assert stage.sent() == b""
    assert passed is not None
    assert not passed.called
    stage.cancels[0].callback(None)
    assert passed.called
    assert stage.sent() == query("SELECT 2")


def test_what_waits_behind_a_late_cancel_can_be_cancelled() -> None:
    """It is told 57014 as the server would tell it; in a transaction the server's fails too."""
    stage = Stage()
    stage.turn(query("BEGIN"), done("BEGIN") + IN_TRANSACTION)
    stage.send(query("SELECT 1"))
    stage.conversation.cancel()
    stage.say(done() + IN_TRANSACTION)
    stage.client.take()
    stage.sent()
    stage.send(query("SELECT 2"))
    stage.conversation.cancel()
    stage.cancels[0].callback(None)
    assert tags(stage.sent()) == "BS"
    stage.say(error() + b"Z\0\0\0\x05E")
    got = stage.client.take()
    assert (tags(got), code(messages(got)[0])) == ("EZ", "57014")


def test_a_second_cancel_is_remembered() -> None:
    """The first request may have come before the statement; the second one is sent when it has passed."""
    stage = Stage()
    stage.send(query("SELECT 1"))
    first = stage.conversation.cancel()
    second = stage.conversation.cancel()
    assert len(stage.cancels) == 1
    stage.cancels[0].callback(None)
    assert len(stage.cancels) == 2
    assert first is not None
    assert second is not None
    assert not (first.called)
    assert not (second.called)
    stage.say(CANCELLED + READY)
    stage.cancels[1].callback(None)
    assert first.called
    assert second.called


def test_a_remembered_cancel_goes_with_its_statement() -> None:
    """What it was meant for has ended: nothing is sent."""
    stage = Stage()
    stage.send(query("SELECT 1"))
    stage.conversation.cancel()
    second = stage.conversation.cancel()
    stage.say(done() + READY)
    stage.cancels[0].callback(None)
    assert len(stage.cancels) == 1
    assert second is not None
    assert second.called


def test_a_cancel_does_not_hit_pgbeams_own_request() -> None:
    """Settings go ahead of the statement: it is cancelled when the server has come to it, not before."""
    stage = Stage(servers=2)
    stage.turn(query("SET work_mem = '5MB'"), done("SET") + READY)
    other = stage.pools.idle[0]
    stage.sent(other)
    stage.send(query("SELECT 1"))
    passed = stage.conversation.cancel()
    assert stage.cancels == []
    stage.say(done() + READY, other)
    assert len(stage.cancels) == 1
    stage.say(CANCELLED + READY, other)
    stage.cancels[0].callback(None)
    assert passed is not None
    assert passed.called
    assert tags(stage.client.take()[-len(CANCELLED + READY) :]) == "EZ"
    assert other.alive


def test_pgbeams_question_waits_until_a_late_cancel_has_passed() -> None:
    """What a client has left on its server is not asked while its cancel request may still hit the question."""
    stage = Stage()
    stage.send(query("DO 'BEGIN END'"))
    stage.conversation.cancel()
    stage.say(done("DO") + READY)
    stage.sent()
    assert stage.servers[0].owed == 0
    stage.cancels[0].callback(None)
    assert stage.servers[0].owed == 1
    stage.inspect()
    assert stage.pools.idle == stage.servers


def test_a_lost_server_ends_the_wait() -> None:
    """A cancel request for a server that is gone holds nobody up."""
    stage = Stage()
    stage.send(query("SELECT 1"))
    passed = stage.conversation.cancel()
    stage.lose()
    assert passed is not None
    assert passed.called
