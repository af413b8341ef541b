"""Large messages, which nobody reads as a whole: they are moved on in the pieces in which they came.

A copy of 50 MB takes 20 ms, in which nobody else would be served.
"""

from __future__ import annotations

LARGE_BYTES = 1024 * 1024
"""A message that is longer is not joined."""
HEAD_BYTES = 400 * 1024
"""So much of it, at least, is in its head: more than is ever read of a text or of parameters."""
_PIECE_BYTES = 64 * 1024
"""Chunks that are smaller are joined: a message that comes by the byte must not cost a hundred times its size."""


class Head(bytes):
    """The beginning of a large message. Whoever sends it on sends its `rest` behind it; `size` is that of all of it."""

    rest: list[bytes]
    size: int

    @property
    def joined(self) -> bytes:
        """All of it, in a copy."""
        return b"".join((self, *self.rest))


def rest_of(frame: bytes) -> list[bytes]:
    """What is to be sent behind a message, which may be the head of a large one."""
    return frame.rest if isinstance(frame, Head) else []


def size_of(frame: bytes) -> int:
    """The length of a message, which may be the head of a large one."""
    return frame.size if isinstance(frame, Head) else len(frame)


def is_text(frame: bytes) -> bool:
    """Whether the only zero byte behind the header of a message, or of a large one's head, is the last byte."""
    pieces = [frame, *rest_of(frame)]
    start = 5
    for piece in pieces[:-1]:
        if piece.find(0, start) >= 0:
            return False
        start = 0
    return pieces[-1].find(0, start) == len(pieces[-1]) - 1


class Gathering:
    """A large message that is coming, of so many bytes."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.missing = size
        self._small: list[bytes] = []
        self._small_size = 0
        self._pieces: list[bytes] = []

    @classmethod
    def done(cls, message: Head) -> Gathering:
        """One that is all there."""
        gathering = cls(message.size)
        gathering.missing = 0
        gathering._pieces = [bytes(message), *message.rest]
        return gathering

    def add(self, data: bytes) -> bytes:
        """Take what belongs to it; give what is behind."""
        if len(data) > self.missing:
            data, behind = data[: self.missing], data[self.missing :]
        else:
            behind = b""
        self.missing -= len(data)
        self._small.append(data)
        self._small_size += len(data)
        if self._small_size >= (_PIECE_BYTES if self._pieces else HEAD_BYTES) or not self.missing:
            self._pieces.append(b"".join(self._small))
            self._small = []
            self._small_size = 0
        return behind

    def message(self) -> Head:
        """The message, once nothing is missing."""
        head = Head(self._pieces[0])
        head.rest = self._pieces[1:]
        head.size = self.size
        return head
