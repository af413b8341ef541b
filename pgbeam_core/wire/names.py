"""The names in messages of the extended protocol, which are looked at for every execution."""

from __future__ import annotations

from pgbeam_core.errors import ProtocolViolation
from pgbeam_core.wire.frames import HEADER
from pgbeam_core.wire.message import INSUFFICIENT, INT32, INVALID_FORMAT, INVALID_STRING, UINT16

_PARSE, _BIND, _CLOSE = b"PBC"
_KINDS = frozenset(b"SP")
_NO_VALUES = bytes(4)
"""No formats of values, and no values."""


def parse_names(frame: bytes) -> tuple[bytes, bytes, int]:
    """Of a Parse: statement name, SQL text, and the offset of the count of parameter types."""
    name_end = frame.find(0, 5)
    text_end = frame.find(0, name_end + 1) if name_end >= 0 else -1
    if text_end < 0:
        raise ProtocolViolation(INVALID_STRING)
    return frame[5:name_end], frame[name_end + 1 : text_end], text_end + 1


def bind_names(frame: bytes) -> tuple[bytes, bytes, int]:
    """Of a Bind: portal name, statement name, and the offset of the count of parameter formats."""
    return parse_names(frame)


def value_count(bind: bytes) -> int:
    """Of a Bind: how many values it says it has; 0 where it ends before that."""
    at = bind_names(bind)[2]
    return _count_at(bind, at + 2 + 2 * _count_at(bind, at))


def binds_nothing(bind: bytes) -> bool:
    """Whether a Bind is whole and has no values."""
    at = bind_names(bind)[2]
    return bind[at : at + 4] == _NO_VALUES and len(bind) == at + 6 + 2 * _count_at(bind, at + 4)


def _count_at(frame: bytes, at: int) -> int:
    """The 16-bit number there; 0 behind the end."""
    return int(UINT16.unpack_from(frame, at)[0]) if at + UINT16.size <= len(frame) else 0


def rename_bind(frame: bytes, new_statement: bytes) -> bytes:
    """The same Bind, or head of a large one, of another statement. The name must hold no zero byte."""
    portal, name, after = parse_names(frame)
    header = HEADER.pack(_BIND, HEADER.unpack_from(frame)[1] + len(new_statement) - len(name))
    return b"".join((header, portal, b"\0", new_statement, b"\0", frame[after:]))


def unnamed_bind(bound: bytes) -> bytes:
    """The Bind of the unnamed statement and portal that has this behind its names: formats, values, result formats."""
    return b"".join((HEADER.pack(_BIND, 6 + len(bound)), b"\0\0", bound))


def rename_parse(frame: bytes, new_name: bytes) -> bytes:
    """The same Parse, or head of a large one, under another statement name. The name must hold no zero byte."""
    name_end = frame.find(0, 5)
    if name_end < 0:
        raise ProtocolViolation(INVALID_STRING)
    rest = frame[name_end:]
    length = HEADER.unpack_from(frame)[1] + len(new_name) + 5 - name_end
    return b"".join((HEADER.pack(_PARSE, length), new_name, rest))


def describe_target(frame: bytes) -> tuple[int, bytes]:
    """Of a Describe or Close: STATEMENT or PORTAL, and its name."""
    end = frame.find(0, 6)
    if end < 0:
        raise ProtocolViolation(INVALID_STRING)
    if end != len(frame) - 1:
        raise ProtocolViolation(INVALID_FORMAT)
    kind = frame[5]
    if kind not in _KINDS:
        verb = "CLOSE" if frame[0] == _CLOSE else "DESCRIBE"
        raise ProtocolViolation(f"invalid {verb} message subtype {kind}")
    return kind, frame[6:end]


def execute_target(frame: bytes) -> tuple[bytes, int]:
    """Of an Execute: portal name and the most rows asked for; 0 or less is all."""
    end = frame.find(0, 5)
    if end < 0:
        raise ProtocolViolation(INVALID_STRING)
    if end + 5 != len(frame):
        raise ProtocolViolation(INSUFFICIENT if end + 5 > len(frame) else INVALID_FORMAT)
    max_rows: int = INT32.unpack_from(frame, end + 1)[0]
    return frame[5:end], max_rows
