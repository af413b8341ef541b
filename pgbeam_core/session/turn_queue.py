"""The turns that a server owes, and which of them a frame belongs to.

- A server answers in the order it was asked. Turns form a queue; every frame belongs to the turn at its head, except
  ParameterStatus, NotificationResponse and notices outside a turn, which nobody asked for.
- A turn ends with ReadyForQuery and with nothing else.
- A frame that nobody is owed, a step that ends twice, a tag unknown or out of place: `OutOfTurn`.

What must be kept in sync: the steps in `turns` and the requests that `extended` writes.
"""

from __future__ import annotations

from collections import deque

from pgbeam_core.api._bookkeeping import SMALL_BYTES
from pgbeam_core.session import scripted_replies, simple_replies
from pgbeam_core.session.asynchronous import Asynchronous, outside_turns, within_turn
from pgbeam_core.session.progress import Progress
from pgbeam_core.session.steps import TO_THE_END
from pgbeam_core.session.turns import Fate, OutOfTurn, Turn
from pgbeam_core.wire.frames import MAX_LENGTH, part_of

_COPY_DATA = ord("d")
_ERROR, _READY, _NOTICE, _STATUS, _NOTIFICATION, _FUNCTION_RESULT = b"EZNSAV"
_COPY_IN, _COPY_BOTH = b"GW"
_STATUSES = frozenset(b"ITE")


class TurnQueue:
    """The turns a server owes, oldest first. Takes frames one by one; `ReplyQueue` finds them in what came.

    Methods that give a `start`: data[start:position] is for the head and has not been delivered yet, and the new one
    is given. So one `deliver` is for as many frames as can be.
    """

    def __init__(self, asynchronous: Asynchronous) -> None:
        self.turns: deque[Turn] = deque()
        self.status = b"I"
        """The transaction status of the last ReadyForQuery: I, T or E."""
        self.congested = False
        """The turn at the head is one that no other should stand behind."""
        self._asynchronous = asynchronous

    def expect(self, turn: Turn) -> None:
        """The request of this turn goes out now."""
        self.turns.append(turn)

    def reassign_those_behind(self) -> None:
        """The head takes too long, or too much: its shape is trusted no more, and who stands behind goes elsewhere."""
        self.congested = True
        for query in self.turns[0].queries:
            query.statement._cost.blame()
        for turn in list(self.turns)[1:]:
            instead = turn.owner.reassign(turn) if turn.shared else None
            if instead is not None:
                turn.pass_to(instead)

    def _end_chunk_within(self) -> None:
        """The chunk has ended within a reply: is it one that others should not stand behind?"""
        head = self.turns[0]
        if head.shared and head.size > SMALL_BYTES and not self.congested:
            self.reassign_those_behind()
            head.owner.outgrew_limit(head)

    def _take_rows(self, tag: int, length: int, data: bytes, start: int, position: int) -> int:
        """A row or a piece of COPY data begins at `position`, and more of them may follow it: are they owed?"""
        if not self.turns or length < 4 or length > MAX_LENGTH:
            raise OutOfTurn(f"server sent {chr(tag)!r} of length {length} unasked")
        turn = self.turns[0]
        if tag == _COPY_DATA:
            turn.kept = None
        if turn.script is None:
            simple_replies.follow(turn, tag)
            return start
        return scripted_replies.take_rows(turn, tag, data, start, position)

    def _may_stream(self, tag: int) -> bool:
        """Whether a long frame that has begun goes on to the owner of the head as it comes."""
        turn = self.turns[0] if self.turns else None
        if turn is None:
            return False
        if tag == _NOTICE:
            turn.kept = None
            return True
        if tag != _FUNCTION_RESULT or turn.script is not None:
            return False
        simple_replies.follow(turn, tag)
        return True

    def _take_frame(self, data: bytes, tag: int, start: int, position: int, end: int) -> int:
        """One whole frame at data[position:end] that is neither a row nor COPY data."""
        if not self.turns:
            outside_turns(self._asynchronous, tag, data[position:end])
            return end
        turn = self.turns[0]
        if tag == _NOTICE:
            turn.kept = None  # it would not be true of another reply
            return start
        if tag == _STATUS or tag == _NOTIFICATION:
            return within_turn(self._asynchronous, turn, tag, data, start, position, end)
        if tag == _READY:
            self._end_turn(turn, data, start, position, end)
            return end
        if tag == _ERROR and not turn.began and _is_retried(turn, part_of(data, position, end)):
            turn.fate = Fate.RETRIED
            turn.form = None
            if turn.script is None:
                simple_replies.follow(turn, tag)
            else:
                turn.script.clear()
            return end
        if turn.script is None:
            simple_replies.take_frame(turn, tag, data, position, end)
        else:
            start = scripted_replies.take_frame(turn, tag, data, start, position, end)
        if tag == _COPY_IN or tag == _COPY_BOTH:
            turn.deliver(data[start:end])
            turn.copying = True
            # What follows an Execute that turned out to be a COPY, a Sync above all, the server has swallowed.
            if not (turn.simple or (turn.script and turn.script[-1] is TO_THE_END)):
                turn.enter(Progress.OPEN)
            turn.owner.copy_in(turn)
            return end
        return start

    def _end_turn(self, turn: Turn, data: bytes, start: int, position: int, end: int) -> None:
        """ReadyForQuery has come, at data[position:end]: the head is owed nothing more."""
        if end - position != 6 or data[end - 1] not in _STATUSES:
            raise OutOfTurn("server was ready in a state that there is not")
        if turn.script is not None:
            start = scripted_replies.say_what_is_due(turn, data, start, position)
        if (turn.script or turn.script is None) and not simple_replies.may_end(turn):
            raise OutOfTurn("server was ready before its reply was complete")
        if not turn.ended and not turn.syncs:
            raise OutOfTurn("server was ready before it was asked")
        if start < position:
            turn.deliver(data[start:position])
        self.turns.popleft()
        self.congested = False
        self.status = data[end - 1 : end]
        self._asynchronous.turn_is_over()
        turn.owner.turn_over(turn, data[position:end])


def _is_retried(turn: Turn, error: bytes) -> bool:
    """Whether the owner, who has no byte of the reply yet, will have it sent once more elsewhere."""
    if not turn.may_be_retried or scripted_replies.is_out_of_date(turn, error):
        return False
    return turn.owner.retry_on_error(turn, error)
