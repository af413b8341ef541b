"""Values of console tables in the formats of the protocol."""

from __future__ import annotations

import struct

import pytest

from pgbeam_core import Table
from pgbeam_core.console.values import NoSuchValue, as_binary, as_text, types_of


@pytest.mark.parametrize(
    ("number", "weight", "digits"),
    [(0, 0, []), (7, 0, [7]), (10_000, 1, [1]), (12_345_678, 1, [1234, 5678]), (-5, 0, [5]), (10**8, 2, [1])],
)
def test_numeric_is_binary_as_postgresql_has_it(number: int, weight: int, digits: list[int]) -> None:
    """asyncpg and JDBC ask for numeric in binary: base 10000, trailing zeros left out."""
    found = as_binary(number, "numeric")
    assert found is not None
    count, got_weight, sign, scale = struct.unpack_from("!HhHH", found)
    assert list(struct.unpack_from(f"!{count}H", found, 8)) == digits
    assert (got_weight, sign, scale) == (weight, 0x4000 if number < 0 else 0, 0)


@pytest.mark.parametrize(
    ("value", "kind", "text", "binary"),
    [
        (7, "int4", b"7", b"\0\0\0\7"),
        (-1, "int8", b"-1", b"\xff" * 8),
        (True, "bool", b"t", b"\1"),
        (1.5, "float8", b"1.5", struct.pack("!d", 1.5)),
        ("é", "text", "é".encode(), "é".encode()),
        (None, "int4", None, None),
    ],
)
def test_both_formats(value: object, kind: str, text: bytes | None, binary: bytes | None) -> None:
    """The same value comes in text and in binary."""
    assert (as_text(value), as_binary(value, kind)) == (text, binary)


@pytest.mark.parametrize(("value", "kind"), [("x", "int4"), (1 << 40, "int4"), ("x", "numeric"), ("x", "float8")])
def test_a_value_of_another_type_is_told(value: object, kind: str) -> None:
    """What does not fit its column is an error, not other bytes."""
    with pytest.raises(NoSuchValue):
        as_binary(value, kind)


def test_types_follow_the_values_where_a_table_says_none() -> None:
    """A plugin's table has numbers as numbers, and text where it has nothing or both."""
    table = Table(("a", "b", "c", "d", "e"), [(1, 1.5, True, "x", None), (2, 3, False, 4, None)])
    assert types_of(table) == ("int8", "float8", "bool", "text", "text")
