"""Requests that a client has begun and not ended, and COPY data that nobody has asked for yet."""

from __future__ import annotations

from pgbeam_core.net.deadlines import PAUSE
from pgbeam_core.session.state import Phase
from pgbeam_core.wire import copy_messages
from tests.session.plugins import COPY_IN, REFUSAL, code, staged
from tests.session.stage import (
    FLUSH,
    ONE,
    READY,
    SYNC,
    TWO,
    Stage,
    bind,
    copy_data,
    done,
    error,
    execute,
    messages,
    parse,
    pbe,
    query,
    tags,
)

COPY = "COPY t FROM STDIN"
DATA = copy_data(b"1\n")
END = copy_messages.COPY_DONE


def test_an_error_is_told_before_sync() -> None:
    """A client that pauses before Sync hears of its error at once, as direct."""
    stage = Stage()
    assert stage.send(parse("SELEC 1")) == b""
    assert stage.sent() == b""
    stage.clock.advance(PAUSE)
    assert tags(stage.sent()) == "P"
    stage.say(error("42601"))
    assert code(stage.client.take()) == "42601"
    stage.send(bind() + execute() + SYNC)
    assert stage.sent()[-len(SYNC) :] == SYNC
    stage.say(READY)
    assert stage.client.take() == READY
    assert stage.pools.idle == stage.servers


def test_a_request_in_pieces_goes_out_as_one() -> None:
    """A client that writes each message by itself, without a pause, costs its server no more than one that does not."""
    stage = Stage()
    for frame in messages(pbe("SELECT 1")):
        stage.send(frame)
        stage.clock.advance(PAUSE / 10)
    assert stage.sent() == b""
    stage.send(SYNC)
    assert tags(stage.sent()) == "PBES"
    stage.clock.advance(PAUSE)
    assert stage.sent() == b""


def test_a_message_that_is_still_growing_is_waited_for() -> None:
    """A large parameter comes in many pieces: what stands before it does not go ahead by itself."""
    stage = Stage()
    stage.send(parse("SELECT $1") + bind()[:-1])
    stage.clock.advance(2 * PAUSE)
    assert stage.sent() == b""


def test_who_leaves_in_the_middle_of_a_request_sends_nothing() -> None:
    """What a client has begun and not ended is nobody's when it is gone."""
    stage = Stage()
    stage.send(parse("SELECT 1"))
    stage.client.hang_up("left")
    stage.clock.advance(2 * PAUSE)
    assert stage.sent() == b""


def test_copy_data_may_come_with_the_copy() -> None:
    """Parse, Bind, Execute, the data and Sync in one write: the data go when the server wants them."""
    stage = Stage()
    stage.send(pbe(COPY) + DATA + DATA + END + SYNC)
    assert tags(stage.sent()) == "PBEH"
    stage.say(ONE + TWO + COPY_IN)
    assert stage.client.take() == ONE + TWO + COPY_IN
    assert tags(stage.sent()) == "ddcS"
    stage.say(done("COPY 2") + READY)
    assert stage.client.take() == done("COPY 2") + READY
    assert stage.pools.idle == stage.servers


def test_copy_data_behind_what_is_no_copy_are_ignored() -> None:
    """As PostgreSQL does: CopyData outside of a COPY mean nothing."""
    stage = Stage()
    stage.send(pbe("SELECT 1") + DATA + END + SYNC)
    assert tags(stage.sent()) == "PBEH"
    stage.say(ONE + TWO + done())
    assert tags(stage.sent()) == "S"
    stage.say(READY)
    assert stage.client.take() == ONE + TWO + done() + READY


def test_copy_data_behind_an_error_are_ignored() -> None:
    """The COPY fails while its data are on the way: the server skips to Sync, and so does PgBeam."""
    stage = Stage()
    stage.send(pbe(COPY) + DATA + END + SYNC)
    stage.sent()
    stage.say(error("42P01"))
    assert stage.sent() == SYNC
    stage.say(READY)
    assert stage.client.take() == error("42P01") + READY


def test_copy_data_in_the_middle_of_a_pipeline() -> None:
    """Two COPYs and a query in one request, with their data."""
    stage = Stage()
    stage.send(pbe(COPY) + DATA + END + pbe(COPY) + DATA + END + pbe("SELECT 1") + SYNC)
    stage.say(ONE + TWO + COPY_IN)
    assert tags(stage.sent()) == "PBEHdcPBEH"
    stage.say(done("COPY 1") + ONE + TWO + COPY_IN)
    assert tags(stage.sent()).replace("H", "") == "dcPBES"
    stage.say(done("COPY 1") + ONE + TWO + done() + READY)
    assert tags(stage.client.take()) == "12GC12GC12CZ"


def test_copy_data_of_a_refused_copy_are_passed_over() -> None:
    """A plugin refuses it: its data are not for the next statement."""
    stage, _ = staged(lambda _: REFUSAL)
    assert tags(stage.send(pbe(COPY) + DATA + END)) == "E"
    assert stage.send(SYNC) == READY
    assert stage.conversation.phase is Phase.IDLE


def test_flush_and_sync_are_the_servers_to_ignore_in_copy_mode() -> None:
    """Within COPY data they mean nothing; the Sync behind the end counts."""
    stage = Stage()
    stage.send(pbe(COPY) + FLUSH + DATA + FLUSH + SYNC + DATA + END + SYNC)
    stage.say(ONE + TWO + COPY_IN)
    assert tags(stage.sent()).replace("H", "") == "PBEdSdcS"
    stage.say(done("COPY 2") + READY)
    assert tags(stage.client.take()) == "12GCZ"


def test_a_query_behind_an_unfinished_request_is_in_its_transaction() -> None:
    """asyncpg prepares with Flush alone: what it then asks by the simple protocol must not run outside of BEGIN."""
    stage = Stage(lazy="reads")
    stage.send(query("BEGIN"))
    stage.send(parse("SELECT 1", b"n") + FLUSH)
    stage.say(ONE + READY)
    stage.sent()
    stage.send(query("INSERT INTO t VALUES (1)"))
    sent = messages(stage.sent())
    assert [frame[:1] for frame in sent] == [b"P", b"B", b"E", b"Q"]
    assert b"BEGIN" in sent[0]
    stage.say(ONE + TWO + done("BEGIN") + done("INSERT 0 1") + b"Z\0\0\0\5T")
    assert stage.client.take()[-len(READY) :] == b"Z\0\0\0\5T"
    assert stage.conversation.session.begun
