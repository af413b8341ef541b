"""Writes go to the loop at the end of its iteration: what becomes of them when a socket is of no use by then."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from twisted.logger import globalLogPublisher

from pgbeam_core.api.query import Role, Target
from pgbeam_core.net import transport
from pgbeam_core.net.streams import Flusher, Stream

uvloop = pytest.importorskip("uvloop")


@contextmanager
def log_of(namespace: str) -> Iterator[list[object]]:
    """What is logged there meanwhile."""
    events: list[object] = []

    def heard(event: dict[str, Any]) -> None:
        if event["log_namespace"] == namespace:
            events.append(event)

    globalLogPublisher.addObserver(heard)
    try:
        yield events
    finally:
        globalLogPublisher.removeObserver(heard)


class Transport:
    """As uvloop's: once it is closed, writing to it raises."""

    def __init__(self) -> None:
        self.closed = False
        self.got = b""

    def write(self, data: bytes) -> None:
        if self.closed:
            raise RuntimeError("the handler is closed")
        self.got += data

    def abort(self) -> None:
        self.closed = True


def test_a_socket_that_cannot_be_written_to_keeps_nothing_from_others() -> None:
    """What was written to it is dropped, what others wrote goes out."""
    calls: list[Callable[[], None]] = []
    flusher, failed, well = Flusher(calls.append), Transport(), Transport()
    streams = [Stream(failed, flusher), Stream(well, flusher)]
    for stream in streams:
        stream.write(b"x")
    failed.closed = True
    (flush,) = calls
    flush()
    assert (failed.got, well.got) == (b"", b"x")
    streams[0].write(b"more")
    assert len(calls) == 1


class _Reactor:
    """As Twisted's on that loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._asyncioEventloop = loop
        self.callLater = loop.call_later
        self.seconds = loop.time


class _Greets:
    """Writes at once, as whoever connects to PostgreSQL does, and once more when it has been given up."""

    transport: Any = None

    def makeConnection(self, stream: Stream) -> None:
        self.transport = stream
        stream.write(b"hello")

    def dataReceived(self, _data: bytes) -> None:
        raise AssertionError("nobody answers")

    def connectionLost(self, _reason: object) -> None:
        pass


async def _give_up(port: int, turns: int, *, encrypted: bool) -> None:
    """Connect, and give it up after so many turns of the loop."""
    failed: list[object] = []
    reactor, protocol = _Reactor(asyncio.get_running_loop()), _Greets()
    target = Target("shop", Role.PRIMARY, "127.0.0.1", port)
    connecting = transport.connect(reactor, target, protocol, encrypted=encrypted)
    connecting.addErrback(failed.append)
    for _ in range(turns):
        await asyncio.sleep(0)
    connecting.cancel()
    await asyncio.sleep(0.02)
    if protocol.transport is None:
        return
    if failed:
        protocol.transport.write(b"more")
    else:
        protocol.transport.loseConnection()
    await asyncio.sleep(0.01)


@pytest.mark.parametrize("encrypted", [False, True])
def test_a_connection_that_is_given_up_as_it_is_made_harms_nobody(encrypted: bool) -> None:
    """Nothing is written to a transport that is closed, neither at once nor by who does not know of that yet."""
    errors: list[object] = []

    def run() -> None:
        loop = uvloop.new_event_loop()
        loop.set_exception_handler(lambda _loop, context: errors.append(context))
        with socket.create_server(("127.0.0.1", 0)) as listener:
            for turns in range(12):
                loop.run_until_complete(_give_up(listener.getsockname()[1], turns, encrypted=encrypted))
        loop.close()

    # In a thread of its own: the tests' own loop is running.
    with ThreadPoolExecutor(1) as pool, log_of("pgbeam_core.net.streams") as logged:
        pool.submit(run).result()
    assert (errors, logged) == ([], [])
