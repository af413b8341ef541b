"""Large messages of many clients at once: there is a bound for all of them, and each one gets through."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock

from pgbeam_core.session.large_messages import LOOK_S, MOST_BYTES, PROGRESS_BYTES, TOO_SLOW, LargeMessages
from tests.session.stage import Stage

MB = 1 << 20


class Sender:
    """A client whose message grows."""

    def __init__(self, unfinished: LargeMessages) -> None:
        self._unfinished = unfinished
        self.client: Any = self
        self.size = 0
        self.reads = self.listens = True
        self.gone: str | None = None

    def send(self, size: int) -> bool:
        """More of it has come. True if more may come."""
        self.size += size
        self.read_on()
        return self.reads

    def end(self) -> None:
        """It is all there, or its client has left."""
        self.size = 0
        self.read_on()

    def read_on(self) -> None:
        """See `Reader`."""
        self.reads = self._unfinished.may_read(self, self.size)

    def hang_up(self, reason: str, farewell: bytes) -> None:
        """See `ClientConnection`."""
        self.gone = reason
        self.end()


def senders(clock: Clock, count: int) -> list[Sender]:
    """With room for 100 MB."""
    unfinished = LargeMessages(clock.callLater, 100 * MB)
    return [Sender(unfinished) for _ in range(count)]


def test_within_the_bound_everybody_is_read() -> None:
    """Nothing is asked of anybody, and no timer runs."""
    clock = Clock()
    assert all(sender.send(10 * MB) for sender in senders(clock, 10))
    assert clock.getDelayedCalls() == []


def test_beyond_it_the_oldest_is_read_alone() -> None:
    """So there is one that can come to its end, however large it is; then the others go on in order."""
    first, second, third = senders(Clock(), 3)
    assert first.send(60 * MB)
    assert second.send(30 * MB)
    assert not third.send(20 * MB)
    assert not second.send(1 * MB)
    assert first.send(500 * MB)
    assert not second.reads
    first.end()
    assert second.reads
    assert third.reads


def test_one_that_sends_no_more_is_not_waited_for() -> None:
    """It is told so with 53200 after ten seconds without progress, and only while others wait."""
    clock = Clock()
    first, second = senders(clock, 2)
    first.send(101 * MB)
    clock.advance(10 * LOOK_S)
    assert first.gone is None
    assert not second.send(10 * MB)
    clock.advance(LOOK_S)
    first.send(PROGRESS_BYTES)
    clock.advance(LOOK_S)
    assert first.gone is None
    clock.advance(LOOK_S)
    assert first.gone == TOO_SLOW
    assert second.reads
    second.end()
    clock.advance(LOOK_S)
    assert clock.getDelayedCalls() == []


def test_one_whose_server_is_slow_lets_others_go_first() -> None:
    """It is not its client that does not go on."""
    clock = Clock()
    first, second = senders(clock, 2)
    first.send(90 * MB)
    first.listens = False
    second.send(20 * MB)
    clock.advance(2 * LOOK_S)
    clock.advance(LOOK_S)
    assert first.gone is None
    assert second.reads


def test_a_client_that_leaves_makes_room() -> None:
    """With conversations as they are: what it had sent is given back at once."""
    stage = Stage()
    unfinished = stage.large_messages
    stage.send(b"Q" + (100 * MB).to_bytes(4) + bytes(2 * MB))
    assert unfinished.size > 2 * MB
    stage.conversation.gone("left")
    assert unfinished.size == 0


def test_a_message_that_is_all_there_is_counted_no_more() -> None:
    """It is on its way to the server."""
    stage = Stage()
    data = b"Q" + (3 * MB + 4).to_bytes(4) + b"x" * (3 * MB - 1) + b"\0"
    stage.send(data[: 2 * MB])
    assert stage.large_messages.size == 2 * MB
    stage.send(data[2 * MB :])
    assert stage.large_messages.size == 0
    assert MOST_BYTES > 3 * MB


def test_memory_is_given_back_when_much_was_let_go() -> None:
    """Once for all that goes together, and not for what is little."""
    clock = Clock()
    unfinished = LargeMessages(clock.callLater)
    given: list[float] = []
    unfinished.give_back = lambda: given.append(clock.seconds())
    readers: list[Any] = [Sender(unfinished) for _ in range(4)]
    for reader in readers:
        unfinished.may_read(reader, 20 * MB)
    unfinished.may_read(readers[0], 0)
    clock.advance(10)
    assert given == []
    for reader in readers[1:]:
        unfinished.may_read(reader, 0)
    clock.advance(10)
    assert len(given) == 1
