"""Who gets which byte of what a server sends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgbeam_core.errors import ProtocolViolation
from pgbeam_core.session import steps
from pgbeam_core.session.steps import FREE, Owed, say
from pgbeam_core.session.turns import OutOfTurn
from pgbeam_core.wire import backend, copy_messages
from pgbeam_core.wire.frames import split
from tests.session.reply_queues import (
    COPY_OUT,
    DESCRIPTION,
    EVERY_FRAME,
    FUNCTION_RESULT,
    GOLDEN,
    NOTICE,
    PARAMETERS,
    ROW,
    feed,
    queue,
)
from tests.session.stage import ONE, READY, THREE, TWO, copy_data, done, error


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
