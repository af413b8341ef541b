"""How a stream arrives: what works for whole messages must work for any other cut."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random

Chunks = Callable[[bytes], Iterator[bytes]]
"""Cuts bytes into the pieces in which they arrive."""


def in_one_piece(data: bytes) -> Iterator[bytes]:
    """All that was written at once arrives at once."""
    if data:
        yield data


def byte_by_byte(data: bytes) -> Iterator[bytes]:
    """Each byte arrives alone, in an event of its own."""
    for place in range(len(data)):
        yield data[place : place + 1]


def randomly(seed: int, most: int = 50) -> Chunks:
    """Pieces of 1 to `most` bytes, the same ones for the same seed."""
    random = Random(seed)

    def chunks(data: bytes) -> Iterator[bytes]:
        start = 0
        while start < len(data):
            end = start + random.randint(1, most)
            yield data[start:end]
            start = end

    return chunks
