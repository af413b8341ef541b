"""Cancel requests. Clients cancel with keys of PgBeam's own; PgBeam cancels with the server's."""

from __future__ import annotations

import hmac
import typing
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure

from pgbeam_core.wire.startup import CancelRequest

if TYPE_CHECKING:
    from collections import deque

    from pgbeam_core.session.turns import Turn

CANCEL_TIMEOUT = 10.0
"""Seconds for a server to take a cancel request."""


class Cancellable(typing.Protocol):
    """Whatever a client may be in the middle of."""

    def cancel(self) -> Deferred[None] | None:
        """What it waits for is to be cancelled. Gives None, or what fires when that has been seen to."""


class CancelKeys:
    """Which conversation a cancel key stands for. `random` gives that many unguessable bytes."""

    def __init__(self, random: Callable[[int], bytes]) -> None:
        self._random = random
        self._held: dict[int, list[tuple[bytes, Cancellable]]] = {}

    def issue(self, conversation: Cancellable, *, pid: int | None, long: bool) -> tuple[int, bytes]:
        """A key for this conversation: (process id, secret). `long` secrets are for protocol 3.2."""
        if pid is None:
            pid = int.from_bytes(self._random(4)) & 0x7FFFFFFF or 1
        secret = self._random(32 if long else 4)
        self._held.setdefault(pid, []).append((secret, conversation))
        return pid, secret

    def withdraw(self, pid: int, secret: bytes) -> None:
        kept = [entry for entry in self._held.get(pid, ()) if entry[0] != secret]
        if kept:
            self._held[pid] = kept
        else:
            self._held.pop(pid, None)

    def find(self, request: CancelRequest) -> Cancellable | None:
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
        self._timeout = self._clock.callLater(CANCEL_TIMEOUT, self.transport.abortConnection)
        self.transport.write(self._request)

    def connectionLost(self, reason: Failure = Failure(Exception())) -> None:
        """Answered: the postmaster says nothing and hangs up."""
        if self._timeout is not None and self._timeout.active():
            self._timeout.cancel()
        if not self.done.called:
            self.done.callback(None)


class Cancelling:
    """The cancel requests to one server: one is under way at a time, and one more is remembered meanwhile.

    ask: sends one, and fires when it can hit nothing that is sent later. turns: what the server owes, oldest first.
    """

    __slots__ = ("_ask", "_turns", "_under_way", "_waiting", "wanted")

    def __init__(self, ask: Callable[[], Deferred[None]], turns: deque[Turn]) -> None:
        self.wanted: Turn | None = None
        """What is to be cancelled as soon as it is at the head and no other request is under way."""
        self._ask = ask
        self._turns = turns
        self._under_way = False
        self._waiting: list[Deferred[None]] = []

    def cancel(self, turn: Turn) -> Deferred[None]:
        """Cancel that turn, not the one before it or behind it. Fires when no request is under way any more."""
        self.wanted = turn
        self.go_on()
        return self.settled() or succeed(None)

    def go_on(self) -> None:
        """Another turn may be at the head now, or no request under way any more."""
        if self._under_way:
            return
        turn = self.wanted
        if turn is not None and turn in self._turns:
            if self._turns[0] is turn:  # else a request of PgBeam's own stands before it
                self.wanted = None
                self._under_way = True
                self._ask().addBoth(self._done)
            return
        self.lost()

    def settled(self) -> Deferred[None] | None:
        """None, or a Deferred for when no cancel request can hit it any more."""
        if self.wanted is not None and self.wanted not in self._turns and not self._under_way:
            self.lost()  # it ended before it could be cancelled: who asked for that waits no longer
        if not self._under_way and self.wanted is None:
            return None
        settled: Deferred[None] = Deferred()
        self._waiting.append(settled)
        return settled

    def lost(self) -> None:
        """There is nothing to be hit any more."""
        self.wanted = None
        waiting, self._waiting = self._waiting, []
        for settled in waiting:
            settled.callback(None)

    def _done(self, _result: object) -> None:
        self._under_way = False
        self.go_on()
