"""Cuts what a client sends into messages, on demand: a conversation takes the next one when it is ready for it."""

from __future__ import annotations

from struct import Struct

from pgbeam_core.errors import ProtocolViolation
from pgbeam_core.wire.large import LARGE_BYTES, Gathering, Head

_HEADER = Struct("!BI")
MAX_LENGTH = 0x3FFFFFFE
"""PostgreSQL's own bound for a message of a client: just under 1 GiB."""
EXTENDED = frozenset(b"PBDEC")
"""The messages that a Sync or Flush ends."""
MOST_AT_ONCE = 4096
"""Messages that are given in one piece: finding their ends takes about a millisecond."""
SMALL_LENGTH = 10_000
"""The bound for messages of types that never need more, PostgreSQL's too."""
_FLUSH, _SYNC, _EXECUTE = b"HSE"
_MOST_FLUSHED = 16
"""Messages of a request in which a Flush may be passed over."""
_LARGE = frozenset(b"QFPBd")
_TYPES = _LARGE | frozenset(b"XCDEHScf")
"""What a client that has logged in may send."""


class Inbox:
    """What a client has sent and nobody has taken yet. Whole messages are at most `max_length` bytes long."""

    __slots__ = ("_at", "_data", "_large", "_more", "_more_size", "max_length")

    def __init__(self, max_length: int = MAX_LENGTH) -> None:
        self.max_length = max_length
        self._data = b""
        self._at = 0
        self._more: list[bytes] = []
        self._more_size = 0
        self._large: Gathering | None = None
        """The next message, if it is a large one."""

    @property
    def holds(self) -> bool:
        """Whether there is anything in it."""
        return self._at < len(self._data) or bool(self._more) or self._large is not None

    def __len__(self) -> int:
        size = len(self._data) - self._at + self._more_size
        return size if self._large is None else size + self._large.size - self._large.missing

    def add(self, data: bytes) -> None:
        """Hold what arrived. Chunks are joined only when a whole message is there, and those of a large one never."""
        if self._large is not None and self._large.missing:
            data = self._large.add(data)
            if not data:
                return
        if self._at == len(self._data) and not self._more:
            self._data = data
            self._at = 0
        else:
            self._more.append(data)
            self._more_size += len(data)

    def next_message(self) -> bytes | None:
        """The next whole message, header included, of a large one its `Head`; None while it is not complete.

        Raises ProtocolViolation for a type that there is not, at its first byte, and for a length that cannot be.
        """
        if self._large is not None:
            return self._take_large(self._large)
        at = self._at
        have = len(self._data) - at
        if have < 5:
            if have + self._more_size < 5:
                if have + self._more_size:
                    _known(self._data[at] if have else self._more[0][0])
                return None
            self._join()
            at = 0
        tag, length = _HEADER.unpack_from(self._data, at)
        if not 4 <= length <= SMALL_LENGTH:
            self._judge(tag, length)
        end = at + 1 + length
        if end > len(self._data):
            _known(tag)
            if length > LARGE_BYTES:
                self._large = self._gather(1 + length)
                return self._take_large(self._large)
            if 1 + length > len(self):
                return None
            self._join()
            at, end = 0, 1 + length
        self._at = end
        return self._data[at:end]

    def take_run(self, into: list[bytes], most: int) -> int:
        """Whole messages of the extended protocol that come next, but for Sync and Flush; at most so many.

        They are added to the list. Gives their bytes.
        """
        if self._large is not None:
            return 0
        data, at, have = self._data, self._at, len(self._data)
        unpack = _HEADER.unpack_from
        for _ in range(most):
            if have - at < 5:
                break
            tag, length = unpack(data, at)
            end: int = at + 1 + length
            if end > have or length < 4 or tag not in EXTENDED:
                break
            into.append(data[at:end])
            at = end
        taken = at - self._at
        self._at = at
        return taken

    def flushes_in_vain(self, before: list[bytes]) -> bool:
        """Whether a Flush cuts a request that is all there and executes one statement: nothing is to be waited for.

        Without it the request is one of the usual form. pg8000 has a Flush behind each message.
        before: the messages of the request that have been taken.
        """
        data, at, have = self._data, self._at, len(self._data)
        executions = sum(message[0] == _EXECUTE for message in before)
        for _ in range(_MOST_FLUSHED - len(before)):
            if executions > 1 or have - at < 5:
                return False
            tag, length = _HEADER.unpack_from(data, at)
            at += 1 + length
            if at > have or length < 4 or (tag not in EXTENDED and tag != _FLUSH):
                return bool(tag == _SYNC and at <= have and length == 4)
            executions += tag == _EXECUTE
        return False

    def take_all(self, tag: int) -> bytes:
        """Whole messages of that type that come next, in one piece; nothing if another comes first."""
        first = self.next_message()
        if first is None:
            return b""
        if first[0] != tag:
            self.put_back(first)
            return b""
        data, end, have = self._data, self._at, len(self._data)
        start = end - len(first)
        if start < 0:
            return first
        for _ in range(MOST_AT_ONCE):
            if have - end < 5:
                break
            found, length = _HEADER.unpack_from(data, end)
            if found != tag or length < 4 or end + 1 + length > have:
                break
            end += 1 + length
        self._at = end
        return data[start:end]

    def _judge(self, tag: int, length: int) -> None:
        """A length that is not an everyday one: may it be?"""
        _known(tag)
        if length < 4 or length > MAX_LENGTH or (length > SMALL_LENGTH and tag not in _LARGE):
            raise ProtocolViolation("invalid message length")
        if length > self.max_length:
            raise ProtocolViolation(
                f"message of {length} bytes is too large",
                sqlstate="54000",
                hint=f"max_message_bytes is {self.max_length}.",
            )

    def clear(self) -> None:
        self._data = b""
        self._at = self._more_size = 0
        self._more = []
        self._large = None

    def put_back(self, message: bytes) -> None:
        """Have the message taken last be the next one again."""
        if isinstance(message, Head):
            self._large = Gathering.done(message)
            return
        if self._at >= len(message):
            self._at -= len(message)
            return
        rest = self._data[self._at :]
        self._more.insert(0, rest)
        self._more_size += len(rest)
        self._data, self._at = message, 0

    def take_rest(self) -> bytes:
        """All that is held, whole messages or not."""
        self._join()
        rest, self._data = self._data, b""
        return rest

    def _gather(self, size: int) -> Gathering:
        """Take what is there of a large message; what comes behind it stays."""
        large = Gathering(size)
        chunks = [self._data[self._at :], *self._more]
        self._data, self._at = b"", 0
        self._more, self._more_size = [], 0
        for chunk in chunks:
            behind = large.add(chunk) if large.missing else chunk
            if behind:
                self.add(behind)
        return large

    def _take_large(self, large: Gathering) -> bytes | None:
        if large.missing:
            return None
        self._large = None
        return large.message()

    def _join(self) -> None:
        self._data = b"".join([self._data[self._at :], *self._more])
        self._at = 0
        self._more.clear()
        self._more_size = 0


def _known(tag: int) -> None:
    if tag not in _TYPES:
        raise ProtocolViolation(f"invalid frontend message type {tag}")
