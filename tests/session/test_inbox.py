"""How the bytes of a client become messages."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgbeam_core.errors import ProtocolViolation
from pgbeam_core.session.inbox import MAX_LENGTH, Inbox
from pgbeam_core.wire.frames import frame
from pgbeam_core.wire.large import Head

TYPES = b"QFPBDECHSXdcf"
FRAMES = st.lists(st.builds(frame, st.sampled_from(TYPES), st.binary(max_size=30)), max_size=12)
RESTS = st.one_of(
    st.just(b""), st.builds(lambda tag, more: bytes([tag]) + more, st.sampled_from(TYPES), st.binary(max_size=3))
)


def drain(inbox: Inbox) -> list[bytes]:
    """Every message that is whole."""
    taken = []
    while (message := inbox.next_message()) is not None:
        taken.append(message)
    return taken


@given(FRAMES, RESTS, st.lists(st.integers(1, 25), min_size=1, max_size=30), st.booleans())
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
        inbox.next_message()


@pytest.mark.parametrize("tag", [0, ord("!"), ord("R"), ord("p"), ord("q"), ord("x"), 255])
@pytest.mark.parametrize("more", [b"", b"\x3f\xff", b"\x3f\xff\xff\xf0", b"\x3f\xff\xff\xf0abc"])
def test_an_unknown_type_is_refused_at_its_first_byte(tag: int, more: bytes) -> None:
    """Nobody makes PgBeam hold a gigabyte of something that there is not."""
    inbox = Inbox()
    inbox.add(bytes([tag]) + more)
    with pytest.raises(ProtocolViolation, match=rf"invalid frontend message type {tag}$"):
        inbox.next_message()


@pytest.mark.parametrize("tag", b"XCDEHScf")
def test_small_messages_are_small(tag: int) -> None:
    """A Sync of 10,001 bytes is none, as in PostgreSQL; one byte less passes."""
    inbox = Inbox()
    inbox.add(frame(tag, bytes(9_996)))
    assert inbox.next_message() is not None
    inbox.add(bytes([tag]) + (10_001).to_bytes(4))
    with pytest.raises(ProtocolViolation, match=r"invalid message length$"):
        inbox.next_message()


@pytest.mark.parametrize("tag", b"QFPBd")
def test_a_message_may_be_as_long_as_the_settings_say(tag: int) -> None:
    """54000 for one byte more, at its header, and the hint names the setting."""
    inbox = Inbox(100_000)
    inbox.add(frame(tag, bytes(99_996)))
    assert inbox.next_message() is not None
    inbox.add(bytes([tag]) + (100_001).to_bytes(4))
    with pytest.raises(ProtocolViolation, match="message of 100001 bytes is too large") as caught:
        inbox.next_message()
    assert (caught.value.sqlstate, caught.value.hint) == ("54000", "max_message_bytes is 100000.")


def test_a_message_of_50_megabytes_costs_one_copy() -> None:
    """A large INSERT in small chunks takes a fraction of a second, not the square of its size."""
    inbox, chunk = Inbox(), bytes(16 * 1024)
    count = 50 * 64
    inbox.add(b"Q" + (4 + count * len(chunk)).to_bytes(4))
    started = time.process_time()
    for _ in range(count):
        assert inbox.next_message() is None
        inbox.add(chunk)
    message = inbox.next_message()
    assert isinstance(message, Head)
    assert message.size == len(message.joined) == 5 + count * len(chunk)
    assert time.process_time() - started < 1.0


@pytest.mark.parametrize("chunk", [100_000, 1_048_576, 1_500_000])
def test_a_large_message_is_taken_alone_and_what_stands_around_it_too(chunk: int) -> None:
    """Messages before and behind one of many chunks come out whole and in order, and it may be put back."""
    small, large = frame(ord("Q"), b"x" * 30), frame(ord("P"), bytes(1_300_000))
    stream = small + large + small + large + small
    inbox, taken = Inbox(), []
    for start in range(0, len(stream), chunk):
        inbox.add(stream[start : start + chunk])
        while (message := inbox.next_message()) is not None:
            inbox.put_back(message)
            again = inbox.next_message()
            assert again is not None
            taken.append(again.joined if isinstance(again, Head) else again)
    assert taken == [small, large, small, large, small]
    assert len(inbox) == 0
