"""Finds the reply to a plain statement in what a server sends, if it is all there and as it is hoped for."""

from __future__ import annotations

from struct import Struct
from struct import error as struct_error

from pgbeam_core.session.steps import Form

_HEADER = Struct("!BI")
_ROW, _BOUND, _COLUMNS, _NO_COLUMNS, _COMPLETE = b"D2TnC"


def find_reply_end(form: Form, ready: bytes, data: bytes, start: int) -> tuple[int, int]:
    """Where the reply at `start` ends, and where its CommandComplete begins; (0, 0) if it is another one, or not whole.

    ready: the ReadyForQuery that it has to end with. Its twin is the walk of `ReplyQueue`.
    """
    unpack = _HEADER.unpack_from
    position = start
    try:
        tag, length = unpack(data, position)
        if form.bound:
            if tag != _BOUND or length != 4:
                return 0, 0
            position += 5
            tag, length = unpack(data, position)
        if form.described:
            if (tag == _COLUMNS and length > 4) or (tag == _NO_COLUMNS and length == 4):
                position += 1 + length
                tag, length = unpack(data, position)
            elif not form.silent:
                return 0, 0
        while tag == _ROW and length > 4:
            position += 1 + length
            tag, length = unpack(data, position)
    except struct_error:
        return 0, 0
    ready_at: int = position + 1 + length
    end: int = ready_at + 6
    if tag != _COMPLETE or length < 5 or data[ready_at:end] != ready:
        return 0, 0
    return end, position
