"""The bound of `max_query_bytes`: texts that are longer are refused before anybody reads them."""

from __future__ import annotations

from pgbeam_core.api.results import Refusal
from pgbeam_core.wire.large import rest_of

UNBOUNDED = 1 << 32
"""No message is as long."""
_PARSE = ord("P")


def bound(max_query_bytes: int) -> int:
    """The most bytes that a text may have; 0 is no bound."""
    return max_query_bytes or UNBOUNDED


def longest_text(frames: list[bytes]) -> int:
    """Bytes of the longest text that these messages parse."""
    return max([_text_size(frame) for frame in frames if frame[0] == _PARSE], default=0)


def _text_size(parse: bytes) -> int:
    """Of a large one only the head is at hand, and what comes behind it in pieces."""
    start = parse.find(0, 5) + 1
    end = parse.find(0, start)
    if end >= 0:
        return end - start
    size = len(parse) - start
    for piece in rest_of(parse):
        end = piece.find(0)
        if end >= 0:
            return size + end
        size += len(piece)
    return 0  # it has no end: for the server to judge


def refusal(size: int, most: int) -> Refusal:
    """What a client is told of a text that is too long."""
    return Refusal(
        "54000",
        f"query is too long ({size} bytes, max {most} bytes)",
        hint='Send values as parameters, or raise "max_query_bytes".',
    )
