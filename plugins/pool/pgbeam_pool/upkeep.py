"""Which idle servers are kept, and which are closed: for their age, for want of clients, to make room."""

from __future__ import annotations

from collections.abc import Callable

from pgbeam_core import Identity, PasswordNeeded, Server, ServerRefused
from pgbeam_pool.orders import Orders
from pgbeam_pool.settings import PoolSettings
from pgbeam_pool.states import Servers

LEFT_FOR_S = 10.0
"""Seconds for which no server is kept idle in a database that is to be dropped or copied: PostgreSQL waits for 5."""
SILENT_S = 15.0
"""Seconds for a server to become clean: what it is asked for takes milliseconds."""
QUIET_S = 1.0
"""A server of clients who are there, idle for this long, may be closed for a login."""
SPARE = 10
"""Idle servers of one identity that logins may pile up."""
_TEMPLATE = "PostgreSQL copies a template database only while nobody is connected to it"
_CREDENTIALS = "28"
"""Class of the SQLSTATEs that are about who may log in."""
_TOO_OLD = "older than max_lifetime_s"


class Upkeep:
    """Of the servers of one pool. `random` gives a number in 0..1."""

    def __init__(
        self,
        servers: Servers,
        settings: Callable[[], PoolSettings],
        now: Callable[[], float],
        random: Callable[[], float],
    ) -> None:
        self.clients: dict[Identity, int] = {}
        """Sessions that have logged in and not left, by identity."""
        self.needs_client: set[Identity] = set()
        """Identities whose servers ask for a password: only a client's login opens one."""
        self._servers = servers
        self._settings = settings
        self._now = now
        self._random = random
        self._expires: dict[Server, float] = {}
        self.left: dict[str, float] = {}
        """Databases that a statement wants nobody in → until when."""
        self.orders = Orders(servers)

    def opened(self, server: Server) -> None:
        lifetime = self._settings().max_lifetime_s
        if lifetime:
            self._expires[server] = server.opened_at + lifetime * (0.9 + 0.2 * self._random())
        if server.reproducible:
            self.needs_client.discard(server.identity)
        else:
            self.needs_client.add(server.identity)

    def refused(self, identity: Identity, error: BaseException | None) -> bool:
        """A server did not let PgBeam in. Was that about who it is (a changed password, a locked role), and there are
        others of that identity, then these serve on, and only a client's login opens further ones. True if so."""
        refused = isinstance(error, ServerRefused) and error.sqlstate.startswith(_CREDENTIALS)
        if not (refused or type(error) is PasswordNeeded) or not self._servers.count(identity):
            return False
        self.needs_client.add(identity)
        return True

    def gone(self, server: Server) -> None:
        self._expires.pop(server, None)
        self.orders.gone(server)

    def why_close(self, server: Server) -> str | None:
        """Why a server that has just come back is not kept; None if it is."""
        if self.left and self._is_left(server):
            return f'nobody may be in database "{server.identity.database}"'
        if self.orders.given and (reason := self.orders.why_close(server)) is not None:
            return reason
        return _TOO_OLD if self._expires.get(server, server.used_at) < server.used_at else None

    def why_not_idle(self, server: Server) -> str | None:
        """Why a server that is clean does not become idle; None if it does."""
        if self.left and self._is_left(server):
            return f'nobody may be in database "{server.identity.database}"'
        if self.orders.given and (reason := self.orders.why_close(server)) is not None:
            return reason
        return _TEMPLATE if server.in_template and not self._has_clients(server.identity.database) else None

    def close_old(self) -> None:
        """Close what is idle too long or too old, and what does not answer while it is made ready for others."""
        self._close_silent()
        now, limit = self._now(), self._settings().idle_timeout_s
        for identity, idle in list(self._servers.idle.items()):
            for server in list(idle):
                if self._expires.get(server, now) < now and not self._precious(identity):
                    server.close(_TOO_OLD)
                elif limit and now - server.used_at > limit and self._spare(identity):
                    server.close("idle for longer than idle_timeout_s")

    def _close_silent(self) -> None:
        now = self._now()
        for server in list(self._servers.returning):
            if server.lease is None and now - server.used_at > SILENT_S:
                server.close("it did not answer while it was made ready for the next client")

    def trim(self, identity: Identity) -> None:
        """Each login brings a server, wanted or not: many logins must not use up PostgreSQL's connections."""
        keep = max(SPARE, self._settings().min_idle)
        if identity in self.needs_client:  # nothing but a login could bring them back
            keep = max(keep, self.clients.get(identity, 0))
        idle = self._servers.idle[identity]
        if len(idle) > keep:
            idle[0].close("logins have brought more servers than are used")

    def missing(self) -> list[Identity]:
        """For `min_idle`: identities of clients that have too few idle servers, once for each that is missing."""
        wanted = self._settings().min_idle
        found: list[Identity] = []
        for identity, clients in self.clients.items():
            if clients and identity not in self.needs_client and not self.orders.holds(identity):
                there = self._servers.idle_of(identity) + self._servers.opening_of(identity)
                found += [identity] * (wanted - there)
        return found

    def close_idle(
        self, reason: str, *, but: Identity | None = None, may: Callable[[Server], bool] | None = None
    ) -> bool:
        """Close the idle server that was unused longest, none of identity `but`, and of those that `may` be closed.
        True if there was one."""
        oldest: Server | None = None
        for identity, idle in self._servers.idle.items():
            if identity != but and idle and not self._precious(identity) and (may is None or may(idle[0])):
                oldest = idle[0] if oldest is None or idle[0].used_at < oldest.used_at else oldest
        if oldest is not None:
            oldest.close(reason)
        return oldest is not None

    def close_unused(self, reason: str, now: float) -> bool:
        """Close an idle server whose users have left, or have not used it for a while. True if there was one."""
        unused: Server | None = None
        for identity, idle in self._servers.idle.items():
            if not idle or self._precious(identity):
                continue
            if not self.clients.get(identity):
                unused = idle[0]
                break
            if now - idle[0].used_at >= QUIET_S and (unused is None or idle[0].used_at < unused.used_at):
                unused = idle[0]
        if unused is not None:
            unused.close(reason)
        return unused is not None

    def close_all_idle(self, reason: str) -> None:
        for idle in list(self._servers.idle.values()):
            for server in list(idle):
                server.close(reason)

    def close_unleased(self, reason: str) -> None:
        """Close all that nobody uses now."""
        for server in self._servers.open:
            if server.lease is None and not server.sharers:
                server.close(reason)

    def leave(self, database: str) -> None:
        """Close the idle servers in that database, and for a while those that come back."""
        self.left[database] = self._now() + LEFT_FOR_S
        for identity, idle in list(self._servers.idle.items()):
            if identity.database == database:
                for server in list(idle):
                    server.close(f'nobody may be in database "{database}"')

    def client_left(self, identity: Identity) -> None:
        """A client has hung up: where it was the last in a template database, nobody is in the way of a copy now."""
        if not self._has_clients(identity.database):
            for servers in list(self._servers.idle.values()):
                for server in list(servers):
                    if server.in_template and server.identity.database == identity.database:
                        server.close(_TEMPLATE)

    def _spare(self, identity: Identity) -> bool:
        wanted = self._settings().min_idle if self.clients.get(identity) else 0
        return self._servers.idle_of(identity) > wanted and not self._precious(identity)

    def _precious(self, identity: Identity) -> bool:
        """The last server of clients for which no other can be opened."""
        return identity in self.needs_client and bool(self.clients.get(identity)) and self._servers.count(identity) == 1

    def _is_left(self, server: Server) -> bool:
        until = self.left.get(server.identity.database)
        if until is not None and until < self._now():
            del self.left[server.identity.database]
            return False
        return until is not None

    def _has_clients(self, database: str) -> bool:
        return any(identity.database == database for identity in self.clients)
