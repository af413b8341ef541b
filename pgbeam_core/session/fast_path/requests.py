"""A request of the extended protocol that the fast path has recognised, and what is made of it."""

from __future__ import annotations

from struct import Struct

from pgbeam_core.api.results import Answer
from pgbeam_core.session.prepared import Prepared
from pgbeam_core.wire import backend
from pgbeam_core.wire.frames import split

_HEADER = Struct("!BI")
_BIND = ord("B")


class Request:
    """One execution by the extended protocol, the statement found."""

    __slots__ = ("bind_at", "data", "described", "name", "parsed", "prepared", "tail_at")

    def __init__(
        self, data: bytes, prepared: Prepared, name: bytes, bind_at: int, tail_at: int, *, described: bool
    ) -> None:
        self.data = data
        self.prepared = prepared
        self.name = name
        """The client's name of the statement."""
        self.bind_at = bind_at
        """Where Bind begins: behind Parse, if there is one."""
        self.tail_at = tail_at
        """Where it ends."""
        self.parsed = bind_at > 0
        self.described = described

    def rebound(self, name: bytes) -> bytes:
        """The request without Parse, the statement under another name."""
        values = self.data[self.bind_at + 7 + len(self.name) :]
        length = self.tail_at - self.bind_at - 1 + len(name) - len(self.name)
        return b"".join((_HEADER.pack(_BIND, length), b"\0", name, b"\0", values))

    def frames(self) -> list[bytes]:
        """Its messages, for the long way."""
        return [self.data[start:end] for _, start, end in split(self.data)]

    def reply(self, answer: Answer) -> bytes:
        """The whole reply but for ReadyForQuery, around a kept answer."""
        described = (answer.description or backend.NO_DATA) if self.described else b""
        parsed = backend.PARSE_COMPLETE if self.parsed else b""
        return b"".join((parsed, backend.BIND_COMPLETE, described, answer.rows, answer.complete))
