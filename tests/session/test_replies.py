"""Who gets which byte of what a server sends."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgbeam_core.errors import ProtocolViolation
from pgbeam_core.session import steps
from pgbeam_core.session.replies import OutOfTurn, ReplyQueue
from pgbeam_core.session.steps import FREE, TO_THE_END, Owed, say
from pgbeam_core.session.turns import Turn
from pgbeam_core.wire import backend, copy_messages
from pgbeam_core.wire.frames import split
from tests.session.stage import ONE, READY, THREE, TWO, Stage, copy_data, done, error, query

GOLDEN = Path(__file__).parent.parent / "wire" / "golden"
NOTICE = backend.notice_response("NOTICE", "00000", "by the way")
STATUS = backend.parameter_status("TimeZone", "UTC")
NOTIFICATION = b"A\x00\x00\x00\x0c\x00\x00\x00\x01a\x00b\x00"
ROW = backend.data_row(["one"])
DESCRIPTION = backend.row_description([("a", 25, -1)])
PARAMETERS = backend.ParameterDescription(()).to_bytes()
COPY_IN = b"G\x00\x00\x00\x07\x00\x00\x00"
COPY_OUT = b"H\x00\x00\x00\x07\x00\x00\x00"
COPY_BOTH = b"W\x00\x00\x00\x07\x00\x00\x00"
FUNCTION_RESULT = b"V\x00\x00\x00\x08\xff\xff\xff\xff"
EVERY_FRAME = {
    "1": ONE, "2": TWO, "3": THREE, "A": NOTIFICATION, "C": done(), "D": ROW, "E": error(), "G": COPY_IN,
    "H": COPY_OUT, "I": backend.EMPTY_QUERY_RESPONSE, "N": NOTICE, "R": backend.AUTHENTICATION_OK, "S": STATUS,
    "T": DESCRIPTION, "V": FUNCTION_RESULT, "W": COPY_BOTH, "Z": READY, "c": copy_messages.COPY_DONE,
    "d": copy_data(b"x"), "n": backend.NO_DATA, "s": backend.PORTAL_SUSPENDED, "t": PARAMETERS,
    "K": b"K\x00\x00\x00\x0c" + bytes(8), "v": b"v\x00\x00\x00\x0c" + bytes(8), "?": b"?\x00\x00\x00\x04",
}  # fmt: skip


@dataclass
class Owner:
    """Notes what it gets and when its turns end."""

    got: bytes = b""
    over: list[bytes] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    copies: int = 0
    skipped: int = 0

    def deliver(self, data: bytes) -> None:
        assert not self.over or self.lost, "a byte after the end"
        self.got += data

    def copy_in(self, turn: Turn) -> None:
        self.copies += 1
        turn.ended = True

    def skips(self, turn: Turn) -> None:
        self.skipped += 1
        turn.ended = True

    def turn_over(self, turn: Turn, ready: bytes) -> None:
        self.over.append(ready)

    def turn_lost(self, turn: Turn, reason: str) -> None:
        self.lost.append(reason)


class Aside:
    """Takes what nobody asked for."""

    def __init__(self, *, shows: bool = True) -> None:
        self.shows = shows
        self.frames: list[bytes] = []
        self.statuses: list[bytes] = []

    def parameter_status(self, frame: bytes) -> bytes | None:
        self.statuses.append(frame)
        return frame if self.shows else None

    def unasked(self, tag: int, frame: bytes) -> None:
        self.frames.append(frame)

    def notified(self, frame: bytes) -> bool:
        return False

    def told_later(self) -> None:
        pass


def queue(
    *scripts: list[Owed] | None, aside: Aside | None = None, ended: bool = True
) -> tuple[ReplyQueue, list[Owner]]:
    """A queue that owes one turn per script; None is a turn of the simple protocol."""
    replies, owners = ReplyQueue(aside or Aside()), []
    for script in scripts:
        owners.append(Owner())
        steps = None if script is None else deque(script)
        replies.expect(Turn(owners[-1], simple=script is None, script=steps, ended=ended))
    return replies, owners


def feed(replies: ReplyQueue, data: bytes, size: int) -> None:
    """Feed it in pieces of that many bytes."""
    for start in range(0, len(data), size):
        replies.feed(data[start : start + size])


def recorded() -> Iterator[tuple[str, bytes]]:
    """Every recorded reply: what one server said from its first ReadyForQuery to its last."""
    for path in sorted(GOLDEN.glob("*.server")):
        data = path.read_bytes()
        ends = [end for tag, _, end in split(data) if tag == ord("Z")]
        if len(ends) > 1:
            yield path.stem, data[ends[0] : ends[-1]]


def turns_of(data: bytes) -> list[bytes]:
    """Cut replies behind each ReadyForQuery."""
    ends = [0, *(end for tag, _, end in split(data) if tag == ord("Z"))]
    return [data[start:end] for start, end in pairwise(ends)]


@pytest.mark.parametrize("size", [1, 2, 7, 100_000])
@pytest.mark.parametrize(("name", "data"), list(recorded()), ids=[name for name, _ in recorded()])
def test_recorded_replies_reach_their_owners_however_they_are_cut(name: str, data: bytes, size: int) -> None:
    """What PostgreSQL really sends is handed on byte for byte, each turn to its own owner."""
    replies = turns_of(data)
    waiting, owners = queue(*[None] * len(replies))
    if "simple" not in name:
        for turn in waiting.turns:
            turn.at = FREE
    feed(waiting, data, size)
    assert [owner.got + owner.over[0] for owner in owners] == replies
    assert not waiting.turns


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


def test_what_pgbeam_says_first_is_said_when_the_turn_comes_to_the_head() -> None:
    """A ParseComplete of PgBeam's own behind a turn of somebody else is said once that is over."""
    replies, (first, second) = queue(None, [say(ONE)])
    replies.turns[1].ended = False
    replies.feed(done())
    assert second.got == b""
    replies.feed(READY)
    assert (first.over, second.got) == ([READY], ONE)


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


@pytest.mark.parametrize(
    "frame",
    [
        b"Z\x00\x00\x00\x04",
        b"Z\x00\x00\x00\x06II",
        b"D\x00\x00\x00\x03",
        b"C\x00\x00\x00\x00",
        b"T\x7f\xff\xff\xff",
        b"d\xff\xff\xff\xff",
    ],
)
def test_impossible_lengths_are_out_of_turn(frame: bytes) -> None:
    """A length that cannot be means that the borders between messages are lost."""
    replies, _ = queue(None)
    with pytest.raises(OutOfTurn):
        replies.feed(frame)


@pytest.mark.parametrize("script", [None, [steps.EXECUTE]])
def test_a_copy_in_tells_its_owner_each_time(script: list[Owed] | None) -> None:
    """`COPY a FROM STDIN; COPY b FROM STDIN` in one Query wants data twice."""
    replies, (owner,) = queue(script)
    replies.feed(COPY_IN + done("COPY 1"))
    if script is None:
        replies.feed(COPY_IN + done("COPY 2"))
    assert owner.copies == (2 if script is None else 1)


def test_a_query_with_copy_behind_a_pipeline_ends_with_its_own_ready() -> None:
    """The ReadyForQuery of a COPY in a Query comes without a Sync, also behind Parse, Bind and Execute."""
    replies, (owner,) = queue([Owed(b"1"), TO_THE_END])
    replies.feed(ONE + COPY_IN)
    replies.feed(done("COPY 1") + READY)
    assert owner.over == [READY]


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


@pytest.mark.parametrize("script", [None, [steps.EXECUTE]])
def test_a_row_larger_than_its_chunks_is_handed_on_as_it_comes(script: list[Owed] | None) -> None:
    """A row of many megabytes is never held: its owner has every byte as soon as it arrived."""
    replies, (owner,) = queue(script)
    row = backend.data_row(["x" * 100_000])
    for start in range(0, len(row), 1000):
        replies.feed(row[start : start + 1000])
        assert len(owner.got) == min(start + 1000, len(row))
    replies.feed(done() + READY)
    assert owner.got == row + done()


def test_all_owners_are_told_in_order_when_the_server_is_lost() -> None:
    """Whoever waited for a reply hears that it will not come, once."""
    replies, owners = queue(None, [steps.BIND], None)
    replies.feed(done() + READY + b"2\x00\x00")
    replies.lost("gone")
    replies.lost("gone")
    assert [(owner.over, owner.lost) for owner in owners] == [([READY], []), ([], ["gone"]), ([], ["gone"])]


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


# Random sequences of turns.

Planned = tuple[list[Owed] | None, bytes, bytes]
"""A script, what the server says to it, and what its owner is to see of that."""

STEPS = {
    "parse": (Owed(b"1"), ONE, ONE),
    "bind": (steps.BIND, TWO, TWO),
    "describe": (steps.DESCRIBE, PARAMETERS + DESCRIPTION, PARAMETERS + DESCRIPTION),
    "rows": (steps.EXECUTE, ROW * 3 + done(), ROW * 3 + done()),
    "copy out": (steps.EXECUTE, COPY_OUT + copy_data(b"x" * 50) + copy_messages.COPY_DONE + done(), None),
    "suspended": (steps.EXECUTE, ROW + backend.PORTAL_SUSPENDED, ROW + backend.PORTAL_SUSPENDED),
    "empty": (steps.EXECUTE, backend.EMPTY_QUERY_RESPONSE, backend.EMPTY_QUERY_RESPONSE),
    "close": (Owed(b"3"), THREE, THREE),
    "unseen": (steps.CLOSE_UNSEEN, THREE, b""),
    "said": (say(ONE), b"", ONE),
}
RAW = [
    DESCRIPTION + ROW + done(),
    DESCRIPTION + NOTICE + done(),
    done(),
    NOTICE,
    COPY_OUT + copy_data(b"abc") + copy_messages.COPY_DONE + done(),
    backend.EMPTY_QUERY_RESPONSE,
    FUNCTION_RESULT,
]
LAST = [done(), error(), DESCRIPTION + ROW + error(), COPY_OUT + copy_data(b"abc") + error()]


@st.composite
def scripted(draw: st.DrawFn) -> tuple[list[Owed], bytes, bytes]:
    """A script, what the server says to it, and what its owner is to see of that."""
    names = draw(st.lists(st.sampled_from(sorted(STEPS)), max_size=6))
    fails_at = draw(st.none() | st.integers(0, max(len(names) - 1, 0)))
    script, says, sees = [], b"", b""
    failed = False
    for place, name in enumerate(names):
        step, sent, seen = STEPS[name]
        script.append(step)
        if failed:
            continue
        if place == fails_at and step.inject is None:
            sent = seen = error()
            failed = True
        says += sent
        sees += sent if seen is None else seen
    return script, says, sees


SCRIPTED = scripted()
SIMPLE = (
    st.tuples(st.lists(st.sampled_from(RAW), max_size=5).map(b"".join), st.sampled_from(LAST))
    .map(b"".join)
    .map(lambda said: (None, said, said))
)


@given(st.lists(SIMPLE | SCRIPTED, min_size=1, max_size=6), st.lists(st.integers(1, 40), min_size=1, max_size=50))
def test_each_owner_gets_exactly_its_bytes(plan: list[Planned], sizes: list[int]) -> None:
    """Whatever turns stand behind one another and however the stream is cut, nobody sees another's byte."""
    replies, owners = queue(*[script for script, _, _ in plan])
    stream = b"".join(says + READY for _, says, _ in plan)
    place = count = 0
    while place < len(stream):
        size = sizes[count % len(sizes)]
        replies.feed(stream[place : place + size])
        place, count = place + size, count + 1
    assert [owner.got for owner in owners] == [sees for _, _, sees in plan]
    assert all(owner.over == [READY] and not owner.lost for owner in owners)


@given(st.lists(SIMPLE | SCRIPTED, max_size=4), st.data())
def test_garbage_is_out_of_turn_and_nothing_worse(plan: list[Planned], data: st.DataObject) -> None:
    """A broken stream ends in a protocol violation: no other error, and every turn ends exactly once."""
    replies, owners = queue(*[script for script, _, _ in plan])
    stream = bytearray(b"".join(says + READY for _, says, _ in plan))
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(stream)))
        stream[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=8))
    stream += data.draw(st.binary(max_size=20) | st.sampled_from(sorted(EVERY_FRAME.values())))
    size = data.draw(st.integers(1, 30))
    with suppress(ProtocolViolation):
        feed(replies, bytes(stream), size)
    replies.lost("over")
    assert all(len(owner.over) + len(owner.lost) == 1 for owner in owners)
