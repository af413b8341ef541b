"""Cancel requests. Clients cancel with keys of PgBeam's own; PgBeam cancels with the server's."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure

from pgbeam_core.wire.startup import CancelRequest

if TYPE_CHECKING:
    from pgbeam_core.session.conversation import Conversation

CANCEL_TIMEOUT = 10.0
"""Seconds for a server to take a cancel request."""


class CancelKeys:
    """Which conversation a cancel key stands for. `random` gives that many unguessable bytes."""

    def __init__(self, random: Callable[[int], bytes]) -> None:
        self._random = random
        self._held: dict[int, list[tuple[bytes, Conversation]]] = {}

    def issue(self, conversation: Conversation, *, pid: int | None, long: bool) -> tuple[int, bytes]:
        """A key for this conversation: (process id, secret). `long` secrets are for protocol 3.2."""
        if pid is None:
            pid = int.from_bytes(self._random(4)) & 0x7FFFFFFF or 1
        secret = self._random(32 if long else 4)
        self._held.setdefault(pid, []).append((secret, conversation))
        return pid, secret

    def withdraw(self, pid: int, secret: bytes) -> None:
        """The conversation is over."""
        kept = [entry for entry in self._held.get(pid, ()) if entry[0] != secret]
        if kept:
            self._held[pid] = kept
        else:
            self._held.pop(pid, None)

    def find(self, request: CancelRequest) -> Conversation | None:
        """The conversation to cancel, if the key is right."""
        for secret, conversation in self._held.get(request.pid, ()):
            if hmac.compare_digest(secret, request.secret):
                return conversation
        return None


class Canceller(Protocol):
    """Sends one cancel request to PostgreSQL. `done` fires when the postmaster has closed the connection: by then the
    signal is out, and what is sent to that server later cannot be hit."""

    transport: Any

    def __init__(self, pid: int, secret: bytes, clock: IReactorTime) -> None:
        self.done: Deferred[None] = Deferred()
        self._request = CancelRequest(pid, secret).to_bytes()
        self._clock = clock
        self._timeout: Any = None

    def connectionMade(self) -> None:
        """Ask."""
        self._timeout = self._clock.callLater(CANCEL_TIMEOUT, self.transport.abortConnection)
        self.transport.write(self._request)

    def connectionLost(self, reason: Failure = Failure(Exception())) -> None:
        """Answered: the postmaster says nothing and hangs up."""
        if self._timeout is not None and self._timeout.active():
            self._timeout.cancel()
        if not self.done.called:
            self.done.callback(None)
