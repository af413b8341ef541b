"""Cutting a stream into frames."""

from __future__ import annotations

import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgbeam_core.errors import ProtocolViolation
from pgbeam_core.wire.frames import MAX_LENGTH, BadFrame, FrameCutter, frame, split
from tests.wire.samples import chunked

bodies = st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=60)), max_size=12)


def test_a_frame_is_its_type_its_length_and_its_body() -> None:
    """The length counts itself but not the type."""
    assert frame(ord("Q"), b"SELECT 1\0") == b"Q\x00\x00\x00\x0dSELECT 1\0"


@given(bodies, st.lists(st.integers(0, 800), max_size=20), st.binary(max_size=4))
def test_frames_come_out_whole_however_the_stream_is_cut(
    messages: list[tuple[int, bytes]], cuts: list[int], tail: bytes
) -> None:
    """What arrives in any pieces gives the same frames, and what is left over is not lost."""
    whole = [frame(tag, body) for tag, body in messages]
    stream = b"".join(whole) + tail
    borders = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    cutter = FrameCutter()
    got = [one for at, end in itertools.pairwise(borders) for one in cutter.feed(stream[at:end])]
    assert got == whole
    assert cutter.pending == len(tail)
    assert cutter.rest() == tail
    assert cutter.pending == 0


@given(bodies)
def test_frames_come_out_whole_byte_by_byte(messages: list[tuple[int, bytes]]) -> None:
    """The slowest network gives the same frames."""
    whole = [frame(tag, body) for tag, body in messages]
    cutter = FrameCutter()
    assert [one for piece in chunked(b"".join(whole), 1) for one in cutter.feed(piece)] == whole


def test_a_cutter_goes_on_after_rest() -> None:
    """What is taken away half cut does not disturb what comes next."""
    cutter = FrameCutter()
    assert cutter.feed(b"Q\x00\x00\x01\x00half") == []
    assert cutter.rest() == b"Q\x00\x00\x01\x00half"
    assert cutter.feed(b"S\x00\x00\x00\x04") == [b"S\x00\x00\x00\x04"]


@pytest.mark.parametrize("length", [0, 3, 101, MAX_LENGTH + 1, 2**32 - 1])
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_an_impossible_length_is_refused_as_soon_as_it_is_read(length: int, size: int) -> None:
    """A lost stream ends the connection at once, and good frames before it count however the stream was cut."""
    good = frame(ord("S"), b"")
    cutter = FrameCutter(max_length=100)
    got: list[bytes] = []
    with pytest.raises(ProtocolViolation, match="invalid message length") as caught:
        for piece in chunked(good + good + b"Q" + length.to_bytes(4, "big"), size):
            got += cutter.feed(piece)
    assert isinstance(caught.value, BadFrame)
    assert got + caught.value.frames == [good, good]
    assert caught.value.sqlstate == "08P01"


def test_the_largest_length_allowed_passes() -> None:
    """The limit itself is still inside."""
    assert FrameCutter(max_length=104).feed(frame(1, bytes(100))) == [frame(1, bytes(100))]


def test_a_large_frame_in_small_chunks_costs_its_size_once() -> None:
    """32 MiB in pieces of 4 kB take some hundredths of a second; joining at every piece would take half a minute."""
    whole = frame(ord("d"), bytes(32 << 20))
    chunks = list(chunked(whole, 4096))
    cutter, started = FrameCutter(), time.perf_counter()
    got = [one for chunk in chunks for one in cutter.feed(chunk)]
    assert time.perf_counter() - started < 3
    assert got == [whole]


@given(bodies, st.binary(max_size=4))
def test_split_walks_the_whole_frames_of_a_buffer(messages: list[tuple[int, bytes]], tail: bytes) -> None:
    """Types and borders are those that went in; an unfinished end is left out."""
    whole = [frame(tag, body) for tag, body in messages]
    stream = b"".join(whole) + tail
    walked = list(split(stream))
    assert [stream[start:end] for _, start, end in walked] == whole
    assert [tag for tag, _, _ in walked] == [tag for tag, _ in messages]


def test_split_stops_before_an_unfinished_frame() -> None:
    """A frame that has a header but not all of its body is not given."""
    assert list(split(b"S\x00\x00\x00\x04Q\x00\x00\x00\x09SEL")) == [(ord("S"), 0, 5)]


def test_split_refuses_a_length_that_cannot_be() -> None:
    """A length below its own size would never end the walk."""
    with pytest.raises(ProtocolViolation, match="invalid message length"):
        list(split(b"S\x00\x00\x00\x03"))
