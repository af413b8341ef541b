"""Servers on which several clients' short reads stand one behind another.

PostgreSQL reads many requests per wake-up and PgBeam writes many per system call, so a few servers kept busy do more
than many that are woken for every query. Two are enough for that; more join when turns pile up on them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pgbeam_core import Identity, Server
from pgbeam_pool.states import Servers

WIDTH = 2
"""Servers that are shared before turns stand one behind another."""
DEPTH = 32
"""Turns on one server before another one joins: a slow one delays no more than these."""


class Sharing:
    """The shared servers of one pool."""

    def __init__(self, servers: Servers, leaving: Mapping[Server, str]) -> None:
        """`leaving` are those that nobody is put on any more."""
        self._servers = servers
        self._leaving = leaving

    def choose(self, identity: Identity, settings: Mapping[str, str], *, exclusive_wait: bool) -> Server | None:
        """The server for one more turn; None if there is none, and it has to wait.

        exclusive_wait: somebody waits for a server of his own; one of the shared ones is then left to drain.
        """
        servers = self._servers.shared.get(identity, ())
        left = _last_that_moves(servers) if exclusive_wait else None
        best, depth = None, DEPTH
        usable = len(servers)
        for server in servers:
            if server.congested or (self._leaving and server in self._leaving):
                usable -= 1
            elif server is not left:
                owed = server.owed
                if owed < depth and server.alive and server.settings == settings:
                    best, depth = server, owed
        if best is not None and (not depth or usable >= WIDTH):
            return best
        another = None if exclusive_wait else self._servers.take(identity, settings, shared=True, exactly=True)
        return best if another is None else another

    def watch(self) -> None:
        """Have each server look whether a turn holds it up."""
        for servers in list(self._servers.shared.values()):
            for server in list(servers):
                server.watch()


def _last_that_moves(servers: Sequence[Server]) -> Server | None:
    """The one that will be free soonest: no slow turn holds it up."""
    return next((server for server in reversed(servers) if not server.congested), None)
