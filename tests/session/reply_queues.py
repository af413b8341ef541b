"""Queues of turns whose owners note what they get, and a frame of each type to feed them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

from pgbeam_core.session.progress import Progress
from pgbeam_core.session.replies import ReplyQueue
from pgbeam_core.session.steps import Owed
from pgbeam_core.session.turns import Turn
from pgbeam_core.wire import backend, copy_messages
from tests.session.stage import ONE, READY, THREE, TWO, copy_data, done, error

GOLDEN = Path(__file__).parent.parent / "wire" / "golden"

NOTICE = backend.notice_response("NOTICE", "00000", "by the way")

STATUS = backend.parameter_status("TimeZone", "UTC")

NOTIFICATION = b"A\x00\x00\x00\x0c\x00\x00\x00\x01a\x00b\x00"

ROW = backend.data_row(["one"])

DESCRIPTION = backend.row_description([("a", 25, -1)])

PARAMETERS = backend.ParameterDescription(()).to_bytes()

COPY_IN = b"G\x00\x00\x00\x07\x00\x00\x00"

COPY_OUT = b"H\x00\x00\x00\x07\x00\x00\x00"

COPY_BOTH = b"W\x00\x00\x00\x07\x00\x00\x00"

FUNCTION_RESULT = b"V\x00\x00\x00\x08\xff\xff\xff\xff"
EVERY_FRAME = {
    "1": ONE, "2": TWO, "3": THREE, "A": NOTIFICATION, "C": done(), "D": ROW, "E": error(), "G": COPY_IN,
    "H": COPY_OUT, "I": backend.EMPTY_QUERY_RESPONSE, "N": NOTICE, "R": backend.AUTHENTICATION_OK, "S": STATUS,
    "T": DESCRIPTION, "V": FUNCTION_RESULT, "W": COPY_BOTH, "Z": READY, "c": copy_messages.COPY_DONE,
    "d": copy_data(b"x"), "n": backend.NO_DATA, "s": backend.PORTAL_SUSPENDED, "t": PARAMETERS,
    "K": b"K\x00\x00\x00\x0c" + bytes(8), "v": b"v\x00\x00\x00\x0c" + bytes(8), "?": b"?\x00\x00\x00\x04",
}  # fmt: skip


@dataclass
class Owner:
    """Notes what it gets and when its turns end."""

    got: bytes = b""
    over: list[bytes] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    copies: int = 0
    skipped: int = 0

    def deliver(self, data: bytes) -> None:
        assert not self.over or self.lost, "a byte after the end"
        self.got += data

    def copy_in(self, turn: Turn) -> None:
        self.copies += 1
        turn.enter(Progress.ENDED)

    def server_skips(self, turn: Turn) -> None:
        self.skipped += 1
        turn.enter(Progress.ENDED)

    def turn_over(self, turn: Turn, ready: bytes) -> None:
        self.over.append(ready)

    def turn_lost(self, turn: Turn, reason: str) -> None:
        self.lost.append(reason)


class Aside:
    """Takes what nobody asked for."""

    def __init__(self, *, shows: bool = True) -> None:
        self.shows = shows
        self.frames: list[bytes] = []
        self.statuses: list[bytes] = []

    def parameter_status(self, frame: bytes) -> bytes | None:
        self.statuses.append(frame)
        return frame if self.shows else None

    def unasked(self, tag: int, frame: bytes) -> None:
        self.frames.append(frame)

    def notified(self, frame: bytes) -> bool:
        return False

    def turn_is_over(self) -> None:
        pass


def queue(
    *scripts: list[Owed] | None, aside: Aside | None = None, ended: bool = True
) -> tuple[ReplyQueue, list[Owner]]:
    """A queue that owes one turn per script; None is a turn of the simple protocol."""
    replies, owners = ReplyQueue(aside or Aside()), []
    for script in scripts:
        owners.append(Owner())
        steps = None if script is None else deque(script)
        replies.expect(Turn(owners[-1], simple=script is None, script=steps, ended=ended))
    return replies, owners


def feed(replies: ReplyQueue, data: bytes, size: int) -> None:
    """Feed it in pieces of that many bytes."""
    for start in range(0, len(data), size):
        replies.feed(data[start : start + size])
