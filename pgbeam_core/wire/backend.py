"""Messages that servers send, constants for those that never vary, and constructors for replies made here.

Those of COPY stand in `copy_messages`; errors and notices in `error_messages`, and here as well.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Final, NamedTuple, Self

from pgbeam_core.errors import ProtocolViolation
from pgbeam_core.wire.error_messages import ErrorResponse as ErrorResponse
from pgbeam_core.wire.error_messages import NoticeResponse as NoticeResponse
from pgbeam_core.wire.error_messages import error_fields as error_fields
from pgbeam_core.wire.error_messages import error_response as error_response
from pgbeam_core.wire.error_messages import notice_response as notice_response
from pgbeam_core.wire.frames import frame
from pgbeam_core.wire.message import INT32, UINT16, Fields, Message, counted, cstring, oids, raw, text
from pgbeam_core.wire.tags import Backend

AUTHENTICATION_OK: Final[bytes] = b"R\x00\x00\x00\x08\x00\x00\x00\x00"
PARSE_COMPLETE: Final[bytes] = b"1\x00\x00\x00\x04"
BIND_COMPLETE: Final[bytes] = b"2\x00\x00\x00\x04"
CLOSE_COMPLETE: Final[bytes] = b"3\x00\x00\x00\x04"
EMPTY_QUERY_RESPONSE: Final[bytes] = b"I\x00\x00\x00\x04"
NO_DATA: Final[bytes] = b"n\x00\x00\x00\x04"
PORTAL_SUSPENDED: Final[bytes] = b"s\x00\x00\x00\x04"
READY_IDLE: Final[bytes] = b"Z\x00\x00\x00\x05I"
READY_IN_TRANSACTION: Final[bytes] = b"Z\x00\x00\x00\x05T"
READY_FAILED: Final[bytes] = b"Z\x00\x00\x00\x05E"

READY: Final[dict[bytes, bytes]] = {b"I": READY_IDLE, b"T": READY_IN_TRANSACTION, b"E": READY_FAILED}
"""By transaction status."""
_COLUMN = struct.Struct("!IhIhih")


@dataclass(slots=True, frozen=True)
class BackendKeyData(Message):
    """What a cancel request must show. `secret`: 4 bytes, or up to 256 since protocol 3.2."""

    TAG: ClassVar[int] = Backend.BACKEND_KEY_DATA
    pid: int
    secret: bytes

    def body(self) -> bytes:
        return INT32.pack(self.pid) + self.secret

    def __repr__(self) -> str:
        return f"BackendKeyData(pid={self.pid}, ...)"  # whoever reads the secret can cancel

    @classmethod
    def read(cls, fields: Fields) -> Self:
        message = cls(fields.int32(), fields.rest())
        if not 4 <= len(message.secret) <= 256:
            raise ProtocolViolation(f"cancel key of {len(message.secret)} bytes")
        return message


@dataclass(slots=True, frozen=True)
class BindComplete(Message):
    """Bind has succeeded: the portal is there."""

    TAG: ClassVar[int] = Backend.BIND_COMPLETE


@dataclass(slots=True, frozen=True)
class CloseComplete(Message):
    """The statement or portal is gone, or never was."""

    TAG: ClassVar[int] = Backend.CLOSE_COMPLETE


@dataclass(slots=True, frozen=True)
class CommandComplete(Message):
    """A statement has ended well. `tag`: `SELECT 3`, `INSERT 0 1`, `BEGIN` …"""

    TAG: ClassVar[int] = Backend.COMMAND_COMPLETE
    tag: str

    def body(self) -> bytes:
        return cstring(raw(self.tag))

    @classmethod
    def read(cls, fields: Fields) -> Self:
        return cls(text(fields.string()))


@dataclass(slots=True, frozen=True)
class DataRow(Message):
    """One row; None is NULL."""

    TAG: ClassVar[int] = Backend.DATA_ROW
    values: tuple[bytes | None, ...]

    def body(self) -> bytes:
        return UINT16.pack(len(self.values)) + b"".join([counted(value) for value in self.values])

    @classmethod
    def read(cls, fields: Fields) -> Self:
        return cls(tuple([fields.counted() for _ in range(fields.uint16())]))


@dataclass(slots=True, frozen=True)
class EmptyQueryResponse(Message):
    """What an empty text gets instead of CommandComplete."""

    TAG: ClassVar[int] = Backend.EMPTY_QUERY_RESPONSE


@dataclass(slots=True, frozen=True)
class FunctionCallResponse(Message):
    """What a FunctionCall gave; None is NULL."""

    TAG: ClassVar[int] = Backend.FUNCTION_CALL_RESPONSE
    value: bytes | None

    def body(self) -> bytes:
        return counted(self.value)

    @classmethod
    def read(cls, fields: Fields) -> Self:
        return cls(fields.counted())


@dataclass(slots=True, frozen=True)
class NegotiateProtocolVersion(Message):
    """An older protocol than asked for will be spoken. `version` as in a startup packet: major << 16 | minor."""

    TAG: ClassVar[int] = Backend.NEGOTIATE_PROTOCOL_VERSION
    version: int
    unknown_options: tuple[str, ...] = ()

    def body(self) -> bytes:
        names = b"".join(cstring(raw(name)) for name in self.unknown_options)
        return INT32.pack(self.version) + INT32.pack(len(self.unknown_options)) + names

    @classmethod
    def read(cls, fields: Fields) -> Self:
        version, count = fields.int32(), fields.int32()
        return cls(version, tuple(text(fields.string()) for _ in range(count)))


@dataclass(slots=True, frozen=True)
class NoData(Message):
    """What was described gives no rows."""

    TAG: ClassVar[int] = Backend.NO_DATA


@dataclass(slots=True, frozen=True)
class NotificationResponse(Message):
    """What NOTIFY sent; `pid` is the sender's."""

    TAG: ClassVar[int] = Backend.NOTIFICATION_RESPONSE
    pid: int
    channel: bytes
    payload: bytes

    def body(self) -> bytes:
        return INT32.pack(self.pid) + cstring(self.channel) + cstring(self.payload)

    @classmethod
    def read(cls, fields: Fields) -> Self:
        return cls(fields.int32(), fields.string(), fields.string())


@dataclass(slots=True, frozen=True)
class ParameterDescription(Message):
    """Type OIDs of a statement's parameters."""

    TAG: ClassVar[int] = Backend.PARAMETER_DESCRIPTION
    types: tuple[int, ...]

    def body(self) -> bytes:
        return oids(self.types)

    @classmethod
    def read(cls, fields: Fields) -> Self:
        return cls(fields.oids())


@dataclass(slots=True, frozen=True)
class ParameterStatus(Message):
    """The value of a run-time parameter that clients are kept informed about."""

    TAG: ClassVar[int] = Backend.PARAMETER_STATUS
    name: str
    value: str

    def body(self) -> bytes:
        return cstring(raw(self.name)) + cstring(raw(self.value))

    @classmethod
    def read(cls, fields: Fields) -> Self:
        return cls(text(fields.string()), text(fields.string()))


@dataclass(slots=True, frozen=True)
class ParseComplete(Message):
    """Parse has succeeded: the statement is prepared."""

    TAG: ClassVar[int] = Backend.PARSE_COMPLETE


@dataclass(slots=True, frozen=True)
class PortalSuspended(Message):
    """As many rows as Execute asked for; there may be more."""

    TAG: ClassVar[int] = Backend.PORTAL_SUSPENDED


@dataclass(slots=True, frozen=True)
class ReadyForQuery(Message):
    """The server waits for the next request. `status`: I idle, T in a transaction, E in a failed one."""

    TAG: ClassVar[int] = Backend.READY_FOR_QUERY
    status: bytes

    def body(self) -> bytes:
        return self.status

    @classmethod
    def read(cls, fields: Fields) -> Self:
        status = fields.take(1)
        if status not in READY:
            raise ProtocolViolation(f"unknown transaction status {status!r}")
        return cls(status)


class Column(NamedTuple):
    """A column of a RowDescription. `table` and `number` are 0 when it is no column of a table."""

    name: bytes
    table: int
    number: int
    type: int
    size: int
    modifier: int
    format: int


@dataclass(slots=True, frozen=True)
class RowDescription(Message):
    """What the rows look like."""

    TAG: ClassVar[int] = Backend.ROW_DESCRIPTION
    columns: tuple[Column, ...]

    def body(self) -> bytes:
        parts = [cstring(column.name) + _COLUMN.pack(*column[1:]) for column in self.columns]
        return UINT16.pack(len(self.columns)) + b"".join(parts)

    @classmethod
    def read(cls, fields: Fields) -> Self:
        return cls(tuple(cls._column(fields) for _ in range(fields.uint16())))

    @staticmethod
    def _column(fields: Fields) -> Column:
        return Column(fields.string(), *_COLUMN.unpack(fields.take(_COLUMN.size)))


def ready_for_query(status: bytes) -> bytes:
    """A ReadyForQuery frame; status is b"I", b"T" or b"E"."""
    return READY[status]


def command_complete(tag: str) -> bytes:
    return frame(Backend.COMMAND_COMPLETE, tag.encode() + b"\0")


def parameter_status(name: str, value: str) -> bytes:
    return ParameterStatus(name, value).to_bytes()


def row_description(columns: Iterable[tuple[str, int, int]]) -> bytes:
    """A RowDescription frame of text columns, each given as name, type OID and type length (-1: it varies)."""
    return RowDescription(tuple(Column(raw(name), 0, 0, oid, size, -1, 0) for name, oid, size in columns)).to_bytes()


def data_row(values: Iterable[str | bytes | None]) -> bytes:
    """A DataRow frame; None is NULL."""
    row = tuple(raw(value) if isinstance(value, str) else value for value in values)
    return DataRow(row).to_bytes()
