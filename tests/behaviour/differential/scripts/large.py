"""Big messages, and large objects by FunctionCall."""

from __future__ import annotations

import struct

from ...frames import copy_data, copy_done, extended, function_call, query, sync
from ..dsl import Script, ask, conversation, say

LO_CREATE, LO_OPEN, LO_CLOSE, LO_READ, LO_WRITE, LO_LSEEK, LO_UNLINK = 715, 952, 953, 954, 955, 956, 964
READ_WRITE = 0x60000


def integer(value: int) -> bytes:
    """An int4 in binary."""
    return struct.pack("!i", value)


@conversation()
def large_object_by_function_call(me: str) -> Script:
    """Make, write, read and drop a large object by FunctionCall within a transaction, as libpq does."""
    number = integer({"a": 990001, "b": 990002}[me])
    yield ask("BEGIN")
    yield say(function_call(LO_CREATE, number))
    opened = yield say(function_call(LO_OPEN, number, integer(READ_WRITE)))
    handle = opened[0].body[4:8]
    yield say(function_call(LO_WRITE, handle, b"beginning " + b"." * 100_000))
    yield say(function_call(LO_LSEEK, handle, integer(0), integer(0)))
    yield say(function_call(LO_READ, handle, integer(100_100)))
    yield say(function_call(LO_CLOSE, handle), query("COMMIT"), times=2)
    yield say(function_call(LO_UNLINK, number))


@conversation()
def function_call_errors() -> Script:
    """Errors of FunctionCall: unknown function, wrong arguments, an error inside a transaction."""
    yield say(function_call(4_000_000_000))
    yield say(function_call(LO_CLOSE))
    yield say(function_call(LO_CLOSE, integer(77)))
    yield ask("BEGIN")
    yield say(function_call(LO_CLOSE, integer(77)))
    yield say(function_call(LO_CLOSE, integer(77)))
    yield ask("ROLLBACK")


@conversation()
def function_call_null_and_text() -> Script:
    """FunctionCall with NULL and with a text result."""
    yield say(function_call(870, b"LOUD", result=0))
    yield say(function_call(870, None, result=0))
    yield say(function_call(870, b"LOUD"), query("SELECT 1"), function_call(870, b"AGAIN"), times=3)


@conversation()
def one_row_of_16_megabytes() -> Script:
    """A row far larger than any buffer arrives whole."""
    yield ask("SELECT repeat('sixteen ', 2097152)")
    yield say(extended("SELECT repeat('sixteen ', 2097152)"), sync())


@conversation()
def one_parameter_of_8_megabytes() -> Script:
    """A parameter far larger than any buffer arrives whole."""
    value = b"eight mb" * (1 << 20)
    yield say(extended("SELECT length($1::text), md5($1::text)", value), sync())


@conversation(pins=True)
def one_text_of_4_megabytes() -> Script:
    """A query text far larger than any buffer, simple and extended."""
    text = "SELECT length('" + "x" * (4 << 20) + "')"
    yield ask(text)
    yield say(extended(text), sync())


@conversation()
def copy_data_of_8_megabytes() -> Script:
    """One CopyData message of eight megabytes."""
    rows = b"".join(b"%d\t%s\n" % (number, b"v" * 800) for number in range(300, 10_300))
    yield say(query("COPY categories FROM STDIN"), until=b"G")
    yield say(copy_data(rows), copy_done())
    yield ask("DELETE FROM categories WHERE id >= 300")


@conversation()
def many_columns() -> Script:
    """A result of 1,600 columns."""
    yield ask("SELECT " + ", ".join(f"{number} AS c{number}" for number in range(1600)))


@conversation(pins=True)
def many_parameters() -> Script:
    """A statement with 2,000 parameters."""
    values = [str(number).encode() for number in range(2000)]
    text = "SELECT " + " + ".join(f"${number}::int" for number in range(1, 2001))
    yield say(extended(text, *values), sync())


@conversation()
def many_medium_rows() -> Script:
    """Thirty megabytes of rows, in pieces that no buffer boundary respects."""
    yield ask("SELECT i, repeat(chr(65 + i % 26), (i * 7919) % 30000) FROM generate_series(1, 2000) i")
