"""The words in which conversations are written.

A conversation is a generator function with a one-sentence docstring that yields steps and is given back the frames
that each step received. It may take the argument `me`, "a" or "b", for names that two clients must not share.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field

from .. import frames
from ..wireclient import Frame


@dataclass(frozen=True)
class Say:
    """Send bytes, then read: up to the `times`-th frame with the tag `until`, or that many frames, or nothing."""

    data: bytes
    until: bytes | int | None = b"Z"
    times: int = 1
    chunk: int = 0


@dataclass(frozen=True)
class Quiet:
    """Record what arrives within that many seconds, normally nothing."""

    seconds: float = 0.2


@dataclass(frozen=True)
class Elsewhere:
    """Another session, a superuser's directly on the server, runs this text."""

    sql: str


@dataclass(frozen=True)
class Working:
    """Wait until the server shows an active query that contains this text."""

    text: str


@dataclass(frozen=True)
class Cancel:
    """Send this session's CancelRequest."""


@dataclass(frozen=True)
class HangUp:
    """Send bytes, read until the peer closes the connection."""

    data: bytes


Step = Say | Quiet | Elsewhere | Working | Cancel | HangUp
Script = Generator[Step, list[Frame], None]


@dataclass(frozen=True)
class Conversation:
    """A named script and what is to be known about running it."""

    name: str
    script: Callable[..., Script]
    doc: str
    pins: bool = False
    """It keeps session state over a wait, or runs code of which only the server knows whether it does, so two
    interleaved clients need two servers."""
    interleaves: bool = True
    """False where two clients would rightly block or disturb each other."""
    user: str = "app"
    parameters: Mapping[str, str] = field(default_factory=dict)
    protocol: int = frames.PROTOCOL_3_0
    masks: tuple[str, ...] = ()
    """Regular expressions for what differs from run to run in its rows and messages, such as process ids."""
    since: int = 0
    """The first server version that it makes sense for."""
    goes_on: bool = False
    """Direct, the session ends with its server; in transaction mode it goes on, which other tests show."""
    own: bool = False
    """Its errors are PgBeam's to find, so they have no file, line and routine of PostgreSQL's source."""

    def begin(self, me: str) -> Script:
        """A fresh run of its script."""
        return self.script(me) if self.script.__code__.co_argcount else self.script()


CONVERSATIONS: dict[str, Conversation] = {}


def conversation(
    *,
    pins: bool = False,
    interleaves: bool = True,
    user: str = "app",
    parameters: Mapping[str, str] | None = None,
    protocol: int = frames.PROTOCOL_3_0,
    masks: tuple[str, ...] = (),
    since: int = 0,
    own: bool = False,
    goes_on: bool = False,
) -> Callable[[Callable[..., Script]], Callable[..., Script]]:
    """Register a script; the arguments are Conversation's."""

    def register(script: Callable[..., Script]) -> Callable[..., Script]:
        name = script.__name__
        assert name not in CONVERSATIONS, f"two conversations are called {name}"
        assert script.__doc__, f"{name} does not say what it shows"
        CONVERSATIONS[name] = Conversation(
            name,
            script,
            script.__doc__,
            pins=pins,
            interleaves=interleaves,
            user=user,
            parameters=parameters or {},
            protocol=protocol,
            masks=masks,
            since=since,
            own=own,
            goes_on=goes_on,
        )
        return script

    return register


def say(*data: bytes, until: bytes | int | None = b"Z", times: int = 1, chunk: int = 0) -> Say:
    """Send these frames in one go, then read; see Say."""
    return Say(b"".join(data), until, times, chunk)


def ask(sql: str | bytes) -> Say:
    """A simple query and its whole reply."""
    return Say(frames.query(sql))


def read(until: bytes | int = b"Z", times: int = 1) -> Say:
    """Send nothing, only read."""
    return Say(b"", until, times)
