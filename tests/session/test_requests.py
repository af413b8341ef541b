"""How the bytes of a client become messages."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgbeam_core.errors import ProtocolViolation
from pgbeam_core.session.requests import MAX_LENGTH, Inbox
from pgbeam_core.wire.frames import frame

FRAMES = st.lists(st.builds(frame, st.integers(0, 255), st.binary(max_size=30)), max_size=12)


def drain(inbox: Inbox) -> list[bytes]:
    """Every message that is whole."""
    taken = []
    while (message := inbox.take()) is not None:
        taken.append(message)
    return taken


@given(FRAMES, st.binary(max_size=4), st.lists(st.integers(1, 25), min_size=1, max_size=30), st.booleans())
def test_messages_do_not_depend_on_chunks(frames: list[bytes], rest: bytes, sizes: list[int], eager: bool) -> None:
    """The same messages come out however they arrived and whenever they are taken; what is unfinished stays."""
    inbox, stream, taken = Inbox(), b"".join(frames) + rest, []
    place = count = 0
    while place < len(stream):
        size = sizes[count % len(sizes)]
        inbox.add(stream[place : place + size])
        place, count = place + size, count + 1
        if eager:
            taken += drain(inbox)
    taken += drain(inbox)
    assert taken == frames
    assert len(inbox) == len(rest)
    assert inbox.take_rest() == rest


@pytest.mark.parametrize("length", [0, 3, MAX_LENGTH + 1, 0xFFFFFFFF])
def test_an_impossible_length_breaks_the_protocol(length: int) -> None:
    """A client whose message borders are lost is told so at once, not after gigabytes."""
    inbox = Inbox()
    inbox.add(b"Q" + length.to_bytes(4))
    with pytest.raises(ProtocolViolation):
        inbox.take()


def test_a_message_of_50_megabytes_costs_one_copy() -> None:
    """A large INSERT in small chunks takes a fraction of a second, not the square of its size."""
    inbox, chunk = Inbox(), bytes(16 * 1024)
    count = 50 * 64
    inbox.add(b"Q" + (4 + count * len(chunk)).to_bytes(4))
    started = time.process_time()
    for _ in range(count):
        assert inbox.take() is None
        inbox.add(chunk)
    message = inbox.take()
    assert message is not None
    assert len(message) == 5 + count * len(chunk)
    assert time.process_time() - started < 1.0
