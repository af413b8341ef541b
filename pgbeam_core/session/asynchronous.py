"""What a server says without being asked: ParameterStatus, NotificationResponse, notices, and its goodbye.

PostgreSQL may say these at any time, in the middle of a reply too. They concern whoever holds the server, who need not
be the one whose reply it is.
"""

from __future__ import annotations

from typing import Protocol

from pgbeam_core.session.scripted_replies import leave_out
from pgbeam_core.session.turns import OutOfTurn, Turn

_ERROR, _NOTICE, _STATUS, _NOTIFICATION = b"ENSA"
_MAY_COME_UNASKED = frozenset((_STATUS, _NOTIFICATION, _NOTICE, _ERROR))


class Asynchronous(Protocol):
    """Takes what a server sends without being asked."""

    def parameter_status(self, frame: bytes) -> bytes | None:
        """A parameter changed. What the owner of the turn at the head may see of that: the frame, another, or None."""

    def unasked(self, tag: int, frame: bytes) -> None:
        """A frame outside any turn: S, A or N, or the E with which a server says goodbye."""

    def notified(self, frame: bytes) -> bool:
        """A NotificationResponse came in a turn: was it told to somebody else than the owner of that turn?"""

    def turn_is_over(self) -> None:
        """A turn is over; parameters that changed in a turn of PgBeam's own can be told to whom they concern."""


def outside_turns(to: Asynchronous, tag: int, frame: bytes) -> None:
    """A frame came while nothing was owed. Raises OutOfTurn for one that only a reply may have."""
    if tag not in _MAY_COME_UNASKED:
        raise OutOfTurn(f"server sent {chr(tag)!r} unasked")
    if tag == _STATUS:
        to.parameter_status(frame)
    to.unasked(tag, frame)


def within_turn(to: Asynchronous, turn: Turn, tag: int, data: bytes, start: int, position: int, end: int) -> int:
    """A ParameterStatus or NotificationResponse in a reply, at data[position:end]; start as in `scripted_replies`."""
    turn.kept = None  # it would not be true of another reply
    frame = data[position:end]
    if tag == _NOTIFICATION:
        return leave_out(turn, data, start, position, end) if to.notified(frame) else start
    shown = to.parameter_status(frame)
    if shown == frame:
        return start
    start = leave_out(turn, data, start, position, end)
    if shown is not None:
        turn.deliver(shown)
    return start
