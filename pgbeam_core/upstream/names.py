"""What host names stand for, looked up again before each round: a name with several addresses is several candidates."""

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

Lookup = Callable[[str, int], Deferred[list[str]]]


class Names:
    """Of one target. lookup(host, port): the addresses of a name, in the order in which they are to be tried."""

    def __init__(self, target: Target, clock: Any, lookup: Lookup | None = None) -> None:
        self._target = target
        self._clock = clock
        self._lookup = lookup or look_up
        self._known: dict[str, list[str]] = {}
        self._under_way: dict[str, Deferred[list[str]]] = {}
        self._unknown: set[str] = set()
        """Names that could not be looked up the last time: the log has been told."""

    def places(self) -> Deferred[list[Target]]:
        """A target for each address; those from before of a name that cannot be looked up now."""
        each = [self._addresses(place) for place in self._target.places]
        found: Deferred[list[list[Target]]] = gatherResults(each)
        return found.addCallback(lambda lists: [place for several in lists for place in several])

    def _addresses(self, place: Target) -> Deferred[list[Target]]:
        host = place.host
        if is_literal(host):
            return succeed([place])
        waiting: Deferred[None] = Deferred()
        if host not in self._under_way:
            self._under_way[host] = self._lookup(host, place.port)
        self._under_way[host].addBoth(self._over, host, waiting)
        waiting.addTimeout(LOOKUP_S, self._clock)
        return waiting.addBoth(lambda _: self._as_known(place))

    def _over(self, found: Any, host: str, waiting: Deferred[None]) -> Any:
        self._under_way.pop(host, None)
        if isinstance(found, list):
            self._known[host] = list(dict.fromkeys(found))[:MOST_ADDRESSES]
            self._unknown.discard(host)
        elif isinstance(found, Failure) and host not in self._unknown:
            self._unknown.add(host)
            log.warn("{host} cannot be looked up: {error}", host=host, error=found.getErrorMessage())
        if not waiting.called:
            waiting.callback(None)
        return found if isinstance(found, list) else None

    def _as_known(self, place: Target) -> list[Target]:
        # A name that never stood for anything is a candidate all the same: it is said to be down, and why.
        addresses = self._known.get(place.host)
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
