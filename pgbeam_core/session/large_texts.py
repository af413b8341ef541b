"""Texts of large Parse messages, which are not joined: their beginning stands for them.

That is more than is read of any text, so nobody knows what such a statement does; made unique, it tells one
from another.
"""

from __future__ import annotations

from itertools import count

from pgbeam_core.api.statement import READ_BYTES
from pgbeam_core.errors import ProtocolViolation
from pgbeam_core.wire.large import Head, size_of

_LONGEST_NAME = 1000
"""Bytes; PostgreSQL itself tells names apart by 63. With such a name the head of a large Parse has text enough."""
_MOST_TYPES = 3 + 4 * 65535
"""Bytes of the parameter types and the zero byte before them."""

_of_large = count(1)


def _text_of_large(frame: bytes, start: int) -> bytes:
    """What stands for the text in a large Parse, given its head and where the text begins: its beginning, and what
    makes it another one than any other. No text has a zero byte."""
    return b"%b\0%d\0%d" % (frame[start : start + READ_BYTES], next(_of_large), size_of(frame))


def size_of_text(text: bytes) -> int:
    """Bytes of a statement's text, which may stand for one of a large Parse."""
    return len(text) if len(text) <= READ_BYTES else int(text[text.rindex(b"\0") + 1 :])


def large_parse(frame: Head) -> tuple[bytes, bytes, bytes]:
    """Of a large Parse: statement name, what stands for its text, and the section of parameter types.

    Raise ProtocolViolation where there is no large text in it, or behind a name that cannot be one.
    """
    name_end = frame.find(0, 5, 5 + _LONGEST_NAME)
    if name_end < 0:
        raise ProtocolViolation("no statement name")
    pieces: list[bytes] = [frame, *frame.rest]
    before, start = 0, name_end + 1
    for place, piece in enumerate(pieces):
        text_end = piece.find(0, start)
        if text_end >= 0:
            if frame.size - before - text_end > _MOST_TYPES:
                break
            types = b"".join([piece[text_end + 1 :], *pieces[place + 1 :]])
            return frame[5:name_end], _text_of_large(frame, name_end + 1), types
        before, start = before + len(piece), 0
    raise ProtocolViolation("no text, or too much behind it")
