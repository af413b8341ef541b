"""Messages that clients send after startup; those of COPY stand in `copy_messages`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from pgbeam_core.errors import ProtocolViolation
from pgbeam_core.wire.message import (
    INT16,
    INT32,
    UINT16,
    UINT32,
    Fields,
    Message,
    counted,
    cstring,
    int16s,
    oids,
)
from pgbeam_core.wire.tags import Frontend

SYNC = b"S\x00\x00\x00\x04"
FLUSH = b"H\x00\x00\x00\x04"
TERMINATE = b"X\x00\x00\x00\x04"

STATEMENT = ord("S")
PORTAL = ord("P")


@dataclass(slots=True, frozen=True)
class Query(Message):
    """Simple query: one or more statements as text."""

    TAG: ClassVar[int] = Frontend.QUERY
    sql: bytes

    def body(self) -> bytes:
        return cstring(self.sql)

    @classmethod
    def read(cls, fields: Fields) -> Self:
        return cls(fields.string())


@dataclass(slots=True, frozen=True)
class Parse(Message):
    """Prepare a statement. `types` may be shorter than the parameters; 0 leaves a type to the server."""

    TAG: ClassVar[int] = Frontend.PARSE
    name: bytes
    sql: bytes
    types: tuple[int, ...] = ()

    def body(self) -> bytes:
        return cstring(self.name) + cstring(self.sql) + oids(self.types)

    @classmethod
    def read(cls, fields: Fields) -> Self:
        return cls(fields.string(), fields.string(), fields.oids())


@dataclass(slots=True, frozen=True)
class Bind(Message):
    """Make a portal of a statement. Formats: none is all text, one counts for every value; 0 text, 1 binary."""

    TAG: ClassVar[int] = Frontend.BIND
    portal: bytes
    statement: bytes
    values: tuple[bytes | None, ...] = ()
    formats: tuple[int, ...] = ()
    result_formats: tuple[int, ...] = ()

    def body(self) -> bytes:
        parts = [cstring(self.portal), cstring(self.statement), int16s(self.formats), UINT16.pack(len(self.values))]
        parts.extend(counted(value) for value in self.values)
        parts.append(int16s(self.result_formats))
        return b"".join(parts)

    @classmethod
    def read(cls, fields: Fields) -> Self:
        portal, statement = fields.string(), fields.string()
        formats = fields.int16s()
        count = fields.uint16()
        if len(formats) > 1 and len(formats) != count:
            raise ProtocolViolation(f"bind message has {len(formats)} parameter formats but {count} parameters")
        values = tuple(fields.counted() for _ in range(count))
        return cls(portal, statement, values, formats, fields.int16s())


def _check_kind(verb: str, kind: int) -> None:
    if kind not in (STATEMENT, PORTAL):
        raise ProtocolViolation(f"invalid {verb} message subtype {kind}")


@dataclass(slots=True, frozen=True)
class Describe(Message):
    """Ask what a statement or portal gives. `kind` is STATEMENT or PORTAL."""

    TAG: ClassVar[int] = Frontend.DESCRIBE
    kind: int
    name: bytes

    def body(self) -> bytes:
        return bytes((self.kind,)) + cstring(self.name)

    @classmethod
    def read(cls, fields: Fields) -> Self:
        message = cls(fields.byte(), fields.string())
        fields.end()
        _check_kind("DESCRIBE", message.kind)
        return message


@dataclass(slots=True, frozen=True)
class Close(Message):
    """Drop a statement or portal. `kind` is STATEMENT or PORTAL."""

    TAG: ClassVar[int] = Frontend.CLOSE
    kind: int
    name: bytes

    def body(self) -> bytes:
        return bytes((self.kind,)) + cstring(self.name)

    @classmethod
    def read(cls, fields: Fields) -> Self:
        message = cls(fields.byte(), fields.string())
        fields.end()
        _check_kind("CLOSE", message.kind)
        return message


@dataclass(slots=True, frozen=True)
class Execute(Message):
    """Run a portal. `max_rows` of 0 or less is all rows."""

    TAG: ClassVar[int] = Frontend.EXECUTE
    portal: bytes
    max_rows: int = 0

    def body(self) -> bytes:
        return cstring(self.portal) + INT32.pack(self.max_rows)

    @classmethod
    def read(cls, fields: Fields) -> Self:
        return cls(fields.string(), fields.int32())


@dataclass(slots=True, frozen=True)
class Sync(Message):
    """End of a request of the extended protocol: the server answers with ReadyForQuery."""

    TAG: ClassVar[int] = Frontend.SYNC


@dataclass(slots=True, frozen=True)
class Flush(Message):
    """Send what is ready so far."""

    TAG: ClassVar[int] = Frontend.FLUSH


@dataclass(slots=True, frozen=True)
class FunctionCall(Message):
    """Call a function by OID, without SQL. Formats as in `Bind`."""

    TAG: ClassVar[int] = Frontend.FUNCTION_CALL
    function: int
    arguments: tuple[bytes | None, ...] = ()
    formats: tuple[int, ...] = ()
    result_format: int = 0

    def body(self) -> bytes:
        parts = [UINT32.pack(self.function), int16s(self.formats), UINT16.pack(len(self.arguments))]
        parts.extend(counted(argument) for argument in self.arguments)
        parts.append(INT16.pack(self.result_format))
        return b"".join(parts)

    @classmethod
    def read(cls, fields: Fields) -> Self:
        function, formats, count = fields.oid(), fields.int16s(), fields.uint16()
        if len(formats) > 1 and len(formats) != count:
            raise ProtocolViolation(
                f"function call message contains {len(formats)} argument formats but {count} arguments"
            )
        arguments = tuple(cls._argument(fields) for _ in range(count))
        return cls(function, arguments, formats, fields.int16())

    @staticmethod
    def _argument(fields: Fields) -> bytes | None:
        size = fields.int32()
        if size < -1:
            raise ProtocolViolation(f"invalid argument size {size} in function call message")
        return None if size == -1 else fields.take(size)


@dataclass(slots=True, frozen=True)
class Terminate(Message):
    """The client is about to hang up; nothing is answered."""

    TAG: ClassVar[int] = Frontend.TERMINATE

    @classmethod
    def read(cls, fields: Fields) -> Self:
        fields.rest()  # PostgreSQL does not look
        return cls()


@dataclass(slots=True, frozen=True)
class PasswordMessage(Message):
    """A password: in the clear, or hashed with md5."""

    TAG: ClassVar[int] = Frontend.PASSWORD
    password: bytes

    def body(self) -> bytes:
        return cstring(self.password)

    def __repr__(self) -> str:
        return "PasswordMessage(...)"  # a log line must never hold it

    @classmethod
    def read(cls, fields: Fields) -> Self:
        content = fields.rest()
        if not content or content.find(0) != len(content) - 1:
            raise ProtocolViolation("invalid password packet size")
        return cls(content[:-1])


@dataclass(slots=True, frozen=True)
class SASLInitialResponse(Message):
    """The mechanism chosen, with the first data of the exchange; None is another thing than empty."""

    TAG: ClassVar[int] = Frontend.PASSWORD
    mechanism: bytes
    data: bytes | None = None

    def body(self) -> bytes:
        return cstring(self.mechanism) + counted(self.data)

    @classmethod
    def read(cls, fields: Fields) -> Self:
        return cls(fields.string(), fields.counted())


@dataclass(slots=True, frozen=True)
class SASLResponse(Message):
    """Further data of a SASL exchange."""

    TAG: ClassVar[int] = Frontend.PASSWORD
    data: bytes

    def body(self) -> bytes:
        return self.data

    @classmethod
    def read(cls, fields: Fields) -> Self:
        return cls(fields.rest())


@dataclass(slots=True, frozen=True)
class GSSResponse(SASLResponse):
    """Data of a GSSAPI or SSPI exchange."""
