"""Where each server of a pool is. A state is a collection; a server is in one of them; all counts come from these.

    opening --> leased <--> idle <--> shared
                   |         ^           |
                   +--> returning <------+         and from everywhere: gone

A server that is opened for one who waits is leased at once; one that is clean when it comes back is idle at once.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping

from twisted.internet.defer import Deferred

from pgbeam_core import Identity, Server

_MOST_COMPARED = 2000
"""Settings of idle servers that are looked at for one that has the wanted ones: telling costs less."""


class ServerState(enum.Enum):
    """What a server that is open is there for."""

    LEASED = "leased"
    SHARED = "shared"
    RETURNING = "returning"
    IDLE = "idle"


class Servers:
    """The servers of one pool by state, those being opened included."""

    __slots__ = ("_states", "idle", "leased", "opening", "returning", "shared")

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
        self._states: dict[Server, ServerState] = {}

    def __len__(self) -> int:
        """How many there are, those being opened included."""
        return len(self._states) + len(self.opening)

    def __iter__(self) -> Iterator[Server]:
        return iter(list(self._states))

    def has(self, identity: Identity) -> bool:
        """Whether one of that identity is open."""
        return any(server.identity == identity for server in self._states)

    def count(self, identity: Identity) -> int:
        """How many of that identity are open."""
        return sum(server.identity == identity for server in self._states)

    def idle_of(self, identity: Identity) -> int:
        """How many of that identity are idle."""
        return len(self.idle.get(identity, ()))

    def opening_of(self, identity: Identity) -> int:
        """How many of that identity are being opened."""
        return sum(opening == identity for opening in self.opening.values())

    def enter(self, server: Server, state: ServerState) -> None:
        """From where it is to another state; the only way there is, but for `take` and `remove`."""
        self._leave(server)
        self._put(server, state)

    def take(
        self, identity: Identity, settings: Mapping[str, str], state: ServerState, *, exactly: bool
    ) -> Server | None:
        """An idle server for that state: one that has these settings, else, unless `exactly`, the one used last."""
        idle = self.idle.get(identity)
        if not idle:
            return None
        place = _with_settings(idle, settings)
        if place < 0:
            if exactly:
                return None
            place = len(idle) - 1
        server = idle.pop(place)
        self._put(server, state)
        return server

    def remove(self, server: Server) -> None:
        self._leave(server)
        self._states.pop(server, None)
        if not self.idle.get(server.identity, True):
            del self.idle[server.identity]

    def _put(self, server: Server, state: ServerState) -> None:
        self._states[server] = state
        if state is ServerState.LEASED:
            self.leased.add(server)
        elif state is ServerState.RETURNING:
            self.returning.add(server)
        else:
            of = self.idle if state is ServerState.IDLE else self.shared
            of.setdefault(server.identity, []).append(server)

    def _leave(self, server: Server) -> None:
        state = self._states.get(server)
        if state is ServerState.LEASED:
            self.leased.discard(server)
        elif state is ServerState.RETURNING:
            self.returning.discard(server)
        elif state is not None:
            of = self.idle if state is ServerState.IDLE else self.shared
            servers = of[server.identity]
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
