"""A relay between two who speak over TCP, on which a network goes wrong when a test says so."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any

HOST = "127.0.0.1"
_CHUNK = 1 << 16
HARMLESS = ("delay", "bytes", "pieces")
ENDING = ("close", "reset", "truncate", "half close")
SILENT = ("silence", "stall")
KINDS = (*HARMLESS, *ENDING, *SILENT)


@dataclass(frozen=True)
class Fault:
    """What goes wrong.

    delay: each chunk is late. bytes, pieces: packets of one byte, or of a few. close, reset: both sides are hung up on.
    truncate: that in the middle of a message of the server's. half close: the server's side has said its last word, and
    still hears. silence: nothing is read any more on either side, and nobody is hung up on. stall: that in the middle
    of a message of the server's.
    """

    kind: str
    after: int = 0
    """Bytes of the server's that get through first."""

    @property
    def delayed(self) -> int:
        """So many bytes of the server's get through until it begins."""
        return self.after or (3 if self.kind in ("truncate", "stall") else 0)


class Line:
    """One connection through the relay: `near` has called, `far` was called."""

    def __init__(self, relay: Relay, near: asyncio.StreamWriter, far: asyncio.StreamWriter) -> None:
        self.relay, self.near, self.far = relay, near, far
        self.fault: Fault | None = None
        """What is wrong with it."""
        self.armed: Fault | None = None
        self._left = 0
        """Bytes that get through until what is armed begins."""
        self._gone = asyncio.Event()
        self._heard = b""
        """The end of what went up, in which a trigger may lie."""
        if relay.fault is not None:
            self.arm(relay.fault)

    def arm(self, fault: Fault) -> None:
        """It begins when that many bytes have got through, mostly at once."""
        self._left = fault.delayed
        if self._left:
            self.armed = fault
        else:
            self._begin(fault)

    def _begin(self, fault: Fault) -> None:
        self.fault, self.armed = fault, None
        if fault.kind in ("close", "truncate"):
            self.hang_up()
        elif fault.kind == "reset":
            self.hang_up(reset=True)
        elif fault.kind == "half close":
            with contextlib.suppress(OSError, RuntimeError):
                self.near.write_eof()

    def hang_up(self, *, reset: bool = False) -> None:
        """On both sides."""
        self._gone.set()
        for writer in (self.near, self.far):
            if reset:
                with contextlib.suppress(OSError):
                    writer.get_extra_info("socket").setsockopt(
                        socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                    )
                writer.transport.abort()
            else:
                writer.close()

    async def up(self, data: bytes) -> None:
        """Bytes for the server. A trigger among them gets through, and then the fault begins."""
        self._heard = (self._heard + data)[-8192:]
        await self._unless_silent()
        if self._gone.is_set():
            return
        await self._send(self.far, data)
        trigger = self.relay.trigger
        if trigger is not None and trigger[0] in self._heard:
            self._heard = b""
            self.relay.triggered.set()
            self.arm(trigger[1])

    async def down(self, data: bytes) -> None:
        """Bytes for the client. Nothing comes behind what did not get through."""
        if self._gone.is_set():
            return
        if self.armed is not None:
            passed, data = data[: self._left], data[self._left :]
            self._left -= len(passed)
            await self._send(self.near, passed)
            if data and self.armed is not None:
                self._begin(self.armed)
        await self._unless_silent()
        if data and not self._gone.is_set() and (self.fault is None or self.fault.kind in HARMLESS):
            await self._send(self.near, data)

    async def _unless_silent(self) -> None:
        """Nobody reads what is sent then."""
        if self.fault is not None and self.fault.kind in SILENT:
            await self._gone.wait()

    async def _send(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        """At once, late, or in pieces."""
        fault, chance = self.fault, self.relay.random
        kind = None if fault is None else fault.kind
        if kind == "delay":
            await asyncio.sleep(chance.random() * 0.05)
        if kind not in ("bytes", "pieces"):
            writer.write(data)
            await writer.drain()
            return
        position = 0
        while position < len(data):
            # Large replies would take minutes byte by byte: it is the beginning that has the seams.
            size = 1 if kind == "bytes" and position < 600 else chance.randint(1, 40 if position < 4000 else 20_000)
            writer.write(data[position : position + size])
            await writer.drain()
            await asyncio.sleep(0)
            position += size


class Relay:
    """Listens on a port of its own and passes on to `to_port`, in a thread of its own, until it is closed."""

    def __init__(self, to_port: int, seed: int = 0, *, host: str = HOST, port: int = 0) -> None:
        self.to_port = to_port
        self.random = random.Random(seed)
        self.fault: Fault | None = None
        """Of connections from now on."""
        self.trigger: tuple[bytes, Fault] | None = None
        self.triggered = threading.Event()
        self.lines: set[Line] = set()
        self.accepted = 0
        self.host, self.port = host, port
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._ready.wait(10), "the relay does not start"

    def begin(self, fault: Fault) -> None:
        """It goes wrong from now on, for all connections that there are and those to come."""
        self._call(partial(self._begin, fault))

    def at(self, words: bytes, fault: Fault) -> None:
        """It goes wrong for each connection as soon as these words have gone up on it."""
        self.triggered.clear()
        self._call(partial(setattr, self, "trigger", (words, fault)))

    def heal(self) -> None:
        """All is well for connections to come; those on which something is wrong are hung up on."""
        self._call(self._heal)

    def close(self) -> None:
        """Hang up on everybody."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def _begin(self, fault: Fault) -> None:
        self.fault = fault
        for line in list(self.lines):
            line.arm(fault)

    def _heal(self) -> None:
        self.fault = self.trigger = None
        for line in list(self.lines):
            if line.fault is not None and line.fault.kind not in HARMLESS:
                line.hang_up()
            line.fault = line.armed = None

    def _call(self, what: Callable[[], Any]) -> None:
        done = threading.Event()

        def run() -> None:
            what()
            done.set()

        self._loop.call_soon_threadsafe(run)
        assert done.wait(10), "the relay does not answer"

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._connected, self.host, self.port, backlog=512)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for line in list(self.lines):
            line.hang_up(reset=True)
        if tasks := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(tasks, timeout=5)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        with contextlib.suppress(OSError):
            far_reader, far_writer = await asyncio.open_connection(HOST, self.to_port)
            line = Line(self, writer, far_writer)
            self.lines.add(line)
            try:
                await asyncio.gather(
                    _pass_on(reader, line, far_writer, line.up), _pass_on(far_reader, line, writer, line.down)
                )
            finally:
                self.lines.discard(line)
                line.hang_up()
            return
        writer.transport.abort()


async def _pass_on(
    reader: asyncio.StreamReader,
    line: Line,
    writer: asyncio.StreamWriter,
    through: Callable[[bytes], Coroutine[Any, Any, None]],
) -> None:
    """Until one side has said its last word, which the other is told, unless the line is dead."""
    with contextlib.suppress(OSError):
        while data := await reader.read(_CHUNK):
            await through(data)
    if line.fault is None or line.fault.kind not in SILENT:
        with contextlib.suppress(OSError, RuntimeError):
            writer.write_eof()
