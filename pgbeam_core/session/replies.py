"""The replies a server owes, and who gets which byte of what it sends. The heart of the proxy.

Rules:

- A server answers in the order it was asked. Turns form a queue; every frame belongs to the turn at its head, except
  ParameterStatus, NotificationResponse and notices outside a turn, which nobody asked for.
- A turn ends with ReadyForQuery and with nothing else.
- Headers are walked, bodies are not: what goes to a client are slices of what came in.
- Of what came in one chunk only so much is paid out at once; the rest waits for `go_on`, and others have their turn.
- A frame that nobody is owed, a step that ends twice, a tag unknown or out of place, a length that cannot be:
  `OutOfTurn`. The caller then quarantines the server: nobody gets a byte that is in doubt.

What must be kept in sync: the steps in `turns` and the requests that `extended` writes.
"""

from __future__ import annotations

from collections import deque
from io import BytesIO
from struct import Struct
from typing import Protocol

from pgbeam_core.api._bookkeeping import SMALL_BYTES
from pgbeam_core.errors import ProtocolViolation
from pgbeam_core.session import outdated
from pgbeam_core.session.fast_path.whole_replies import find_whole
from pgbeam_core.session.steps import BIND, COMPLETE, DESCRIBE, FOLLOWS, FREE, TO_THE_END, Form, in_clients_words
from pgbeam_core.session.turns import Fate, Turn

_HEADER = Struct("!BI")
_MAX_LENGTH = 0x3FFFFFFF
_EVERYDAY = 1 << 20
"""Frames are held until they are whole, rows and COPY data apart. Few are longer than this."""
_LONG = frozenset(b"TENA")
_MOST_HELD = 64 << 20
"""A description, an error, a notice or a notification may be as long as this."""
_RESULT = ord("V")

_ROW, _COPY_DATA = b"Dd"
_COMPLETE, _ERROR, _READY, _NOTICE, _STATUS, _NOTIFICATION = b"CEZNSA"
_COPY_IN, _COPY_BOTH = b"GW"
_STATUSES = frozenset(b"ITE")
_DESCRIBED = (b"t", DESCRIBE.ends)
"""What a Describe of a statement has for a reply."""
_SLICE = 1000
"""What is paid out at once, in frames: a few milliseconds, a tenth of that where nothing has to be told to plugins."""
_OF_A_TURN = 8
"""How many frames the end of a turn is worth."""
_ROWS_PER_FRAME = 32
"""Rows and COPY data are passed over so much faster than other frames."""
_MOST_ROWS = 8192
"""Rows that are passed over before anybody looks how many there have been."""


class OutOfTurn(ProtocolViolation):
    """The server sent what nobody asked for; its stream can no longer be trusted."""


class Asynchronous(Protocol):
    """Takes what a server sends without being asked."""

    def parameter_status(self, frame: bytes) -> bytes | None:
        """A parameter changed. What the owner of the turn at the head may see of that: the frame, another, or None."""

    def unasked(self, tag: int, frame: bytes) -> None:
        """A frame outside any turn: S, A or N, or the E with which a server says goodbye."""

    def notified(self, frame: bytes) -> bool:
        """A NotificationResponse came in a turn: was it told to somebody else than the owner of that turn?"""

    def told_later(self) -> None:
        """A turn is over; parameters that changed in a turn of PgBeam's own can be told to whom they concern."""


def _may_be(tag: int, length: int) -> bool:
    """Whether a frame of that type may have a length that is not an everyday one."""
    return length > 4 and ((tag in _LONG and length <= _MOST_HELD) or (tag == _RESULT and length <= _MAX_LENGTH))


class ReplyQueue:
    """The turns a server owes, oldest first."""

    def __init__(self, aside: Asynchronous) -> None:
        self.turns: deque[Turn] = deque()
        self.status = b"I"
        """The transaction status of the last ReadyForQuery: I, T or E."""
        self.held = False
        """The turn at the head is one that no other should stand behind."""
        self.behind = False
        """Not all that came has been paid out: `go_on`."""
        self._aside = aside
        self._waiting: list[bytes] = []
        self._start = 0
        """Where the first of what waits begins."""
        self._left = 0
        self._tail: list[bytes] = []
        """The chunks of a frame that is not all there. They are joined but once: it may be a large one."""
        self._tail_size = 0
        self._needed = 0
        self._long: BytesIO | None = None
        """Such a frame that is longer than everyday ones: it grows with each chunk, and is not copied once more."""
        self._streaming = 0

    @property
    def midway(self) -> bool:
        """Whether a part of a message has been passed on, and not the rest."""
        return bool(self._streaming)

    def expect(self, turn: Turn) -> None:
        """The request of this turn goes out now."""
        self.turns.append(turn)

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
        if self._long is not None:
            self._grow(self._long, data)
            return
        if self._tail:
            self._tail.append(data)
            self._tail_size += len(data)
            if self._tail_size < self._needed:
                return
            data = b"".join(self._tail)
            self._tail = []
        self._left = _SLICE
        self._pay(data, 0)

    def _grow(self, long: BytesIO, data: bytes) -> None:
        """More of a long frame has come. It is walked alone, so that nothing has to be cut from it."""
        missing = self._needed - long.tell()
        long.write(data[:missing])
        if len(data) < missing:
            return
        self._long = None
        self._left = _SLICE
        self._pay(long.getvalue(), 0)
        if len(data) > missing:
            self.feed(data[missing:])

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
        have = len(data)
        while start < have and self._left > 0 and self.turns and (form := self.turns[0].plain) is not None:
            end = self._whole(self.turns[0], form, data, start)
            if not end:
                self.turns[0].plain = None
                break
            start = end
        if start < have and self._left > 0:
            start = self._walk(data, start)
            if self.turns and self.turns[0].began:
                self.turns[0].plain = None  # what is still to come of it is not the whole
        if start < have:
            if self._left > 0:
                if self._needed > _EVERYDAY:
                    self._long = BytesIO()
                    self._long.write(data[start:])
                else:
                    self._tail, self._tail_size = [data[start:]], have - start
            else:
                self._waiting, self._start, self.behind = [data], start, True

    def _whole(self, turn: Turn, form: Form, data: bytes, start: int) -> int:
        """Hand on the reply at `start` if it is all there and of the form that is hoped for; give its end, or 0."""
        end, complete = find_whole(form, turn.ready, data, start)
        if not end:
            return 0
        self._left -= _OF_A_TURN
        self.turns.popleft()
        self.held = False
        self.status = turn.ready[5:]
        turn.tags.append(data[complete + 5 : end - 7])
        turn.owner.whole(turn, data[start:end])
        return end

    def _stream(self, data: bytes) -> bytes:
        """The middle of a row that was larger than its chunk: it is the head's, up to its end."""
        part = data[: self._streaming]
        self._streaming -= len(part)
        self.turns[0].deliver(part)
        self._mind_those_behind()
        return data[len(part) :]

    def _walk(self, data: bytes, start: int) -> int:
        """Walk the whole frames from `start` on; give the position of the first byte that is still to be kept."""
        position = start
        have = len(data)
        self._needed = 5
        while have - position >= 5 and self._left > 0:
            tag, length = _HEADER.unpack_from(data, position)
            end = position + 1 + length
            if tag == _ROW or tag == _COPY_DATA:
                start = self._row(tag, length, data, start, position)
                if end > have:
                    self._streaming = end - have
                    self.turns[0].deliver(data[start:])
                    self._mind_those_behind()
                    return have
                position = self._last_like(data, tag, end, have)
                continue
            if not 4 <= length <= _EVERYDAY:
                if not _may_be(tag, length):
                    raise OutOfTurn(f"server sent a message {chr(tag)!r} of length {length}")
                if end > have and self._passes(tag):
                    self._streaming = end - have
                    self.turns[0].deliver(data[start:])
                    self._mind_those_behind()
                    return have
            if end > have:
                self._needed = end - position
                break
            self._left -= 1
            turn = self.turns[0] if self.turns else None
            try:
                start = self._frame(data, tag, start, position, end)
            except ProtocolViolation:
                # What came whole before it, an error perhaps, is not in doubt, as long as its turn is still the head.
                if turn is not None and start < position and self.turns and self.turns[0] is turn:
                    turn.deliver(data[start:position])
                raise
            position = end
        if start < position:
            self.turns[0].deliver(_cut(data, start, position))
            self._mind_those_behind()
        if self.turns:
            head = self.turns[0]
            if head.script and head.plain is None and not head.shared:
                # After a Flush there may be no frame for PgBeam's own words to go ahead of. A shared turn has no Flush,
                # and can be sent once more only while its client has no byte.
                head.settle()
            if head.in_parts:
                head.owner.paid(head)
        return position

    def _passes(self, tag: int) -> bool:
        """Whether a long frame that has begun goes on to the owner of the turn at the head as it comes."""
        turn = self.turns[0] if self.turns else None
        if turn is None:
            return False
        if tag == _NOTICE:
            turn.kept = None
            return True
        if tag != _RESULT or turn.script is not None:
            return False
        self._follow(turn, tag)
        return True

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

    def _mind_those_behind(self) -> None:
        """The chunk has ended within a reply: is it one that others should not stand behind?"""
        head = self.turns[0]
        if head.shared and head.size > SMALL_BYTES and not self.held:
            self.move_on()
            head.owner.outgrew_limit(head)

    def move_on(self) -> None:
        """The head takes too long, or too much: its shape is trusted no more, and who stands behind goes elsewhere."""
        self.held = True
        for query in self.turns[0].queries:
            query.statement._cost.blame()
        for turn in list(self.turns)[1:]:
            instead = turn.owner.reassign(turn) if turn.shared else None
            if instead is not None:
                turn.pass_to(instead)

    def _row(self, tag: int, length: int, data: bytes, start: int, position: int) -> int:
        """A row or a piece of COPY data at `position`: is it owed? Gives the new `start`."""
        if not self.turns or length < 4 or length > _MAX_LENGTH:
            raise OutOfTurn(f"server sent {chr(tag)!r} of length {length} unasked")
        turn = self.turns[0]
        if tag == _COPY_DATA:
            turn.kept = None
        if turn.script is None:
            self._follow(turn, tag)
            return start
        start = self._say(turn, data, start, position)
        if not turn.script or tag not in turn.script[0].within:
            raise OutOfTurn(f"server sent {chr(tag)!r} out of place")
        if turn.script[0] is TO_THE_END:
            self._follow(turn, tag)
        return start

    @staticmethod
    def _follow(turn: Turn, tag: int) -> None:
        """A frame of the reply to a Query or FunctionCall: can it come there?"""
        at = FOLLOWS.get(turn.at << 8 | tag)
        if at is None:
            raise OutOfTurn(f"server sent {chr(tag)!r} out of place")
        turn.at = at

    def _say(self, turn: Turn, data: bytes, start: int, position: int) -> int:
        """Let a scripted turn say what is PgBeam's to say before the frame at `position`. Gives the new `start`."""
        if not turn.script or turn.script[0].inject is None:
            return start
        if start < position:
            turn.deliver(data[start:position])
        turn.settle()
        return position

    def _frame(self, data: bytes, tag: int, start: int, position: int, end: int) -> int:
        """One whole frame at data[position:end]; data[start:position] is still to be handed to the head.

        Gives the new `start`.
        """
        if not self.turns:
            self._outside(tag, data[position:end])
            return end
        turn = self.turns[0]
        if tag == _NOTICE or tag == _NOTIFICATION:
            turn.kept = None  # it would not be true of another reply
        if tag == _NOTICE:
            return start
        if tag == _NOTIFICATION:
            if not self._aside.notified(data[position:end]):
                return start
            return self._skip(turn, data, start, position, end)
        if tag == _STATUS:
            return self._parameter(turn, data, start, position, end)
        if tag == _READY:
            self._finish(turn, data, start, position, end)
            return end
        if tag == _ERROR and not turn.began and self._is_taken_back(turn, _cut(data, position, end)):
            turn.fate = Fate.TAKEN_BACK
            turn.plain = None
            if turn.script is None:
                self._follow(turn, tag)
            else:
                turn.script.clear()
            return end
        if turn.script is None:
            self._raw(turn, tag, data, position, end)
        else:
            start = self._step(turn, tag, data, start, position, end)
        if tag == _COPY_IN or tag == _COPY_BOTH:
            turn.deliver(data[start:end])
            turn.copying = True
            # What follows an Execute that turned out to be a COPY, a Sync above all, the server has swallowed.
            turn.ended = turn.simple or bool(turn.script and turn.script[-1] is TO_THE_END)
            turn.owner.copy_in(turn)
            return end
        return start

    @staticmethod
    def _is_taken_back(turn: Turn, error: bytes) -> bool:
        """Whether the owner, who has no byte of the reply yet, will have it sent once more elsewhere."""
        if not (turn.shared or turn.outside or turn.elsewhere) or _is_out_of_date(turn, error):
            return False
        return turn.owner.retry_on_error(turn, error)

    def _outside(self, tag: int, frame: bytes) -> None:
        if tag not in (_STATUS, _NOTIFICATION, _NOTICE, _ERROR):
            raise OutOfTurn(f"server sent {chr(tag)!r} unasked")
        if tag == _STATUS:
            self._aside.parameter_status(frame)
        self._aside.unasked(tag, frame)

    def _parameter(self, turn: Turn, data: bytes, start: int, position: int, end: int) -> int:
        turn.kept = None
        frame = data[position:end]
        shown = self._aside.parameter_status(frame)
        if shown == frame:
            return start
        if start < position:
            turn.deliver(data[start:position])
        if shown is not None:
            turn.deliver(shown)
        return end

    def _finish(self, turn: Turn, data: bytes, start: int, position: int, end: int) -> None:
        if end - position != 6 or data[end - 1] not in _STATUSES:
            raise OutOfTurn("server was ready in a state that there is not")
        if turn.script is not None:
            start = self._say(turn, data, start, position)
        if (turn.script or turn.script is None) and not self._complete(turn):
            raise OutOfTurn("server was ready before its reply was complete")
        if not turn.ended and not turn.syncs:
            raise OutOfTurn("server was ready before it was asked")
        if start < position:
            turn.deliver(data[start:position])
        self._left -= _OF_A_TURN
        self.turns.popleft()
        self.held = False
        self.status = data[end - 1 : end]
        self._aside.told_later()
        turn.owner.turn_over(turn, data[position:end])

    @staticmethod
    def _complete(turn: Turn) -> bool:
        """Whether the reply to a Query or FunctionCall may end here; False in the middle of a script."""
        return turn.at in COMPLETE and (turn.script is None or turn.script[0] is TO_THE_END)

    def _raw(self, turn: Turn, tag: int, data: bytes, position: int, end: int) -> None:
        self._follow(turn, tag)
        if tag == _COMPLETE:
            if turn.tags and _is_one_statement(turn):
                raise OutOfTurn("server completed one statement twice")
            turn.tags.append(_command_tag(data, position, end))
        elif tag == _ERROR:
            turn.error = _cut(data, position, end)

    def _step(self, turn: Turn, tag: int, data: bytes, start: int, position: int, end: int) -> int:
        """A frame of a scripted turn."""
        script = turn.script
        assert script is not None
        start = self._say(turn, data, start, position)
        if tag == _ERROR:
            return self._failed(turn, data, start, position, end)
        if not script:
            raise OutOfTurn(f"server sent {chr(tag)!r} unasked")
        step = script[0]
        if tag not in step.ends:
            if tag not in step.within:
                raise OutOfTurn(f"server sent {chr(tag)!r} out of place")
            if step is TO_THE_END:
                self._follow(turn, tag)
            if tag == _COMPLETE:
                turn.tags.append(_command_tag(data, position, end))
            return start if step.forward else self._skip(turn, data, start, position, end)
        script.popleft()
        if tag == _COMPLETE and step.forward:  # else it is of PgBeam's own
            turn.tags.append(_command_tag(data, position, end))
        if step.starts:
            done = turn.tags[-1] if tag == _COMPLETE else b""
            if turn.finished is None:
                turn.finished = [done]
            else:
                turn.finished.append(done)
        if not step.forward:
            start = self._skip(turn, data, start, position, end)
        if step.effect is not None:
            step.effect(True)
        error = step.sees(data[position:end]) if step.sees is not None else None
        if error is not None:
            if start < position:
                turn.deliver(data[start:position])
            start = end
            turn.end_in(error)
        return start

    @staticmethod
    def _skip(turn: Turn, data: bytes, start: int, position: int, end: int) -> int:
        """The frame is not for the owner. Gives the new `start`."""
        if start < position:
            turn.deliver(data[start:position])
        return end

    def _failed(self, turn: Turn, data: bytes, start: int, position: int, end: int) -> int:
        """The server skips to the next Sync: of the script nothing is owed any more."""
        assert turn.script is not None
        if turn.again is not None:
            if _is_out_of_date(turn, _cut(data, position, end)):
                turn.refused = _cut(data, position, end)
                if start < position:
                    turn.deliver(data[start:position])
                turn.script.clear()
                turn.fate, turn.plain = Fate.STALE, None
                return end
            turn.again = None
        turn.error = _cut(data, position, end)
        if not turn.script and turn.finished:
            turn.finished.pop()  # it is the commit that failed: the last execution is told
        named = turn.named
        if turn.script:
            step = turn.script[0]
            named = step.named or named
            if step.effect is not None:
                step.effect(False)
            if step.instead_of_error is not None:
                turn.error = step.instead_of_error
        if named is not None:
            turn.error = in_clients_words(turn.error, named)
        if turn.error != _cut(data, position, end):
            if start < position:
                turn.deliver(data[start:position])
            turn.deliver(turn.error)
            start = end
        if turn.script and turn.script[-1] is TO_THE_END and turn.script[0] is not TO_THE_END:
            # The server skips the Query too: only a Sync will make it ready.
            turn.ended = False
        turn.script.clear()
        turn.skipping = turn.spoilt = not turn.ended
        if turn.skipping:
            if start < end:
                turn.deliver(_cut(data, start, end))
            turn.owner.skips(turn)
            return end
        return start


def _cut(data: bytes, start: int, end: int) -> bytes:
    """data[start:end]; where that is all of it, which may be large, compiled code would copy it."""
    return data if start == 0 and end == len(data) else data[start:end]


def _is_one_statement(turn: Turn) -> bool:
    """Whether the server cannot have seen several: a backslash may mean something else to it."""
    if len(turn.queries) != 1 or turn.at == FREE:
        return False
    statement = turn.queries[0].statement
    return statement.plain and b"\\" not in statement.text


def _is_out_of_date(turn: Turn, error: bytes) -> bool:
    """Whether that may be because of what the server had prepared for it, and it is worth another try."""
    script = turn.script
    if turn.again is None or not script:
        return False
    described = turn.at_flush and not turn.began and script[0].ends in _DESCRIBED
    return (described or script[0].ends == BIND.ends) and outdated.may_be(error)


def _command_tag(data: bytes, position: int, end: int) -> bytes:
    """The tag in a CommandComplete; a frame too short to hold one has an empty one."""
    return data[position + 5 : max(position + 5, end - 1)]
