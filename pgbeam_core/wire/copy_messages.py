"""The messages of COPY. Data and its end have one form in both directions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final, Self

from pgbeam_core.wire.message import Fields, Message, cstring, int16s
from pgbeam_core.wire.tags import Backend, Frontend

COPY_DONE: Final[bytes] = b"c\x00\x00\x00\x04"


@dataclass(slots=True, frozen=True)
class CopyData(Message):
    """From a client a piece of COPY data, whose borders mean nothing; from a server a row of COPY TO, or a message of
    the replication protocol."""

    TAG: ClassVar[int] = Frontend.COPY_DATA
    data: bytes

    def body(self) -> bytes:
        return self.data

    @classmethod
    def read(cls, fields: Fields) -> Self:
        return cls(fields.rest())


@dataclass(slots=True, frozen=True)
class CopyDone(Message):
    """End of COPY data, from either side."""

    TAG: ClassVar[int] = Frontend.COPY_DONE

    @classmethod
    def read(cls, fields: Fields) -> Self:
        fields.rest()  # PostgreSQL does not look
        return cls()


@dataclass(slots=True, frozen=True)
class CopyFail(Message):
    """COPY data cannot go on; `reason` becomes part of the server's error."""

    TAG: ClassVar[int] = Frontend.COPY_FAIL
    reason: bytes

    def body(self) -> bytes:
        return cstring(self.reason)

    @classmethod
    def read(cls, fields: Fields) -> Self:
        message = cls(fields.string())
        fields.rest()  # PostgreSQL does not look
        return message


@dataclass(slots=True, frozen=True)
class _CopyResponse(Message):
    format: int
    column_formats: tuple[int, ...]

    def body(self) -> bytes:
        return bytes((self.format,)) + int16s(self.column_formats)

    @classmethod
    def read(cls, fields: Fields) -> Self:
        return cls(fields.byte(), fields.int16s())


@dataclass(slots=True, frozen=True)
class CopyInResponse(_CopyResponse):
    """The server waits for COPY data. `format`: 0 text, 1 binary."""

    TAG: ClassVar[int] = Backend.COPY_IN_RESPONSE


@dataclass(slots=True, frozen=True)
class CopyOutResponse(_CopyResponse):
    """COPY data follows. `format`: 0 text, 1 binary."""

    TAG: ClassVar[int] = Backend.COPY_OUT_RESPONSE


@dataclass(slots=True, frozen=True)
class CopyBothResponse(_CopyResponse):
    """Data flows both ways: streaming replication."""

    TAG: ClassVar[int] = Backend.COPY_BOTH_RESPONSE
