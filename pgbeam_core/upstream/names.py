"""What host names stand for, looked up again and again: a name with several addresses is several candidates."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.internet.threads import deferToThread
from twisted.logger import Logger
from twisted.python.failure import Failure

from pgbeam_core.api.query import Target

log = Logger(__name__)

LOOKUP_S = 5.0
"""A lookup that takes longer is not waited for: the addresses from before are asked."""
MOST_ADDRESSES = 16
"""Of one name; the rest is left out."""
AGAIN_S = 1.0
"""So long an answer holds even where there is reason to doubt it."""

Lookup = Callable[[str, int], Deferred[list[str]]]


class Names:
    """Of one target. lookup(host, port): the addresses of a name, in the order in which they are to be tried.
    ttl(): how long they hold, in seconds; what the name server says of that is not told by the system."""

    def __init__(
        self, target: Target, clock: Any, lookup: Lookup | None = None, ttl: Callable[[], float] = lambda: 0.0
    ) -> None:
        self._target = target
        self._clock = clock
        self._lookup = lookup or look_up
        self._ttl = ttl
        self.known: dict[str, list[str]] = {}
        """The addresses of each name."""
        self.why: dict[str, str] = {}
        """Why a name could not be looked up the last time."""
        self._asked_at: dict[str, float] = {}
        """When the last answer came, be it that there is none."""
        self._under_way: dict[str, Deferred[list[str]]] = {}

    def places(self, *, doubted: bool = False) -> Deferred[list[Target]]:
        """A target for each address; those from before of a name that cannot be looked up now.

        doubted: a host could not be reached, perhaps because its name stands for another address now.
        """
        each = [self._addresses(place, doubted=doubted) for place in self._target.places]
        found: Deferred[list[list[Target]]] = gatherResults(each)
        return found.addCallback(lambda lists: [place for several in lists for place in several])

    def seconds_left(self, host: str) -> float:
        """How long its addresses hold."""
        return max(self._asked_at.get(host, -1e9) + self._ttl() - float(self._clock.seconds()), 0.0)

    def _holds(self, host: str, *, doubted: bool) -> bool:
        asked_at = self._asked_at.get(host)
        if asked_at is None:
            return False
        # What is not known is in doubt in any case.
        doubted = doubted or host in self.why
        age: float = self._clock.seconds() - asked_at
        return age < (min(AGAIN_S, self._ttl()) if doubted else self._ttl())

    def _addresses(self, place: Target, *, doubted: bool) -> Deferred[list[Target]]:
        host = place.host
        if is_literal(host):
            return succeed([place])
        if host not in self._under_way and self._holds(host, doubted=doubted):
            return succeed(self._as_known(place))
        waiting: Deferred[None] = Deferred()
        if host not in self._under_way:
            self._under_way[host] = self._lookup(host, place.port)
        self._under_way[host].addBoth(self._over, host, waiting)
        waiting.addTimeout(LOOKUP_S, self._clock)
        return waiting.addBoth(lambda _: self._as_known(place))

    def _over(self, found: Any, host: str, waiting: Deferred[None]) -> Any:
        self._under_way.pop(host, None)
        if found is not None:
            self._asked_at[host] = self._clock.seconds()
        if isinstance(found, list):
            self.known[host] = list(dict.fromkeys(found))[:MOST_ADDRESSES]
            self.why.pop(host, None)
        elif isinstance(found, Failure):
            why = getattr(found.value, "strerror", None) or found.getErrorMessage()
            if host not in self.why:
                log.warn("{host} cannot be looked up: {error}", host=host, error=why)
            self.why[host] = why
        if not waiting.called:
            waiting.callback(None)
        return found if isinstance(found, list) else None

    def _as_known(self, place: Target) -> list[Target]:
        # A name that never stood for anything is a candidate all the same: it is said to be down, and why.
        addresses = self.known.get(place.host)
        return [place._replace(hostaddr=address) for address in addresses] if addresses else [place]


def is_literal(host: str) -> bool:
    """Whether there is nothing to look up: an address, or the directory of a unix socket."""
    if host.startswith("/"):
        return True
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def look_up(host: str, port: int) -> Deferred[list[str]]:
    """Ask the system, beside the loop."""
    return deferToThread(_look_up, host, port)


def _look_up(host: str, port: int) -> list[str]:
    return [str(address[4][0]) for address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
