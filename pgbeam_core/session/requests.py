"""Cuts what a client sends into messages, on demand: a conversation takes the next one when it is ready for it."""

from __future__ import annotations

from struct import Struct

from pgbeam_core.errors import ProtocolViolation

_HEADER = Struct("!BI")
MAX_LENGTH = 0x3FFFFFFF
"""PostgreSQL's own bound for a message of a client: just under 1 GiB."""
MOST_AT_ONCE = 4096
"""Messages that are given in one piece: finding their ends takes about a millisecond."""


class Inbox:
    """What a client has sent and nobody has taken yet."""

    __slots__ = ("_at", "_data", "_more", "_more_size")

    def __init__(self) -> None:
        self._data = b""
        self._at = 0
        self._more: list[bytes] = []
        self._more_size = 0

    @property
    def holds(self) -> bool:
        """Whether there is anything in it."""
        return self._at < len(self._data) or bool(self._more)

    def __len__(self) -> int:
        """Bytes held."""
        return len(self._data) - self._at + self._more_size

    def add(self, data: bytes) -> None:
        """Hold what arrived. Chunks are joined only when a whole message is there, so a large one costs one copy."""
        if self._at == len(self._data) and not self._more:
            self._data = data
            self._at = 0
        else:
            self._more.append(data)
            self._more_size += len(data)

    def take(self) -> bytes | None:
        """The next whole message, header included; None while it is not complete."""
        at = self._at
        have = len(self._data) - at
        if have < 5:
            if have + self._more_size < 5:
                return None
            self._join()
            at = 0
        tag, length = _HEADER.unpack_from(self._data, at)
        if not 4 <= length <= MAX_LENGTH:
            raise ProtocolViolation(f"invalid message length {length} of message type {tag}")
        end = at + 1 + length
        if end > len(self._data):
            if 1 + length > len(self):
                return None
            self._join()
            at, end = 0, 1 + length
        self._at = end
        return self._data[at:end]

    def take_all(self, tag: int) -> bytes:
        """Whole messages of that type that come next, in one piece; nothing if another comes first."""
        first = self.take()
        if first is None:
            return b""
        if first[0] != tag:
            self.put_back(first)
            return b""
        data, end, have = self._data, self._at, len(self._data)
        start = end - len(first)
        for _ in range(MOST_AT_ONCE):
            if have - end < 5:
                break
            found, length = _HEADER.unpack_from(data, end)
            if found != tag or length < 4 or end + 1 + length > have:
                break
            end += 1 + length
        self._at = end
        return data[start:end]

    def put_back(self, message: bytes) -> None:
        """Have the message taken last be the next one again."""
        self._at -= len(message)

    def take_rest(self) -> bytes:
        """All that is held, whole messages or not."""
        self._join()
        rest, self._data = self._data, b""
        return rest

    def _join(self) -> None:
        self._data = b"".join([self._data[self._at :], *self._more])
        self._at = 0
        self._more.clear()
        self._more_size = 0
