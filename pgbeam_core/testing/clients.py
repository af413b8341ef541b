"""An application's connection in a rehearsal, and the replies it gets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from twisted.internet.protocol import Protocol

from pgbeam_core.testing.frames import bound_query, query
from pgbeam_core.wire import backend, frontend
from pgbeam_core.wire.frames import FrameCutter
from pgbeam_core.wire.message import raw


@dataclass(frozen=True)
class Reply:
    """What came back for one request. Values are text, None is NULL."""

    rows: tuple[tuple[str | None, ...], ...]
    tags: tuple[str, ...]
    error: tuple[str, str] | None
    """(SQLSTATE, message) of the first error."""
    notices: tuple[str, ...]
    frames: tuple[bytes, ...]
    """Everything, as it came."""


class Client(Protocol):
    """One client, on which everything happens at once: `Rehearsal.login` makes it."""

    def __init__(self, pump: Callable[[], None]) -> None:
        self.closed = False
        self._pump = pump
        self._cutter = FrameCutter()
        self._got: list[bytes] = []
        self.greeting = Reply((), (), None, (), ())
        """What came in reply to the login."""

    @property
    def refusal(self) -> tuple[str, str] | None:
        """(SQLSTATE, message) with which the login was refused; None if it was not."""
        return self.greeting.error

    def query(self, sql: str) -> Reply:
        """Ask by the simple protocol."""
        return self.send(query(sql))

    def execute(self, sql: str, values: Sequence[str | None] = ()) -> Reply:
        """Ask by the extended protocol, as drivers do for queries with parameters."""
        return self.send(bound_query(sql, values))

    def send(self, data: bytes) -> Reply:
        """Send bytes; gives what has come by the time that nothing moves any more."""
        self._write(data)
        self._pump()
        return self.collect()

    def collect(self) -> Reply:
        """What has come since the last reply."""
        frames, self._got = tuple(self._got), []
        return _reply(frames)

    def leave(self) -> None:
        """Send Terminate; PgBeam then closes the connection."""
        self.send(frontend.TERMINATE)

    def vanish(self) -> None:
        """Hang up without a word, as a port scan or a crashed application does."""
        transport: Any = self.transport
        transport.abortConnection()
        self._pump()

    def log_in(self, packet: bytes, password: str | None) -> None:
        """Send the startup packet, and the password if one is asked for and given."""
        self._write(packet)
        self._pump()
        asked = self._got and self._got[-1][:1] == b"R" and self._got[-1][5:9] != backend.AUTHENTICATION_OK[5:9]
        if asked and password is not None:
            self._write(frontend.PasswordMessage(raw(password)).to_bytes())
            self._pump()
        self.greeting = self.collect()

    def dataReceived(self, data: bytes) -> None:
        self._got += self._cutter.feed(data)

    def connectionLost(self, reason: object = None) -> None:
        self.closed = True

    def _write(self, data: bytes) -> None:
        transport: Any = self.transport
        transport.write(data)


def _reply(frames: tuple[bytes, ...]) -> Reply:
    def of(tag: bytes) -> list[bytes]:
        return [frame for frame in frames if frame[:1] == tag]

    errors = [backend.error_fields(frame) for frame in of(b"E")]
    return Reply(
        rows=tuple(_texts(frame) for frame in of(b"D")),
        tags=tuple(frame[5:-1].decode() for frame in of(b"C")),
        error=(errors[0].get("C", ""), errors[0].get("M", "")) if errors else None,
        notices=tuple(backend.error_fields(frame)["M"] for frame in of(b"N")),
        frames=frames,
    )


def _texts(frame: bytes) -> tuple[str | None, ...]:
    values = backend.DataRow.from_bytes(frame).values
    return tuple(None if value is None else value.decode() for value in values)
