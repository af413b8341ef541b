"""The replies a server owes, and who gets which byte of what it sends. The heart of the proxy.

Which turn a frame belongs to is told by `turn_queue`; this finds the frames, and keeps these rules:

- Headers are walked, bodies are not: what goes to a client are slices of what came in.
- Of what came in one chunk only so much is paid out at once; the rest waits for `go_on`, and others have their turn.
- A length that cannot be is `OutOfTurn`, as is a frame that nobody is owed. The caller then quarantines the server:
  nobody gets a byte that is in doubt.
"""

from __future__ import annotations

from struct import Struct

from pgbeam_core.errors import ProtocolViolation
from pgbeam_core.session.asynchronous import Asynchronous
from pgbeam_core.session.fast_path.whole_replies import find_reply_end
from pgbeam_core.session.partial_frames import EVERYDAY_BYTES, PartialFrame, may_be_long
from pgbeam_core.session.steps import Form
from pgbeam_core.session.turn_queue import TurnQueue
from pgbeam_core.session.turns import OutOfTurn, Turn
from pgbeam_core.wire.frames import part_of

_HEADER = Struct("!BI")
_ROW, _COPY_DATA, _READY = b"DdZ"
_SLICE = 1000
"""What is paid out at once, in frames: a few milliseconds, a tenth of that where nothing has to be told to plugins."""
_OF_A_WHOLE_REPLY = 8
"""How many frames a reply that is handed on as a whole is worth."""
_OF_READY = 9
"""How many frames the end of one that was walked is worth."""
_ROWS_PER_FRAME = 32
"""Rows and COPY data are passed over so much faster than other frames."""
_MOST_ROWS = 8192
"""Rows that are passed over before anybody looks how many there have been."""


class ReplyQueue(TurnQueue):
    """Cuts what a server sends into frames, and pays them out to the turns that it owes."""

    def __init__(self, asynchronous: Asynchronous) -> None:
        super().__init__(asynchronous)
        self.behind = False
        """Not all that came has been paid out: `go_on`."""
        self._waiting: list[bytes] = []
        self._start = 0
        """Where the first of what waits begins."""
        self._left = 0
        """What may still be paid out in this slice, in frames."""
        self._partial = PartialFrame()
        self._needed = 0
        """Bytes of the frame at which the last walk ended; of its header, if not even that was there."""
        self._streaming = 0
        """Bytes of a frame that are still to come, of which the owner has got the first."""

    @property
    def midway(self) -> bool:
        """Whether a part of a message has been passed on, and not the rest."""
        return bool(self._streaming)

    def lost(self, reason: str) -> None:
        """The server is gone: tell every owner, in order."""
        if self.turns:
            self.turns[0].torn = bool(self._streaming)
        self._streaming = 0
        while self.turns:
            turn = self.turns.popleft()
            turn.owner.turn_lost(turn, reason)

    def feed(self, data: bytes) -> None:
        """Take what arrived and hand every byte to its owner. Raise OutOfTurn when that cannot be told."""
        if self.behind:
            self._waiting.append(data)
            return
        if self._streaming:
            data = self._stream(data)
            if not data:
                return
        rest = b""
        if self._partial.has_begun:
            # A long frame is joined alone: `rest`, which is behind it, is walked where it lies.
            data, rest = self._partial.grow(data)
            if not data:
                return
        self._left = _SLICE
        self._pay(data, 0)
        if rest:
            self.feed(rest)

    def go_on(self) -> None:
        """Pay out more of what waits. Raise OutOfTurn likewise."""
        first, start = self._waiting[0], self._start
        if len(self._waiting) > 1:
            first, start = b"".join([first[start:], *self._waiting[1:]]), 0
        self._waiting = []
        self.behind = False
        self._left = _SLICE
        self._pay(first, start)

    def drop(self) -> None:
        """Nobody is to get what waits."""
        self._waiting = []
        self.behind = False

    def _pay(self, data: bytes, start: int) -> None:
        """Whole replies as long as the head hopes for one, then frame by frame; what is left is kept."""
        have = len(data)
        while start < have and self._left > 0 and self.turns and (form := self.turns[0].form) is not None:
            end = self._pay_whole_reply(self.turns[0], form, data, start)
            if not end:
                # Not here, or not as hoped for. It is not tried again when more has come: a reply that comes in many
                # chunks would be searched from its beginning for each of them.
                self.turns[0].form = None
                break
            start = end
        if start < have and self._left > 0:
            start = self._walk(data, start)
            if self.turns and self.turns[0].began:
                self.turns[0].form = None  # what is still to come of it is not the whole
        if start < have:
            if self._left > 0:  # the walk has ended at a frame of which there is a part only
                self._partial.begin(data[start:], self._needed)
            else:  # others have their turn first
                self._waiting, self._start, self.behind = [data], start, True

    def _pay_whole_reply(self, turn: Turn, form: Form, data: bytes, start: int) -> int:
        """Hand on the reply at `start` if it is all there and of the form that is hoped for; give its end, or 0."""
        end, complete = find_reply_end(form, turn.expected_ready, data, start)
        if not end:
            return 0
        self._left -= _OF_A_WHOLE_REPLY
        self.turns.popleft()
        self.congested = False
        self.status = turn.expected_ready[5:]
        turn.tags.append(data[complete + 5 : end - 7])
        turn.owner.deliver_reply(turn, data[start:end])
        return end

    def _stream(self, data: bytes) -> bytes:
        """The middle of a row that was larger than its chunk: it is the head's, up to its end. Gives what is behind."""
        part = data[: self._streaming]
        self._streaming -= len(part)
        self.turns[0].deliver(part)
        self._end_chunk_within()
        return data[len(part) :]

    def _begin_stream(self, data: bytes, start: int, missing: int) -> int:
        """The chunk ends within a frame that goes on to the head as it comes."""
        self._streaming = missing
        self.turns[0].deliver(data[start:])
        self._end_chunk_within()
        return len(data)

    def _walk(self, data: bytes, start: int) -> int:
        """Walk the whole frames from `start` on; give the position of the first byte that is still to be kept."""
        position = start
        have = len(data)
        self._needed = 5
        while have - position >= 5 and self._left > 0:
            tag, length = _HEADER.unpack_from(data, position)
            end = position + 1 + length
            if tag == _ROW or tag == _COPY_DATA:
                # Asked once for all that follow of that type, and never kept: of a large one the beginning is sent on.
                start = self._take_rows(tag, length, data, start, position)
                if end > have:
                    return self._begin_stream(data, start, end - have)
                position = self._last_like(data, tag, end, have)
                continue
            if not 4 <= length <= EVERYDAY_BYTES:
                # Before anything is kept for it: a length that is wrong must not cost memory.
                if not may_be_long(tag, length):
                    raise OutOfTurn(f"server sent a message {chr(tag)!r} of length {length}")
                if end > have and self._may_stream(tag):
                    return self._begin_stream(data, start, end - have)
            if end > have:
                self._needed = end - position
                break
            self._left -= 1 if tag != _READY else _OF_READY
            turn = self.turns[0] if self.turns else None
            try:
                start = self._take_frame(data, tag, start, position, end)
            except ProtocolViolation:
                # What came whole before it, an error perhaps, is not in doubt, as long as its turn is still the head.
                if turn is not None and start < position and self.turns and self.turns[0] is turn:
                    turn.deliver(data[start:position])
                raise
            position = end
        if start < position:
            self.turns[0].deliver(part_of(data, start, position))
            self._end_chunk_within()
        if self.turns:
            head = self.turns[0]
            if head.script and head.form is None and not head.shared:
                # After a Flush there may be no frame for PgBeam's own words to go ahead of. A shared turn has no Flush,
                # and can be sent once more only while its client has no byte.
                head.inject_due()
            if head.in_parts:
                head.owner.reply_came(head)
        return position

    def _last_like(self, data: bytes, tag: int, position: int, have: int) -> int:
        """Where whole frames of that type that stand at `position` end: the steps of a turn know no bounds of rows."""
        unpack = _HEADER.unpack_from
        rows = 0
        while have - position >= 5 and rows < _MOST_ROWS:
            found, length = unpack(data, position)
            end: int = position + 1 + length
            if found != tag or end > have or length < 4:
                break
            position = end
            rows += 1
        self._left -= 1 + rows // _ROWS_PER_FRAME
        return position
