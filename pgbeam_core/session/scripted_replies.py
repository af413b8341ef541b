"""The reply to a request of the extended protocol: each frame is held against the step of the script that is due.

PgBeam has a part in such a reply. It says itself what the server was not asked, keeps to itself what the client did not
ask, and learns from each step that ends what the server and the client now have.
"""

from __future__ import annotations

from pgbeam_core.session import outdated
from pgbeam_core.session.progress import Progress
from pgbeam_core.session.simple_replies import command_tag, follow
from pgbeam_core.session.steps import BIND, DESCRIBE, TO_THE_END, in_clients_words
from pgbeam_core.session.turns import Fate, OutOfTurn, Turn
from pgbeam_core.wire.frames import part_of

_COMPLETE, _ERROR = b"CE"
_DESCRIBED = (b"t", DESCRIBE.ends)
"""What a Describe of a statement has for a reply."""

# In each of these, data[start:position] is for the owner and has not been delivered yet, the frame that has come is
# data[position:end], and the new `start` is given back: one `deliver` is for as many frames as can be.


def say_what_is_due(turn: Turn, data: bytes, start: int, position: int) -> int:
    """Say what is PgBeam's to say before the frame at `position`."""
    if not turn.script or turn.script[0].inject is None:
        return start
    if start < position:
        turn.deliver(data[start:position])
    turn.inject_due()
    return position


def leave_out(turn: Turn, data: bytes, start: int, position: int, end: int) -> int:
    """The frame is not for the owner."""
    if start < position:
        turn.deliver(data[start:position])
    return end


def take_rows(turn: Turn, tag: int, data: bytes, start: int, position: int) -> int:
    """A row or a piece of COPY data begins at `position`, and more of them may follow it. Raises OutOfTurn."""
    start = say_what_is_due(turn, data, start, position)
    if not turn.script or tag not in turn.script[0].within:
        raise OutOfTurn(f"server sent {chr(tag)!r} out of place")
    if turn.script[0] is TO_THE_END:
        follow(turn, tag)
    return start


def take_frame(turn: Turn, tag: int, data: bytes, start: int, position: int, end: int) -> int:
    """Any other frame but those that may come everywhere, and ReadyForQuery. Raises OutOfTurn."""
    script = turn.script
    assert script is not None
    start = say_what_is_due(turn, data, start, position)
    if tag == _ERROR:
        return _take_error(turn, data, start, position, end)
    if not script:
        raise OutOfTurn(f"server sent {chr(tag)!r} unasked")
    step = script[0]
    if tag not in step.ends:
        if tag not in step.within:
            raise OutOfTurn(f"server sent {chr(tag)!r} out of place")
        if step is TO_THE_END:
            follow(turn, tag)
        if tag == _COMPLETE:
            turn.tags.append(command_tag(data, position, end))
        return start if step.forward else leave_out(turn, data, start, position, end)
    script.popleft()
    if tag == _COMPLETE and step.forward:  # else it is of PgBeam's own
        turn.tags.append(command_tag(data, position, end))
    if step.starts:
        command = turn.tags[-1] if tag == _COMPLETE else b""
        if turn.finished is None:
            turn.finished = [command]
        else:
            turn.finished.append(command)
    if not step.forward:
        start = leave_out(turn, data, start, position, end)
    if step.effect is not None:
        step.effect(True)
    error = step.sees(data[position:end]) if step.sees is not None else None
    if error is not None:
        start = leave_out(turn, data, start, position, end)
        turn.end_in(error)
    return start


def _take_error(turn: Turn, data: bytes, start: int, position: int, end: int) -> int:
    """The server skips to the next Sync: of the script nothing is owed any more."""
    script = turn.script
    assert script is not None
    error = part_of(data, position, end)
    if turn.again is not None:
        if is_out_of_date(turn, error):
            turn.refused = error
            start = leave_out(turn, data, start, position, end)
            script.clear()
            turn.fate, turn.form = Fate.STALE, None
            return start
        turn.again = None
    turn.error = _error_of_step(turn, error)
    if turn.error != error:
        start = leave_out(turn, data, start, position, end)
        turn.deliver(turn.error)
    if script and script[-1] is TO_THE_END and script[0] is not TO_THE_END:
        # The server skips the Query too: only a Sync will make it ready.
        turn.enter(Progress.SKIPPING)
    script.clear()
    if not turn.ended:
        turn.enter(Progress.SKIPPING)
        if start < end:
            turn.deliver(part_of(data, start, end))
        turn.owner.server_skips(turn)
        return end
    return start


def _error_of_step(turn: Turn, error: bytes) -> bytes:
    """What the client is told in place of that error, in which the step that is due has ended."""
    if not turn.script:
        if turn.finished:
            turn.finished.pop()  # it is the commit that failed: the last execution is told
        return error if turn.renamed is None else in_clients_words(error, turn.renamed)
    step = turn.script[0]
    if step.effect is not None:
        step.effect(False)
    if step.instead_of_error is not None:
        error = step.instead_of_error
    renamed = step.renamed or turn.renamed
    return error if renamed is None else in_clients_words(error, renamed)


def is_out_of_date(turn: Turn, error: bytes) -> bool:
    """Whether that may be because of what the server had prepared for it, and it is worth another try."""
    script = turn.script
    if turn.again is None or turn.finished or not script:
        return False
    described = turn.at_flush and not turn.began and script[0].ends in _DESCRIBED
    return (described or script[0].ends == BIND.ends) and outdated.may_be(error)
