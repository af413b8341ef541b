"""Replies to Query and FunctionCall messages: what may come after what."""

from __future__ import annotations

import pytest

from pgbeam_core.session.steps import TO_THE_END, Owed
from pgbeam_core.session.turns import OutOfTurn
from pgbeam_core.wire import copy_messages
from tests.session.reply_queues import (
    COPY_IN,
    COPY_OUT,
    DESCRIPTION,
    ROW,
    queue,
)
from tests.session.stage import READY, TWO, Stage, copy_data, done, error, query

IMPOSSIBLE = {
    "nothing": READY,
    "rows without an end": DESCRIPTION + ROW + READY,
    "columns twice": DESCRIPTION + DESCRIPTION,
    "rows behind the end": DESCRIPTION + ROW + done() + COPY_OUT + ROW,
    "copy data among rows": DESCRIPTION + copy_data(b"a"),
    "no end of copy data": COPY_OUT + copy_data(b"a") + done(),
    "copy data behind their end": COPY_OUT + copy_messages.COPY_DONE + copy_data(b"a"),
    "words behind an error": error() + done(),
    "rows behind an error": error() + ROW,
    "ready while data are wanted": COPY_IN + READY,
    "a status that is none": done() + b"Z\0\0\0\5X",
    "a status of two bytes": done() + b"Z\0\0\0\6II",
    "a message of the other protocol": TWO,
}


@pytest.mark.parametrize("script", [None, [TO_THE_END]])
@pytest.mark.parametrize("what", IMPOSSIBLE)
def test_an_impossible_reply_to_a_query_is_out_of_turn(what: str, script: list[Owed] | None) -> None:
    """What PostgreSQL never sends is not passed on as if it were whole, alone or behind other messages."""
    replies, (owner,) = queue(script)
    with pytest.raises(OutOfTurn):
        replies.feed(IMPOSSIBLE[what])
    assert not owner.over


def test_one_statement_is_completed_once() -> None:
    """A second CommandComplete for a SELECT alone cannot be; two statements have two."""
    for sql, ends in (("SELECT a FROM t", False), ("SELECT a FROM t; SELECT 1", True)):
        stage = Stage()
        stage.turn(query(sql), DESCRIPTION + ROW + done() + done() + READY)
        assert stage.servers[0].alive is ends
