"""The clients that have not logged in: anybody may be one, so there are only so many of them, shared by address."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network
from typing import Any

from pgbeam_core.wire import backend

MESSAGE = "too many connections that have not logged in"
_FAREWELL = backend.error_response("FATAL", "53300", MESSAGE)


class Unauthenticated:
    """At most `most` of them. One more, and the oldest of the address that has the most is sent away."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._size = 0
        self._clients: dict[str, dict[Any, None]] = {}
        """By address, oldest first."""

    def __len__(self) -> int:
        return self._size

    def bound(self, most: int) -> None:
        """So many there may be from now on: whoever is too many goes."""
        self.most = most
        while self._size > most:
            self.shed()

    def add(self, client: Any, address: str) -> None:
        self._clients.setdefault(address, {})[client] = None
        self._size += 1
        if self._size > self.most:
            self.shed()

    def discard(self, client: Any, address: str) -> None:
        """It has logged in, or left."""
        clients = self._clients.get(address)
        if clients is not None and client in clients:
            del clients[client]
            self._size -= 1
            if not clients:
                del self._clients[address]

    def shed(self) -> None:
        clients = max(self._clients.values(), key=len, default=None)
        if clients is not None:
            next(iter(clients)).hang_up(MESSAGE, _FAREWELL)


def neighbourhood(address: str) -> str:
    """What counts as one address: with IPv6 a /64, because everybody has at least that many to choose from."""
    if ":" not in address:
        return address
    try:
        found = IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    return str(found.ipv4_mapped or IPv6Network((found, 64), strict=False))
