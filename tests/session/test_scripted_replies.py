"""Replies to requests of the extended protocol, step by step."""

from __future__ import annotations

from functools import partial

import pytest

from pgbeam_core.session import steps
from pgbeam_core.session.steps import TO_THE_END, Owed, say
from pgbeam_core.session.turns import OutOfTurn
from tests.session.reply_queues import (
    COPY_IN,
    ROW,
    feed,
    queue,
)
from tests.session.stage import ONE, READY, THREE, TWO, done, error


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_steps_are_injected_dropped_and_replaced_in_their_places(size: int) -> None:
    """The client of a pooled statement sees ParseComplete where it asked for it, and no CloseComplete."""
    said = Owed(b"2", instead_of_error=error("42704", "unknown"))
    replies, (owner,) = queue([steps.CLOSE_UNSEEN, say(ONE), steps.BIND, steps.EXECUTE, say(THREE), said])
    feed(replies, THREE + TWO + ROW + done() + error("XX000", "internal words") + READY, size)
    assert owner.got == ONE + TWO + ROW + done() + THREE + error("42704", "unknown")
    assert owner.over == [READY]


def test_what_pgbeam_says_last_does_not_wait_for_a_frame_that_never_comes() -> None:
    """After a Flush the client gets a CloseComplete of PgBeam's own though the server has nothing more to say."""
    replies, (owner,) = queue([steps.EXECUTE, say(THREE)], ended=False)
    replies.feed(done())
    assert owner.got == done() + THREE


def test_effects_tell_success_failure_and_nothing_when_skipped() -> None:
    """A statement is remembered when the server made it, forgotten when it did not, untouched when it never looked."""
    told: list[tuple[str, bool]] = []
    script = [
        Owed(tag, effect=partial(lambda name, ok: told.append((name, ok)), tag.decode())) for tag in (b"1", b"2", b"3")
    ]
    replies, _ = queue(script)
    replies.feed(ONE + error() + READY)
    assert told == [("1", True), ("2", False)]


def test_an_error_skips_to_the_sync_even_when_it_comes_later() -> None:
    """The server skips what follows an error; so nothing more is owed until ReadyForQuery."""
    replies, (owner,) = queue([Owed(b"1"), steps.BIND, steps.EXECUTE], ended=False)
    replies.feed(error())
    assert owner.skipped == 1
    replies.feed(READY)
    assert owner.over == [READY]


def test_a_second_answer_to_one_step_is_out_of_turn() -> None:
    """Two CommandCompletes for one Execute: the stream cannot be trusted."""
    replies, _ = queue([steps.EXECUTE])
    replies.feed(done())
    with pytest.raises(OutOfTurn):
        replies.feed(done())


def test_a_query_with_copy_behind_a_pipeline_ends_with_its_own_ready() -> None:
    """The ReadyForQuery of a COPY in a Query comes without a Sync, also behind Parse, Bind and Execute."""
    replies, (owner,) = queue([Owed(b"1"), TO_THE_END])
    replies.feed(ONE + COPY_IN)
    replies.feed(done("COPY 1") + READY)
    assert owner.over == [READY]
