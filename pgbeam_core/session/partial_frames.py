"""Frames of a server that have begun and are not all there: how long one may be, and how it grows to be whole.

Rows and COPY data are not held at all: they go on as they come. What is held here is what PgBeam has to see whole.
"""

from __future__ import annotations

from io import BytesIO
from typing import Final

from pgbeam_core.wire.frames import MAX_LENGTH

EVERYDAY_BYTES: Final = 1 << 20
"""Frames are held until they are whole, rows and COPY data apart. Few are longer than this."""
MOST_HELD_BYTES: Final = 64 << 20
"""A description, an error, a notice or a notification may be as long as this."""
_MAY_BE_LONG = frozenset(b"TENA")
_FUNCTION_RESULT = ord("V")


def may_be_long(tag: int, length: int) -> bool:
    """Whether a frame of that type may have a length that is not an everyday one."""
    if length <= 4:
        return False
    return (tag in _MAY_BE_LONG and length <= MOST_HELD_BYTES) or (tag == _FUNCTION_RESULT and length <= MAX_LENGTH)


class PartialFrame:
    """The one frame of a stream that is not whole yet, if there is one."""

    def __init__(self) -> None:
        self.has_begun = False
        """There is one, and what comes next belongs to it."""
        self._chunks: list[bytes] = []
        """Its chunks. They are joined but once: joined at each chunk, it would cost the square of its size."""
        self._size = 0
        self._needed = 0
        self._long: BytesIO | None = None
        """One that is longer than everyday ones: it grows with each chunk, and is not copied once more."""

    def begin(self, data: bytes, needed: int) -> None:
        """The first of a frame of so many bytes has come; of its header, if that is not whole either."""
        self.has_begun = True
        self._needed = needed
        if needed > EVERYDAY_BYTES:
            self._long = BytesIO()
            self._long.write(data)
        else:
            self._chunks, self._size = [data], len(data)

    def grow(self, data: bytes) -> tuple[bytes, bytes]:
        """More has come. Gives what is to be walked now, empty if it is not whole yet, and what is to be fed then.

        An everyday frame is given with what stands behind it, a long one alone: nothing has to be cut from it then.
        """
        if self._long is not None:
            return self._grow_long(self._long, data)
        self._chunks.append(data)
        self._size += len(data)
        if self._size < self._needed:
            return b"", b""
        whole, self._chunks = b"".join(self._chunks), []
        self.has_begun = False
        return whole, b""

    def _grow_long(self, long: BytesIO, data: bytes) -> tuple[bytes, bytes]:
        missing = self._needed - long.tell()
        long.write(data[:missing])
        if len(data) < missing:
            return b"", b""
        self._long = None
        self.has_begun = False
        return long.getvalue(), data[missing:] if len(data) > missing else b""
