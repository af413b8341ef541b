"""What operators have told a pool: which databases nobody gets a server in, and which servers are to go."""

from __future__ import annotations

from typing import Any, Protocol

from pgbeam_core import Identity, Server, ServerUnavailable
from pgbeam_pool.states import Servers

PAUSED = "its database is paused"
RECONNECTED = "an operator wants new connections"


class PausedWaiter(Protocol):
    """Somebody who waits; see `Waiter`."""

    identity: Identity
    timeout: Any

    def fail(self, error: BaseException) -> None:
        """It waits in vain, for that reason."""


class Orders:
    """Of one pool. A database of None stands for all."""

    def __init__(self, servers: Servers) -> None:
        self.paused: set[str | None] = set()
        self.leaving: dict[Server, str] = {}
        """Those that are closed as soon as nobody has them, and why."""
        self.paused_waiters: dict[Any, None] = {}
        """Who waits for a database that is paused, in order of asking."""
        self._servers = servers

    @property
    def given(self) -> bool:
        """Whether any of them holds now."""
        return bool(self.paused or self.leaving)

    def holds(self, identity: Identity) -> bool:
        """Whether nobody gets a server of that identity."""
        return bool(self.paused) and (None in self.paused or identity.database in self.paused)

    def why_close(self, server: Server) -> str | None:
        """Why a server that nobody has is not kept; None if it is."""
        if self.holds(server.identity):
            return PAUSED
        return self.leaving.get(server)

    def pause(self, database: str | None) -> None:
        """Nobody gets a server there; idle ones are closed."""
        self.paused.add(database)
        self._close_idle(database, PAUSED)

    def resume(self, database: str | None) -> list[Any]:
        """Gives who has waited for that."""
        self.paused.discard(database)
        free = [waiter for waiter in self.paused_waiters if not self.holds(waiter.identity)]
        for waiter in free:
            del self.paused_waiters[waiter]
        return free

    def reconnect(self, database: str | None) -> None:
        """The servers that are open now are to go; idle ones at once."""
        some = [server for server in self._servers.open if database in (None, server.identity.database)]
        self.leaving.update(dict.fromkeys(some, RECONNECTED))
        self._close_idle(database, RECONNECTED)

    def leave(self, server: Server, why: str) -> None:
        """This one is to go: at once, if it is idle."""
        if server in self._servers.idle.get(server.identity, ()):
            server.close(why)
        elif server in self._servers.open:
            self.leaving[server] = why

    def takes(self, waiter: PausedWaiter) -> bool:
        """Whether it has to wait until its database is resumed, however long; then it is put by."""
        if not self.holds(waiter.identity):
            return False
        if waiter.timeout is not None and waiter.timeout.active():
            waiter.timeout.cancel()
        waiter.timeout = None
        self.paused_waiters[waiter] = None
        return True

    def close(self, reason: str) -> None:
        """Who waits there waits in vain."""
        waiters, self.paused_waiters = self.paused_waiters, {}
        for waiter in waiters:
            waiter.fail(ServerUnavailable(reason))

    def gone(self, server: Server) -> None:
        self.leaving.pop(server, None)

    def _close_idle(self, database: str | None, reason: str) -> None:
        for identity, idle in list(self._servers.idle.items()):
            if database in (None, identity.database):
                for server in list(idle):
                    server.close(reason)
