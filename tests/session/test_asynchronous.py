"""What a server says without being asked."""

from __future__ import annotations

import pytest

from pgbeam_core.session import steps
from pgbeam_core.session.steps import Owed, say
from pgbeam_core.session.turns import OutOfTurn
from tests.session.reply_queues import (
    DESCRIPTION,
    EVERY_FRAME,
    NOTICE,
    NOTIFICATION,
    ROW,
    STATUS,
    Aside,
    queue,
)
from tests.session.stage import ONE, READY, TWO, done


@pytest.mark.parametrize("tag", EVERY_FRAME)
def test_an_idle_server_may_say_nothing_but_asynchronous_messages(tag: str) -> None:
    """A server that owes nothing and speaks all the same cannot be trusted, whatever it says."""
    aside = Aside()
    replies, _ = queue(aside=aside)
    if tag in "NSAE":
        replies.feed(EVERY_FRAME[tag])
        assert aside.frames == [EVERY_FRAME[tag]]
        return
    with pytest.raises(OutOfTurn):
        replies.feed(EVERY_FRAME[tag])


@pytest.mark.parametrize("shows", [True, False])
@pytest.mark.parametrize("script", [None, [say(ONE), steps.BIND, steps.EXECUTE]])
def test_asynchronous_messages_may_come_anywhere(script: list[Owed] | None, *, shows: bool) -> None:
    """Notices and changed parameters between any two messages do not disturb a reply; a stranger's are not shown."""
    reply = [DESCRIPTION, ROW, ROW, done()] if script is None else [TWO, ROW, ROW, done()]
    expected, sent = (b"" if script is None else ONE), b""
    for frame in [*reply, b""]:
        sent += NOTICE + STATUS + NOTIFICATION + frame
        expected += NOTICE + (STATUS if shows else b"") + NOTIFICATION + frame
    aside = Aside(shows=shows)
    replies, (owner,) = queue(script, aside=aside)
    replies.feed(sent + READY)
    got = owner.got if script is None else owner.got.replace(ONE, b"")
    assert got == expected.replace(ONE, b"")
    assert owner.over == [READY]
    assert aside.statuses == [STATUS] * 5
