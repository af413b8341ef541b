"""Which turn a frame belongs to, and when a turn is over."""

from __future__ import annotations

import pytest

from pgbeam_core.session import steps
from pgbeam_core.session.progress import Progress
from pgbeam_core.session.replies import ReplyQueue
from pgbeam_core.session.steps import TO_THE_END, Owed, say
from pgbeam_core.session.turns import OutOfTurn, Turn
from tests.session.reply_queues import (
    COPY_IN,
    EVERY_FRAME,
    ROW,
    Aside,
    Owner,
    queue,
)
from tests.session.stage import ONE, READY, TWO, done

ALLOWED = {
    "raw": (None, "CDEGHINSATVW"),
    "parse": ([Owed(b"1")], "1ENSA"),
    "bind": ([steps.BIND], "2ENSA"),
    "describe": ([steps.DESCRIBE], "TntENSA"),
    "execute": ([steps.EXECUTE], "CIsDdHGWcENSA"),
    "close": ([Owed(b"3")], "3ENSA"),
    "close unseen": ([steps.CLOSE_UNSEEN], "3ENSA"),
    "sync": ([], "EZNSA"),
    "said": ([say(ONE)], "EZNSA"),
    "query behind": ([TO_THE_END], "TIVHCDGWENSA"),
}


@pytest.mark.parametrize("tag", EVERY_FRAME)
@pytest.mark.parametrize("state", ALLOWED)
def test_every_message_in_every_state_is_owed_or_out_of_turn(state: str, tag: str) -> None:
    """For each step of a reply there are messages that may come; any other quarantines the server."""
    script, allowed = ALLOWED[state]
    replies, _ = queue(script)
    if tag in allowed:
        replies.feed(EVERY_FRAME[tag])
    else:
        with pytest.raises(OutOfTurn):
            replies.feed(EVERY_FRAME[tag])


def test_what_pgbeam_says_first_is_said_when_the_turn_comes_to_the_head() -> None:
    """A ParseComplete of PgBeam's own behind a turn of somebody else is said once that is over."""
    replies, (first, second) = queue(None, [say(ONE)])
    replies.turns[1].enter(Progress.OPEN)
    replies.feed(done())
    assert second.got == b""
    replies.feed(READY)
    assert (first.over, second.got) == ([READY], ONE)


def test_ready_before_the_reply_is_complete_is_out_of_turn() -> None:
    """A ReadyForQuery in place of a BindComplete would shift every reply behind it."""
    replies, _ = queue([steps.BIND])
    with pytest.raises(OutOfTurn):
        replies.feed(READY)


def test_ready_before_sync_went_out_is_out_of_turn() -> None:
    """Nobody has asked for ReadyForQuery yet."""
    replies, _ = queue([steps.BIND], ended=False)
    with pytest.raises(OutOfTurn):
        replies.feed(TWO + READY)


@pytest.mark.parametrize("script", [None, [steps.EXECUTE]])
def test_a_copy_in_tells_its_owner_each_time(script: list[Owed] | None) -> None:
    """`COPY a FROM STDIN; COPY b FROM STDIN` in one Query wants data twice."""
    replies, (owner,) = queue(script)
    replies.feed(COPY_IN + done("COPY 1"))
    if script is None:
        replies.feed(COPY_IN + done("COPY 2"))
    assert owner.copies == (2 if script is None else 1)


def test_a_kept_reply_is_dropped_above_its_cap() -> None:
    """Keeping a reply for the cache costs at most as much memory as was asked for."""
    for cap, kept in ((1000, True), (10, False)):
        owner = Owner()
        turn = Turn(owner, simple=True)
        turn.keep_up_to(cap)
        replies = ReplyQueue(Aside())
        replies.expect(turn)
        replies.feed(ROW + done() + READY)
        assert (turn.kept is not None) is kept
        assert owner.got == ROW + done()
