"""Frames of a server that are not all there."""

from __future__ import annotations

import pytest

from pgbeam_core.session.partial_frames import EVERYDAY_BYTES, MOST_HELD_BYTES, PartialFrame, may_be_long
from pgbeam_core.wire.frames import MAX_LENGTH


@pytest.mark.parametrize("size", [1, 3, 7, 100])
def test_an_everyday_frame_comes_with_what_is_behind_it(size: int) -> None:
    """However it is cut, nothing is lost, and it is given once it is whole."""
    data, needed = bytes(range(60)), 50
    partial = PartialFrame()
    partial.begin(data[:5], needed)
    given = b""
    for start in range(5, len(data), size):
        assert partial.has_begun is (not given)
        if given:
            given += data[start : start + size]
            continue
        given, rest = partial.grow(data[start : start + size])
        assert rest == b""
    assert given == data
    assert not partial.has_begun


@pytest.mark.parametrize("behind", [b"", b"Z\0\0\0\5I"])
def test_a_long_frame_comes_alone(behind: bytes) -> None:
    """It is not copied once more for the sake of what stands behind it."""
    data = bytes(EVERYDAY_BYTES + 10)
    partial = PartialFrame()
    partial.begin(data[:100], len(data))
    assert partial.grow(data[100:1000]) == (b"", b"")
    assert partial.has_begun
    assert partial.grow(data[1000:] + behind) == (data, behind)
    assert not partial.has_begun


@pytest.mark.parametrize(
    ("tag", "length", "may"),
    [
        (b"T", MOST_HELD_BYTES, True),
        (b"E", MOST_HELD_BYTES, True),
        (b"E", MOST_HELD_BYTES + 1, False),
        (b"V", MAX_LENGTH, True),
        (b"V", MAX_LENGTH + 1, False),
        (b"C", EVERYDAY_BYTES + 1, False),
        (b"T", 4, False),
        (b"V", 3, False),
    ],
)
def test_few_frames_may_be_long(tag: bytes, length: int, *, may: bool) -> None:
    """A server cannot make PgBeam hold more than a reply may need."""
    assert may_be_long(tag[0], length) is may
