"""Errors and notices: what they consist of, and those that are made here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

from pgbeam_core.advice import hint_of
from pgbeam_core.errors import ProtocolViolation
from pgbeam_core.wire.message import Fields, Message, cstring, raw, text
from pgbeam_core.wire.tags import Backend


@dataclass(slots=True, frozen=True)
class ErrorResponse(Message):
    """An error. `fields` by their one-letter codes: S severity, V the same untranslated, C SQLSTATE, M message …"""

    TAG: ClassVar[int] = Backend.ERROR_RESPONSE
    fields: Mapping[str, str]

    def body(self) -> bytes:
        parts = [code.encode("latin-1") + cstring(raw(value)) for code, value in self.fields.items()]
        return b"".join(parts) + b"\0"

    @classmethod
    def read(cls, fields: Fields) -> Self:
        found: dict[str, str] = {}
        while code := fields.byte():
            found[chr(code)] = text(fields.string())
        return cls(found)


@dataclass(slots=True, frozen=True)
class NoticeResponse(ErrorResponse):
    """A notice; the fields of an error."""

    TAG: ClassVar[int] = Backend.NOTICE_RESPONSE


def _report(severity: str, sqlstate: str, message: str, detail: str | None, hint: str | None) -> dict[str, str]:
    given = {"S": severity, "V": severity, "C": sqlstate, "M": message, "D": detail, "H": hint}
    return {code: value for code, value in given.items() if value is not None}


_SOURCES = {
    ("0A000", "cached plan must not change result type"): ("plancache.c", "RevalidateCachedQuery"),
    ("42704", "unrecognized configuration parameter"): ("guc.c", "find_option"),
    ("42P05", "prepared statement "): ("prepare.c", "StorePreparedStatement"),
    ("57014", "canceling statement due to user request"): ("postgres.c", "ProcessInterrupts"),
    ("57P01", "terminating connection due to administrator command"): ("postgres.c", "ProcessInterrupts"),
}
"""Where PostgreSQL has its words of errors that PgBeam says in its place: some drivers go by the routine."""


def error_response(
    severity: str, sqlstate: str, message: str, detail: str | None = None, hint: str | None = None
) -> bytes:
    """An ErrorResponse frame, with the hint that an error of PgBeam's own has. `severity`: ERROR, FATAL or PANIC."""
    fields = _report(severity, sqlstate, message, detail, hint_of(sqlstate, message, hint))
    for (code, words), (file, routine) in _SOURCES.items():
        if code == sqlstate and message.startswith(words):
            fields.update(F=file, R=routine)
    return ErrorResponse(fields).to_bytes()


def notice_response(
    severity: str, sqlstate: str, message: str, detail: str | None = None, hint: str | None = None
) -> bytes:
    """A NoticeResponse frame. `severity`: WARNING, NOTICE, INFO, LOG or DEBUG."""
    return NoticeResponse(_report(severity, sqlstate, message, detail, hint)).to_bytes()


_READ = 256 * 1024
"""Nobody looks at more of an error: one may be of many megabytes."""


def error_fields(data: bytes) -> dict[str, str]:
    """The fields of an ErrorResponse or NoticeResponse frame by their one-letter codes.

    Of one that is not well formed, those that can be read: it is looked at when its server is lost, too, and must not
    be the reason for another failure. What comes behind the first _READ bytes is not read.
    """
    if data[:1] not in (b"E", b"N"):
        raise ProtocolViolation(f"{data[:1]!r} is neither an error nor a notice")
    fields: dict[str, str] = {}
    for field in data[5:_READ].split(b"\0"):
        if not field:
            break
        fields[chr(field[0])] = text(field[1:])
    return fields
