"""Writes go to the loop at the end of its iteration: what becomes of them when a socket has failed meanwhile."""

from __future__ import annotations

from collections.abc import Callable

from pgbeam_core.net.streams import Flusher, Stream


class Transport:
    """As uvloop's: once it is closed, writing to it raises."""

    def __init__(self) -> None:
        self.closed = False
        self.got = b""

    def is_closing(self) -> bool:
        return self.closed

    def write(self, data: bytes) -> None:
        if self.closed:
            raise RuntimeError("the handler is closed")
        self.got += data


def test_a_socket_that_has_failed_keeps_nothing_from_others() -> None:
    """One that nobody has heard of yet: what was written to it is dropped, what others wrote goes out."""
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
