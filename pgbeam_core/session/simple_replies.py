"""The reply to a Query or FunctionCall: every byte of it is the owner's, but not every frame may come everywhere.

What is in such a request PgBeam need not have understood, so nothing tells how many statements answer; the table
`steps.NEXT_PLACE` has what may come after what, whichever they are.
"""

from __future__ import annotations

from pgbeam_core.session.steps import COMPLETE, FREE, NEXT_PLACE, TO_THE_END
from pgbeam_core.session.turns import OutOfTurn, Turn
from pgbeam_core.wire.frames import part_of

_COMPLETE, _ERROR = b"CE"


def follow(turn: Turn, tag: int) -> None:
    """A frame of such a reply has come, or has begun. Raises OutOfTurn where it cannot come."""
    at = NEXT_PLACE.get(turn.at << 8 | tag)
    if at is None:
        raise OutOfTurn(f"server sent {chr(tag)!r} out of place")
    turn.at = at


def take_frame(turn: Turn, tag: int, data: bytes, position: int, end: int) -> None:
    """A frame at data[position:end] that is neither a row nor COPY data. Raises OutOfTurn likewise."""
    follow(turn, tag)
    if tag == _COMPLETE:
        if turn.tags and _is_one_statement(turn):
            raise OutOfTurn("server completed one statement twice")
        turn.tags.append(command_tag(data, position, end))
    elif tag == _ERROR:
        turn.error = part_of(data, position, end)


def may_end(turn: Turn) -> bool:
    """Whether ReadyForQuery may come now; not in the middle of a script, which tells that by its length."""
    return turn.at in COMPLETE and (turn.script is None or turn.script[0] is TO_THE_END)


def command_tag(data: bytes, position: int, end: int) -> bytes:
    """The tag in a CommandComplete; a frame too short to hold one has an empty one."""
    # Compiled, a slice that ends before it begins is no empty one.
    return data[position + 5 : max(position + 5, end - 1)]


def _is_one_statement(turn: Turn) -> bool:
    """Whether the server cannot have seen several: a backslash may mean something else to it."""
    if len(turn.queries) != 1 or turn.at == FREE:
        return False
    statement = turn.queries[0].statement
    return statement.rows_only and b"\\" not in statement.text
