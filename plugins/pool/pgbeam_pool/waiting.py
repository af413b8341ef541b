"""Someone who waits for a server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from pgbeam_core import Identity, Lease, Relay, Server
from pgbeam_pool.reaching import Reaching
from pgbeam_pool.states import Servers
from pgbeam_pool.upkeep import Upkeep


class Host(Protocol):
    """The pool that somebody waits at, as those see it who look after the queue."""

    address: str
    """Of its target."""
    servers: Servers
    upkeep: Upkeep
    reaching: Reaching
    lost: int
    """Servers that went away by themselves."""

    def now(self) -> float:
        """Seconds of a clock that never goes back."""

    def serve(self, waiter: Waiter, *, may_open: bool, alone_before: bool) -> bool:
        """Give the waiter a server, or begin to open one. True if it need not be looked at again now."""

    def open_for_login(self, waiter: Waiter) -> None:
        """It is this login's turn."""

    def wait(self, waiter: Waiter) -> Deferred[Lease]:
        """Put it in the queue."""

    def cancelled(self, waiter: Waiter) -> None:
        """Who has waited gives its place up; it is told nothing more."""

    def tidy(self) -> None:
        """Now and then: close what is idle for too long or too old, open what is to be ready."""

    def watch(self) -> None:
        """Let nobody stand behind a shared turn that takes long."""


class Waiter:
    """A place in the queue. With a relay it is a login, which wants a server of its own, from a client's address."""

    __slots__ = (
        "address",
        "application_name",
        "deferred",
        "done",
        "identity",
        "opening",
        "pool",
        "relay",
        "settings",
        "shared",
        "since",
        "timeout",
    )

    def __init__(
        self,
        pool: Host,
        identity: Identity,
        settings: Mapping[str, str],
        since: float,
        *,
        relay: Relay | None = None,
        application_name: str | None = None,
        address: str = "",
        shared: bool = False,
    ) -> None:
        self.pool = pool
        self.identity = identity
        self.settings = settings
        self.since = since
        self.relay = relay
        self.application_name = application_name
        self.address = address
        self.shared = shared
        """It would do with a place behind others."""
        self.opening: Deferred[Server] | None = None
        self.done = False
        self.timeout: Any = None
        self.deferred: Deferred[Lease] = Deferred(self._cancelled)

    def succeed(self, lease: Lease) -> None:
        self._over()
        self.deferred.callback(lease)

    def fail(self, error: BaseException) -> None:
        if not self.done:
            self._over()
            self.deferred.errback(Failure(error))

    def _over(self) -> None:
        self.done = True
        if self.timeout is not None and self.timeout.active():
            self.timeout.cancel()

    def _cancelled(self, _deferred: object) -> None:
        """Whoever waited has left: its place is free, and so is the login it was about."""
        self._over()
        self.pool.cancelled(self)
