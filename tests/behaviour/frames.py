"""Builds what a client may send, by hand, so that a mistake in PgBeam's own codec cannot hide here."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

PROTOCOL_3_0 = 3 << 16
PROTOCOL_3_2 = 3 << 16 | 2
SSL_REQUEST = struct.pack("!ii", 8, 80877103)
GSSENC_REQUEST = struct.pack("!ii", 8, 80877104)


def frame(tag: bytes, body: bytes = b"") -> bytes:
    """A message: tag, length (counting itself), body."""
    return tag + struct.pack("!i", len(body) + 4) + body


def cstring(text: str | bytes) -> bytes:
    """The text and its terminating zero byte."""
    return (text.encode() if isinstance(text, str) else text) + b"\0"


def startup(parameters: Mapping[str, str], protocol: int = PROTOCOL_3_0) -> bytes:
    """A StartupMessage."""
    body = b"".join(cstring(name) + cstring(value) for name, value in parameters.items()) + b"\0"
    return struct.pack("!ii", len(body) + 8, protocol) + body


def cancel_request(pid: int, key: bytes) -> bytes:
    """A CancelRequest; the key is 4 bytes in protocol 3.0 and up to 256 in 3.2."""
    return struct.pack("!iii", 12 + len(key), 80877102, pid) + key


def query(text: str | bytes) -> bytes:
    """A simple Query."""
    return frame(b"Q", cstring(text))


def parse(text: str | bytes, name: str = "", types: Sequence[int] = ()) -> bytes:
    """A Parse."""
    return frame(b"P", cstring(name) + cstring(text) + struct.pack(f"!h{len(types)}I", len(types), *types))


def bind(
    *values: bytes | None,
    statement: str = "",
    portal: str = "",
    formats: Sequence[int] = (),
    results: Sequence[int] = (),
) -> bytes:
    """A Bind; None is NULL, `formats` and `results` are format codes (0 text, 1 binary)."""
    body = cstring(portal) + cstring(statement)
    body += struct.pack(f"!h{len(formats)}h", len(formats), *formats)
    body += struct.pack("!h", len(values)) + b"".join(map(_value, values))
    return frame(b"B", body + struct.pack(f"!h{len(results)}h", len(results), *results))


def _value(value: bytes | None) -> bytes:
    return struct.pack("!i", -1) if value is None else struct.pack("!i", len(value)) + value


def describe(name: str = "", kind: bytes = b"P") -> bytes:
    """A Describe of a portal (P) or a statement (S)."""
    return frame(b"D", kind + cstring(name))


def execute(portal: str = "", max_rows: int = 0) -> bytes:
    """An Execute; 0 rows means all."""
    return frame(b"E", cstring(portal) + struct.pack("!i", max_rows))


def close(name: str = "", kind: bytes = b"S") -> bytes:
    """A Close of a portal (P) or a statement (S)."""
    return frame(b"C", kind + cstring(name))


def sync() -> bytes:
    """A Sync."""
    return frame(b"S")


def flush() -> bytes:
    """A Flush."""
    return frame(b"H")


def terminate() -> bytes:
    """A Terminate."""
    return frame(b"X")


def copy_data(data: bytes) -> bytes:
    """A CopyData."""
    return frame(b"d", data)


def copy_done() -> bytes:
    """A CopyDone."""
    return frame(b"c")


def copy_fail(reason: str) -> bytes:
    """A CopyFail."""
    return frame(b"f", cstring(reason))


def function_call(oid: int, *values: bytes | None, result: int = 1) -> bytes:
    """A FunctionCall with binary arguments."""
    body = struct.pack("!Ihh", oid, 1, 1) + struct.pack("!h", len(values)) + b"".join(map(_value, values))
    return frame(b"F", body + struct.pack("!h", result))


def extended(
    text: str | bytes,
    *values: bytes | None,
    name: str = "",
    types: Sequence[int] = (),
    formats: Sequence[int] = (),
    results: Sequence[int] = (),
) -> bytes:
    """Parse, Bind, Describe portal and Execute of one text, without Sync: what most drivers send."""
    bound = bind(*values, statement=name, formats=formats, results=results)
    return parse(text, name, types) + bound + describe() + execute()
