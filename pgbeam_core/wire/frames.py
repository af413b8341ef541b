"""Frames: a type byte, a length that counts itself but not the type, and a body."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from pgbeam_core.errors import ProtocolViolation

HEADER = struct.Struct("!BI")

MAX_LENGTH = (1 << 30) - 1
"""The largest length word that PostgreSQL could allocate for."""
MAX_AUTH_LENGTH = 65535
"""What PostgreSQL takes at most for one message while a client is logging in."""

INVALID_LENGTH = "invalid message length"


class BadFrame(ProtocolViolation):
    """A length word that cannot be.

    frames: the whole frames that stood before it in the same chunk, so that what happens to them does not depend on
    how the stream was cut into chunks.
    """

    def __init__(self, frames: list[bytes]) -> None:
        super().__init__(INVALID_LENGTH)
        self.frames = frames


def frame(tag: int, body: bytes) -> bytes:
    """A whole message of that type."""
    return HEADER.pack(tag, len(body) + 4) + body


class FrameCutter:
    """Cut a byte stream into whole frames.

    Startup packets have no type byte: `StartupReader` reads them before this takes over. After a `BadFrame` the stream
    has lost its frame borders for good and the cutter is of no further use.
    """

    __slots__ = ("_held", "_max_length", "_need", "_pending")

    def __init__(self, max_length: int = MAX_LENGTH) -> None:
        self._max_length = max_length
        # The chunks of one unfinished frame are joined once, when it is whole: joining at every chunk would make a
        # large frame cost the square of its size.
        self._held: list[bytes] = []
        self._pending = 0
        self._need = HEADER.size

    @property
    def pending(self) -> int:
        """Bytes held that are not a whole frame yet."""
        return self._pending

    def feed(self, data: bytes) -> list[bytes]:
        """Take what arrived; give the frames that are now whole, each with its header. Raise `BadFrame`."""
        if self._held:
            self._held.append(data)
            self._pending += len(data)
            if self._pending < self._need:
                return []
            data = b"".join(self._held)
        frames, start = self._cut(data)
        self._held = [data[start:]] if start < len(data) else []
        self._pending = len(data) - start
        return frames

    def _cut(self, data: bytes) -> tuple[list[bytes], int]:
        frames: list[bytes] = []
        start, have, limit = 0, len(data), self._max_length
        unpack = HEADER.unpack_from
        while have - start >= 5:
            length = unpack(data, start)[1]
            if not 4 <= length <= limit:
                raise BadFrame(frames)
            end = start + 1 + length
            if end > have:
                self._need = end - start
                return frames, start
            frames.append(data[start:end])
            start = end
        self._need = HEADER.size
        return frames, start

    def rest(self) -> bytes:
        """Give up what is held, uncut."""
        held = b"".join(self._held)
        self._held, self._pending, self._need = [], 0, HEADER.size
        return held


def split(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Walk the whole frames in a buffer: type, start and end of each. An unfinished one at the end is left out.

    Raise ProtocolViolation at a length below 4.
    """
    start, have = 0, len(data)
    unpack = HEADER.unpack_from
    while have - start >= 5:
        tag, length = unpack(data, start)
        if length < 4:
            raise ProtocolViolation(INVALID_LENGTH)
        end = start + 1 + length
        if end > have:
            return
        yield tag, start, end
        start = end


def part_of(data: bytes, start: int, end: int) -> bytes:
    """data[start:end]; where that is all of it, which may be large, compiled code would copy it."""
    return data if start == 0 and end == len(data) else data[start:end]
