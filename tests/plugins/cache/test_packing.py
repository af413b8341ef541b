"""What is written for other processes: its format."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgbeam_cache.storage.packing import MAGIC, Corrupt, Packed, pack, unpack
from pgbeam_core import Answer

KEY = bytes(range(32))


PACKED = Packed(Answer(b"T\0\0\0\x06\0\0", b"D" * 100, b"C\0\0\0\x0dSELECT 1\0"), 1234.5, (1, 2**63, 3))


@given(st.none() | st.binary(), st.binary(), st.binary(), st.floats(0, 1e12), st.lists(st.integers(0, 2**64 - 1)))
def test_what_is_packed_comes_back(
    description: bytes | None, rows: bytes, complete: bytes, born: float, versions: list[int]
) -> None:
    """Whatever bytes a reply is made of."""
    packed = Packed(Answer(description, rows, complete), born, tuple(versions))
    assert unpack(KEY, pack(KEY, packed)) == packed


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_flipped_byte_is_noticed(place: int, change: int) -> None:
    """Wherever it is: it is corrupt, or another version."""
    data = bytearray(pack(KEY, PACKED))
    data[place % len(data)] ^= change
    with contextlib.suppress(Corrupt):
        assert unpack(KEY, bytes(data)) is None


def test_cut_off_or_under_another_key_it_is_corrupt() -> None:
    """A reply is never taken for that of another request."""
    data = pack(KEY, PACKED)
    for length in range(len(data)):
        with pytest.raises(Corrupt):
            unpack(KEY, data[:length])
    with pytest.raises(Corrupt):
        unpack(bytes(32), data)


def test_another_version_is_a_miss() -> None:
    """Not an error: after an upgrade the old replies are simply not there."""
    data = bytearray(pack(KEY, PACKED))
    data[len(MAGIC)] += 1
    assert unpack(KEY, bytes(data)) is None
