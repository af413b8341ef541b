"""A raw blocking client: one socket, frames in and out, nothing interpreted but the login."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Generator, Mapping
from types import TracebackType
from typing import NamedTuple, Self

from . import frames
from .authentication import md5_answer, scram

TIMEOUT = 10.0
"""Seconds to wait for a frame before the peer counts as silent."""


class Frame(NamedTuple):
    """One message of the server."""

    tag: bytes
    body: bytes


class Closed(Exception):
    """The peer closed the connection; `rest` is what came of an unfinished frame."""

    def __init__(self, rest: bytes) -> None:
        super().__init__(f"connection closed, {len(rest)} bytes of an unfinished frame")
        self.rest = rest


class LoginRefused(Exception):
    """The login ended in an ErrorResponse; `frames` is everything that came."""

    def __init__(self, received: list[Frame]) -> None:
        super().__init__(error_fields(received[-1].body))
        self.frames = received


def error_fields(body: bytes) -> dict[str, str]:
    """The fields of an ErrorResponse or NoticeResponse by their one-letter codes."""
    parts = body.rstrip(b"\0").split(b"\0")
    return {part[:1].decode(): part[1:].decode() for part in parts if part}


class WireClient:
    """A connection to a server at 127.0.0.1. `greeting` holds every frame of the login, ReadyForQuery included."""

    def __init__(self, port: int, host: str = "127.0.0.1", timeout: float = TIMEOUT) -> None:
        self.timeout = timeout
        self.socket = socket.create_connection((host, port), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.peer = (host, port)
        self.pid = 0
        self.key = b""
        self.greeting: list[Frame] = []
        self._buffer = bytearray()

    @classmethod
    def login(
        cls,
        port: int,
        user: str,
        database: str,
        password: str = "",
        *,
        parameters: Mapping[str, str] | None = None,
        protocol: int = frames.PROTOCOL_3_0,
    ) -> WireClient:
        """Connect and log in; raise LoginRefused with the frames that came."""
        client = cls(port)
        try:
            client.send(frames.startup({"user": user, "database": database, **(parameters or {})}, protocol))
            client._authenticate(user, password)
        except BaseException:
            client.close()
            raise
        return client

    def send(self, data: bytes, chunk: int = 0) -> None:
        """Send the bytes, all at once or in pieces of `chunk` bytes each in a packet of its own."""
        if not chunk:
            self.socket.sendall(data)
            return
        for start in range(0, len(data), chunk):
            self.socket.sendall(data[start : start + chunk])

    def frame(self, timeout: float | None = None) -> Frame:
        """The next frame. Raise TimeoutError after `timeout` seconds of silence, Closed at the end."""
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        self._fill(5, deadline)
        length = struct.unpack_from("!i", self._buffer, 1)[0] + 1
        self._fill(length, deadline)
        whole = bytes(self._buffer[:length])
        del self._buffer[:length]
        return Frame(whole[:1], whole[5:])

    def until(self, tag: bytes, times: int = 1) -> list[Frame]:
        """The frames up to and including the given tag for the `times`-th time."""
        got: list[Frame] = []
        while times:
            got.append(self.frame())
            times -= got[-1].tag == tag
        return got

    def ask(self, data: bytes) -> list[Frame]:
        """Send and read up to ReadyForQuery."""
        self.send(data)
        return self.until(b"Z")

    def cancel(self) -> None:
        """Send this session's CancelRequest on a connection of its own and wait until the peer has closed it."""
        with socket.create_connection(self.peer, self.timeout) as other:
            other.sendall(frames.cancel_request(self.pid, self.key))
            other.recv(1)

    def reset(self) -> None:
        """Drop the connection with a TCP RST, as a crashed machine's firewall would."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self) -> None:
        """Close the socket without a Terminate."""
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def _fill(self, size: int, deadline: float) -> None:
        while len(self._buffer) < size:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"no whole frame in time; have {bytes(self._buffer[:60])!r}")
            self.socket.settimeout(left)
            data = self.socket.recv(1 << 18)
            if not data:
                raise Closed(bytes(self._buffer))
            self._buffer += data

    def _authenticate(self, user: str, password: str) -> None:
        exchange: Generator[bytes, bytes, None] | None = None
        while True:
            got = self.frame()
            self.greeting.append(got)
            if got.tag == b"E":
                raise LoginRefused(self.greeting)
            if got.tag == b"K":
                self.pid, self.key = struct.unpack_from("!i", got.body)[0], got.body[4:]
            elif got.tag == b"Z":
                return
            elif got.tag == b"R":
                exchange = self._answer(got.body, user, password, exchange)

    def _answer(
        self, body: bytes, user: str, password: str, exchange: Generator[bytes, bytes, None] | None
    ) -> Generator[bytes, bytes, None] | None:
        code = struct.unpack_from("!i", body)[0]
        if code == 3:
            self.send(frames.frame(b"p", frames.cstring(password)))
        elif code == 5:
            self.send(md5_answer(user, password, body[4:]))
        elif code == 10:
            exchange = scram(password)
            self.send(next(exchange))
        elif code == 11 and exchange is not None:
            self.send(exchange.send(body[4:]))
        elif code == 12 and exchange is not None:
            _finish(exchange, body[4:])
        elif code != 0:
            raise AssertionError(f"authentication request {code} was not expected")
        return exchange


def _finish(exchange: Generator[bytes, bytes, None], said: bytes) -> None:
    try:
        exchange.send(said)
    except StopIteration:
        return
    raise AssertionError("the login wants to say more after the server's last word")
