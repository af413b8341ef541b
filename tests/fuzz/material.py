"""What is mutated: conversations as drivers and the tests of differences have them, cut into messages."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from pgbeam_core.errors import ProtocolViolation
from pgbeam_core.wire.frames import FrameCutter
from pgbeam_core.wire.startup import StartupMessage, StartupReader
from tests.behaviour import frames
from tests.behaviour.differential import scripts  # noqa: F401 -- registers the conversations
from tests.behaviour.differential.dsl import CONVERSATIONS, Conversation, HangUp, Say
from tests.wire.samples import read, recorded

Messages = list[bytes]
"""What a client sends after its startup packet, a message each."""

_MORE = [
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "SET application_name = 'liar'",
    "SET pgbeam.debug = on",
    "SET pgbeam.cache = on",
    "/* @pgbeam:cache maxAge=5 */ SELECT 'cached'",
    "SELECT 'one'; SELECT 'two'",
    "DISCARD ALL",
    "",
]


@cache
def conversations() -> list[Messages]:
    """All of them."""
    handmade = [[frames.query(sql)] for sql in _MORE]
    handmade += [
        [frames.extended("SELECT $1::text", b"x"), frames.sync()],
        [frames.parse("SELECT 1", "s"), frames.bind(statement="s"), frames.execute(), frames.flush(), frames.sync()],
        [frames.query("COPY t FROM STDIN"), frames.copy_data(b"1\n"), frames.copy_done()],
        [frames.function_call(1598), frames.sync()],
    ]
    whole = [b"".join(each) for each in handmade] + list(_recorded()) + list(_written())
    return [cut for data in whole if (cut := messages(data))]


def messages(data: bytes) -> Messages:
    """The messages in these bytes, but for what ends a conversation."""
    try:
        return [frame for frame in FrameCutter().feed(data) if frame[:1] not in b"X" and len(frame) < 100_000]
    except ProtocolViolation:
        return []


def _recorded() -> Iterator[bytes]:
    """What real drivers have said."""
    for name in recorded("*.client"):
        reader = StartupReader()
        try:
            packet = reader.feed(read(name))
        except ProtocolViolation:
            continue
        if isinstance(packet, StartupMessage):
            yield reader.rest()


def _written() -> Iterator[bytes]:
    """What the conversations say that are compared with a direct connection's."""
    for talk in CONVERSATIONS.values():
        yield b"".join(_said(talk))


def _said(talk: Conversation) -> Iterator[bytes]:
    script = talk.begin("a")
    try:
        step = next(script)
        while True:
            if isinstance(step, Say | HangUp):
                yield step.data
            step = script.send([])
    except (StopIteration, LookupError, ValueError, AssertionError):  # it wanted to see a reply
        return
