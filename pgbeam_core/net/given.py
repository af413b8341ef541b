"""Listening sockets that this process was given: by the PgBeam whose place it takes, or by systemd."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from typing import NamedTuple


class Given(NamedTuple):
    """A socket that listens, and whose it is."""

    socket: socket.socket
    where: str = ""
    """As the settings of who gave it have the address."""
    removable: bool = True
    """A socket in the file system is PgBeam's to remove; one of systemd's is not."""


class GivenSockets:
    """Those that are used by nobody yet, and those that are."""

    def __init__(self, given: Iterable[Given] = ()) -> None:
        self._given = list(given)
        self._used: set[int] = set()

    def at(self, family: int, address: object) -> Given | None:
        """The one that listens on an address as getaddrinfo has it, or on a path."""
        exact = [each for each in self._given if each.socket.family == family and _is_at(each.socket, address)]
        return self._use(exact or [each for each in self._given if _covers(each.socket, family, address)])

    def of(self, where: str) -> list[Given]:
        """Those that whoever gave them had bound for that address of his settings."""
        found = [each for each in self._given if each.where == where]
        self._used.update(each.socket.fileno() for each in found)
        return found

    @property
    def unused(self) -> list[Given]:
        return [each for each in self._given if each.socket.fileno() not in self._used]

    def close_unused(self) -> None:
        for each in self.unused:
            each.socket.close()
        self._given = []

    def _use(self, found: list[Given]) -> Given | None:
        if not found:
            return None
        self._used.add(found[0].socket.fileno())
        return found[0]


def receive(descriptor: int, where: str = "", *, removable: bool = True) -> Given:
    """A socket that was inherited; who is started here does not inherit it. Raises OSError if it is none."""
    os.set_inheritable(descriptor, False)
    sock = socket.socket(fileno=descriptor)
    sock.setblocking(False)
    return Given(sock, where, removable)


def _is_at(sock: socket.socket, address: object) -> bool:
    own = sock.getsockname()
    if isinstance(own, tuple) and isinstance(address, tuple):
        return own[:2] == address[:2]
    return bool(own == address)


def _covers(sock: socket.socket, family: int, address: object) -> bool:
    """It takes IPv4's connections to any address, too."""
    if family != socket.AF_INET or sock.family != socket.AF_INET6 or not isinstance(address, tuple):
        return False
    own = sock.getsockname()
    both = not sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
    return both and address[0] == "0.0.0.0" and own[:2] == ("::", address[1])
