"""The values of console tables as the protocol has them, in text and in binary."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from pgbeam_core.api.console import Table


class Type(NamedTuple):
    """A PostgreSQL type: its OID, and the bytes of a value (-1: it varies)."""

    oid: int
    size: int


TYPES = {
    "text": Type(25, -1),
    "int4": Type(23, 4),
    "int8": Type(20, 8),
    "float8": Type(701, 8),
    "numeric": Type(1700, -1),
    "bool": Type(16, 1),
}
_DIGIT = 10_000
"""The base in which PostgreSQL has numeric."""
_INT8 = 1 << 63
_NAMES = ((bool, "bool"), (int, "int8"), (float, "float8"))


class NoSuchValue(ValueError):
    """A value that its column's type does not have."""


def types_of(table: Table) -> tuple[str, ...]:
    """The type of each column: as the table says, else as its values are, and text where there are none."""
    if table.types:
        return tuple(name if name in TYPES else "text" for name in table.types)
    return tuple(_found(row[place] for row in table.rows) for place in range(len(table.columns)))


def _found(values: Iterable[object]) -> str:
    kinds = {_kind(value) for value in values if value is not None}
    if kinds == {"int8", "float8"}:
        return "float8"
    return kinds.pop() if len(kinds) == 1 else "text"


def _kind(value: object) -> str:
    for kind, name in _NAMES:
        if isinstance(value, kind):
            return name if name != "int8" or -_INT8 <= value < _INT8 else "text"
    return "text"


def as_text(value: object) -> bytes | None:
    """The value as PostgreSQL would print it; None is NULL."""
    if value is None:
        return None
    if isinstance(value, bool):
        return b"t" if value else b"f"
    if isinstance(value, list | tuple | set | frozenset):
        return ", ".join(map(str, value)).encode("utf-8", "replace")
    return str(value).replace("\0", "").encode("utf-8", "replace")


def as_binary(value: object, type_name: str) -> bytes | None:
    """The value in the binary format of its type. Raises NoSuchValue."""
    if value is None:
        return None
    try:
        if type_name == "int4":
            return struct.pack("!i", value)
        if type_name == "int8":
            return struct.pack("!q", value)
        if type_name == "float8":
            return struct.pack("!d", value)
        if type_name == "bool":
            return struct.pack("!?", value)
        if type_name == "numeric":
            return _numeric(int(value))  # type: ignore[call-overload]
    except (struct.error, TypeError, ValueError) as error:
        raise NoSuchValue(f"{value!r} is no {type_name}") from error
    return as_text(value)


def _numeric(number: int) -> bytes:
    digits: list[int] = []
    rest = abs(number)
    while rest:
        rest, digit = divmod(rest, _DIGIT)
        digits.insert(0, digit)
    weight = max(len(digits) - 1, 0)
    while digits and not digits[-1]:
        digits.pop()
    sign = 0x4000 if number < 0 else 0
    return struct.pack(f"!HhHH{len(digits)}H", len(digits), weight, sign, 0, *digits)


def formats_for(count: int, formats: Sequence[int]) -> list[int]:
    """One format for each column; as in Bind, none is all text and one is that of all."""
    if len(formats) == count:
        return list(formats)
    return [formats[0] if formats else 0] * count
