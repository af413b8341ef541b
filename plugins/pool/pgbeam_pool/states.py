"""Where each server of a pool is. A state is a collection; a server is in one of them; all counts come from these.

    opening --> leased <--> idle <--> shared
                   |         ^           |
                   +--> returning <------+         and from everywhere: gone

A server that is opened for one who waits is leased at once; one that is clean when it comes back is idle at once.
"""

from __future__ import annotations

from collections.abc import Mapping

from twisted.internet.defer import Deferred

from pgbeam_core import Identity, Server

_MOST_COMPARED = 2000
"""Settings of idle servers that are looked at for one that has the wanted ones: telling costs less."""


class Servers:
    """The servers of one pool by state, those being opened included."""

    __slots__ = ("idle", "leased", "opening", "returning", "shared")

    def __init__(self) -> None:
        self.opening: dict[Deferred[Server], Identity] = {}
        self.leased: set[Server] = set()
        """One client has each of them."""
        self.shared: dict[Identity, list[Server]] = {}
        """Short reads of several clients stand one behind another on each of them."""
        self.returning: set[Server] = set()
        """Nobody has them, and nobody may yet: they are being cleaned, or closed."""
        self.idle: dict[Identity, list[Server]] = {}
        """Least recently used first."""

    def __len__(self) -> int:
        """How many there are, those being opened included."""
        return len(self.opening) + len(self.open)

    @property
    def open(self) -> list[Server]:
        """All that are open, whatever their state."""
        by_identity = [*self.shared.values(), *self.idle.values()]
        return [*self.leased, *self.returning, *(server for servers in by_identity for server in servers)]

    def count(self, identity: Identity) -> int:
        """How many of that identity are open."""
        return sum(server.identity == identity for server in self.open)

    def idle_of(self, identity: Identity) -> int:
        """How many of that identity are idle."""
        return len(self.idle.get(identity, ()))

    def opening_of(self, identity: Identity) -> int:
        """How many of that identity are being opened."""
        return sum(opening == identity for opening in self.opening.values())

    # The ways from one state to another; there are no others.

    def take(
        self, identity: Identity, settings: Mapping[str, str], *, shared: bool = False, exactly: bool = False
    ) -> Server | None:
        """An idle server, leased or shared from now on: one that has these settings, else, unless `exactly`, the one
        used last."""
        idle = self.idle.get(identity)
        if not idle:
            return None
        place = len(idle) - 1
        has = idle[place].settings
        if has is not settings and has != settings:
            place = _with_settings(idle, settings)
            if place < 0:
                if exactly:
                    return None
                place = len(idle) - 1
        server = idle.pop(place)
        if shared:
            self.shared.setdefault(identity, []).append(server)
        else:
            self.leased.add(server)
        return server

    def to_leased(self, server: Server) -> None:
        """One client has it: it has just been opened for it."""
        self._leave(server)
        self.leased.add(server)

    def to_returning(self, server: Server) -> None:
        """Nobody has it, and nobody may yet."""
        self._leave(server)
        self.returning.add(server)

    def to_idle(self, server: Server) -> None:
        """It is clean, and whoever comes next may take it."""
        if server in self.leased:  # as nearly all of them are
            self.leased.remove(server)
        else:
            self._leave(server)
        idle = self.idle.get(server.identity)
        if idle is None:
            self.idle[server.identity] = [server]
        else:
            idle.append(server)

    def remove(self, server: Server) -> None:
        """It is gone, from whichever state."""
        self._leave(server)
        if not self.idle.get(server.identity, True):
            del self.idle[server.identity]

    def _leave(self, server: Server) -> None:
        """Take it out of where it is, if it is anywhere."""
        self.leased.discard(server)
        self.returning.discard(server)
        for of in (self.shared, self.idle):
            servers = of.get(server.identity, [])
            if server in servers:
                servers.remove(server)
                if not servers:
                    del of[server.identity]


def _with_settings(idle: list[Server], settings: Mapping[str, str]) -> int:
    """The place of the last one that needs not be told these settings first; -1 if none was found."""
    patience = _MOST_COMPARED
    for place in range(len(idle) - 1, -1, -1):
        has = idle[place].settings
        if has is settings or (len(has) == len(settings) and has == settings):
            return place
        patience -= 1 + len(has)
        if patience < 0:
            break
    return -1
