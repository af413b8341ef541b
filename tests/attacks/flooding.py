"""A server that lies: it passes honest clients on to PostgreSQL, and says to users of other names what it likes."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from tests.behaviour import frames

HONEST = "app"
FLOOD_S = 2.0
"""How long it keeps at it, unless it is cut off."""
_GREETING = frames.frame(b"R", bytes(4))
_READY = frames.frame(b"K", bytes(8)) + frames.frame(b"Z", b"I")
_CHUNK = 1 << 16
Flood = Callable[[int], bytes]
"""Gives the bytes of its next round."""


def notice(_: int) -> bytes:
    """About 64 kB of notices."""
    return frames.frame(b"N", b"SNOTICE\0VNOTICE\0C00000\0M" + b"x" * 500 + b"\0\0") * 120


def parameters(number: int) -> bytes:
    """Some hundred parameters that nobody has seen before."""
    some = range(300 * number, 300 * number + 300)
    return b"".join(frames.frame(b"S", b"app.p%d\0" % each + b"x" * 100 + b"\0") for each in some)


def one_parameter(number: int) -> bytes:
    """The same parameter, each time with another value."""
    return b"".join(frames.frame(b"S", b"TimeZone\0" + b"%d" % each + b"x" * 200 + b"\0") for each in range(300))


def authentication(_: int) -> bytes:
    """It says again and again that the client is let in."""
    return _GREETING * 5000


def notifications(_: int) -> bytes:
    """Notifications that nobody listens to."""
    return frames.frame(b"A", bytes(4) + b"channel\0" + b"x" * 500 + b"\0") * 120


LOGIN: dict[str, Flood] = {"notice": notice, "parameters": parameters, "one": one_parameter, "again": authentication}
"""What is said during the login of a user of that name."""
LATER: dict[str, Flood] = {
    f"{when}_{name}": flood
    for when in ("idle", "reply")
    for name, flood in {
        "notice": notice,
        "parameters": parameters,
        "one": one_parameter,
        "notifications": notifications,
    }.items()
}
"""What is said after the login, while nothing is asked, or in reply to a query."""


class FloodingServer:
    """Listens at `port`, in front of a PostgreSQL."""

    def __init__(self, postgres: int) -> None:
        self._postgres = postgres
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.sent: dict[str, int] = {}
        """Bytes of each flood that were taken."""
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """No more connections."""
        self._listening.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                beam, _ = self._listening.accept()
                threading.Thread(target=self._serve, args=(beam,), daemon=True).start()

    def _serve(self, beam: socket.socket) -> None:
        with beam, suppress(OSError):
            beam.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            startup = beam.recv(_CHUNK)
            if startup[4:8] == (80877103).to_bytes(4):
                beam.sendall(b"N")
                startup = beam.recv(_CHUNK)
            words = startup[8:].split(b"\0")
            user = words[words.index(b"user") + 1].decode() if b"user" in words else HONEST
            if user in LOGIN:
                beam.sendall(_GREETING)
                self._flood(user, beam, LOGIN[user])
            elif user in LATER:
                self._lie_later(user, beam)
            else:
                self._pass_on(beam, startup)

    def _lie_later(self, user: str, beam: socket.socket) -> None:
        beam.sendall(_GREETING + _READY)
        if user.startswith("reply") and not beam.recv(_CHUNK):
            return
        self._flood(user, beam, LATER[user])

    def _flood(self, user: str, beam: socket.socket, flood: Flood) -> None:
        until, number = time.monotonic() + FLOOD_S, 0
        beam.settimeout(FLOOD_S)
        while time.monotonic() < until:
            data = flood(number)
            beam.sendall(data)
            self.sent[user] = self.sent.get(user, 0) + len(data)
            number += 1

    def _pass_on(self, beam: socket.socket, startup: bytes) -> None:
        with socket.create_connection(("127.0.0.1", self._postgres)) as postgres:
            postgres.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            postgres.sendall(startup)
            back = threading.Thread(target=_pump, args=(postgres, beam), daemon=True)
            back.start()
            _pump(beam, postgres)
            back.join(5)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(_CHUNK):
            sink.sendall(data)
    for each in (source, sink):
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


@contextmanager
def flooding(postgres: int) -> Iterator[FloodingServer]:
    """One that runs."""
    server = FloodingServer(postgres)
    try:
        yield server
    finally:
        server.close()
