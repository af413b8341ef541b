"""One request of a client, in a form that Hypothesis can choose and print."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from tests.behaviour import frames

ME = b"~"
"""Stands for the client's own letter wherever it appears in a request: its tables, keys and channels are its own."""


@dataclass(frozen=True)
class Op:
    """One request. `data` goes out at once; the reply has `ready` ReadyForQuery; `keeps`: it may leave state behind."""

    say: str
    data: bytes = field(repr=False)
    ready: int = 1
    keeps: bool = False
    then: bytes = field(default=b"", repr=False)
    """Sent when the server wants CopyData."""

    def of(self, client: bytes) -> bytes:
        """The request of the client with that letter."""
        return b"".join(head + body.replace(ME, client) for head, body in _messages(self.data))

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self.say))  # Hypothesis would print the bytes too


def _messages(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Tag and length, and the rest, of each message: a length may look like a letter's place."""
    at = 0
    while at < len(data):
        end = at + 1 + struct.unpack_from("!i", data, at + 1)[0]
        yield data[at : at + 5], data[at + 5 : end]
        at = end


def simple(text: str, *, keeps: bool = False, then: bytes = b"") -> Op:
    """A simple Query."""
    return Op(text, frames.query(text), keeps=keeps, then=then)


def one(*texts: str, keeps: bool = False) -> st.SearchStrategy[Op]:
    """One of these simple Queries."""
    return st.sampled_from([simple(text, keeps=keeps) for text in texts])
