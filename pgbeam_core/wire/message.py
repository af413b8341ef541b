"""What all messages share: `to_bytes`, `from_bytes`, and how their fields are read and written."""

from __future__ import annotations

import struct
from typing import ClassVar, Self

from pgbeam_core.errors import ProtocolViolation
from pgbeam_core.wire.frames import INVALID_LENGTH, frame

INT16 = struct.Struct("!h")
INT32 = struct.Struct("!i")
UINT16 = struct.Struct("!H")
UINT32 = struct.Struct("!I")

INSUFFICIENT = "insufficient data left in message"
INVALID_STRING = "invalid string in message"
INVALID_FORMAT = "invalid message format"


def text(raw: bytes) -> str:
    """Decode UTF-8; bytes that are none survive as surrogates, and `raw` brings them back."""
    return raw.decode("utf-8", "surrogateescape")


def raw(value: str) -> bytes:
    """Encode as UTF-8, the inverse of `text`."""
    return value.encode("utf-8", "surrogateescape")


def cstring(value: bytes) -> bytes:
    """A string as the protocol ends it. Raise ValueError when it holds a zero byte, which would end it too early."""
    if 0 in value:
        raise ValueError("a protocol string cannot hold a zero byte")
    return value + b"\0"


def counted(value: bytes | None) -> bytes:
    """A value behind its length; None, the NULL, is length -1."""
    return b"\xff\xff\xff\xff" if value is None else INT32.pack(len(value)) + value


def int16s(values: tuple[int, ...]) -> bytes:
    """Format codes behind their count."""
    return struct.pack(f"!H{len(values)}h", len(values), *values)


def oids(values: tuple[int, ...]) -> bytes:
    """Type OIDs behind their count."""
    return struct.pack(f"!H{len(values)}I", len(values), *values)


class Fields:
    """Read a message body from left to right. Every method raises ProtocolViolation when the body is too short."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes, at: int = 0) -> None:
        self._data = data
        self._at = at

    def _number(self, shape: struct.Struct) -> int:
        try:
            value: int = shape.unpack_from(self._data, self._at)[0]
        except struct.error:
            raise ProtocolViolation(INSUFFICIENT) from None
        self._at += shape.size
        return value

    def byte(self) -> int:
        """The next byte, 0 to 255."""
        if self._at >= len(self._data):
            raise ProtocolViolation("no data left in message")
        self._at += 1
        return self._data[self._at - 1]

    def int16(self) -> int:
        """A signed number of two bytes."""
        return self._number(INT16)

    def uint16(self) -> int:
        """A count: PostgreSQL takes up to 65535."""
        return self._number(UINT16)

    def int32(self) -> int:
        """A signed number of four bytes."""
        return self._number(INT32)

    def oid(self) -> int:
        """An unsigned number of four bytes."""
        return self._number(UINT32)

    def int16s(self) -> tuple[int, ...]:
        """A count and as many signed numbers of two bytes."""
        count = self.uint16()
        return struct.unpack(f"!{count}h", self.take(2 * count))

    def oids(self) -> tuple[int, ...]:
        """A count and as many unsigned numbers of four bytes."""
        count = self.uint16()
        return struct.unpack(f"!{count}I", self.take(4 * count))

    def take(self, size: int) -> bytes:
        end = self._at + size
        if size < 0 or end > len(self._data):
            raise ProtocolViolation(INSUFFICIENT)
        taken = self._data[self._at : end]
        self._at = end
        return taken

    def counted(self) -> bytes | None:
        """A value behind its length; None for length -1."""
        size = self.int32()
        return None if size == -1 else self.take(size)

    def string(self) -> bytes:
        """The bytes before the next zero byte."""
        end = self._data.find(0, self._at)
        if end < 0:
            raise ProtocolViolation(INVALID_STRING)
        taken = self._data[self._at : end]
        self._at = end + 1
        return taken

    def rest(self) -> bytes:
        taken = self._data[self._at :]
        self._at = len(self._data)
        return taken

    def end(self) -> None:
        """Raise ProtocolViolation if anything is left."""
        if self._at != len(self._data):
            raise ProtocolViolation(INVALID_FORMAT)


def fields_of(tag: int, data: bytes) -> Fields:
    """The body of a whole frame of that type. Raise ProtocolViolation when it is of another type or length."""
    if not data or data[0] != tag:
        raise ProtocolViolation(f"expected message type {tag}, got {data[0] if data else 'nothing'}")
    if len(data) < 5 or UINT32.unpack_from(data, 1)[0] != len(data) - 1:
        raise ProtocolViolation(INVALID_LENGTH)
    return Fields(data, 5)


class Message:
    """Base of all messages that have a type byte."""

    __slots__ = ()
    TAG: ClassVar[int]

    def body(self) -> bytes:
        """The message without its header; empty unless the message has fields."""
        return b""

    @classmethod
    def read(cls, fields: Fields) -> Self:
        """Read the body, from its first byte to its last."""
        return cls()

    def to_bytes(self) -> bytes:
        return frame(self.TAG, self.body())

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Decode a whole frame, header included. Raise ProtocolViolation when it is not exactly such a message."""
        fields = fields_of(cls.TAG, data)
        message = cls.read(fields)
        fields.end()
        return message
