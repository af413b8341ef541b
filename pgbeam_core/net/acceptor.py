"""Where clients come in. Whoever accepts them serves them, or hands each to a worker."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import Logger
from zope.interface import implementer

from pgbeam_core.errors import PgBeamError
from pgbeam_core.net import sockets, transport
from pgbeam_core.net.given import Given, GivenSockets

if TYPE_CHECKING:
    from pgbeam_core.settings import Core, Endpoint

log = Logger(__name__)

AT_ONCE = 64
"""Clients that are accepted before anything else gets its turn."""
_OUT_OF_DESCRIPTORS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_BREATHER_S = 1.0

Accepted = Callable[[socket.socket], None]


class Acceptor:
    """The listening sockets. Bound when it is made; `open` lets clients in. Raises PgBeamError.

    `given` are those that listen already; they are taken where they are what the settings want.
    """

    def __init__(self, reactor: Any, settings: Core, accepted: Accepted, given: GivenSockets | None = None) -> None:
        self._reactor = reactor
        self._given = GivenSockets() if given is None else given
        self._doors: list[_Listener] = []
        self._open = False
        self._paths: set[str] = set()
        """Of the sockets that are removed at the end."""
        self.addresses: list[tuple[str, int]] = []
        """(host or folder, port) of every address, with the port that the system chose where 0 was asked for."""
        for where in settings.listen:
            try:
                bound = self._bind(where, settings)
            except OSError as error:
                self.close()
                raise transport.cannot_listen(where, error) from error
            except PgBeamError:
                self.close()
                raise
            taken = {door.fileno() for door in self._doors}  # one may stand for several addresses
            self._doors += [_Listener(reactor, sock, where, accepted) for sock in bound if sock.fileno() not in taken]
            self.addresses.append((where.host, where.port) if where.path else bound[0].getsockname()[:2])

    def _bind(self, where: Endpoint, settings: Core) -> list[socket.socket]:
        if where.path is None:
            chosen = [] if where.port else self._given.of(str(where))
            return [each.socket for each in chosen] or sockets.bind(where.host, where.port, self._given)
        mode, group = int(settings.unix_socket_mode, 8), settings.unix_socket_group
        there = self._given.at(socket.AF_UNIX, where.path)
        if there is None:
            bound = sockets.bind_path(where.path, mode, group)
            self._paths.add(where.path)
            return [bound]
        if there.removable:
            self._paths.add(where.path)
            sockets.permit(where.path, mode, group)
        return [there.socket]

    def sockets(self) -> list[Given]:
        """Those that it listens on."""
        return [Given(door.socket, str(door.where), door.where.path in self._paths) for door in self._doors]

    def leave_paths(self, kept: Collection[str]) -> None:
        """Somebody else listens there: these are not removed at the end."""
        self._paths -= set(kept)

    def listen(self) -> None:
        """Let clients connect; they wait until the doors are open. Raises PgBeamError."""
        for door in self._doors:
            try:
                door.socket.listen(transport.BACKLOG)
            except OSError as error:
                raise transport.cannot_listen(door.where, error) from error
        for host, port in self.addresses:
            log.info("listening on {host}:{port}", host=host, port=port)

    def open(self) -> None:
        for door in self._doors:
            if not self._open:
                self._reactor.addReader(door)
        self._open = True

    def shut(self) -> None:
        """Let clients wait outside for a while."""
        for door in self._doors:
            door.rest()
            self._reactor.removeReader(door)
        self._open = False

    def close(self) -> None:
        self.shut()
        doors, self._doors = self._doors, []
        for door in doors:
            door.close()
        while self._paths:
            sockets.remove(self._paths.pop())


@implementer(IReadDescriptor)
class _Listener:
    """One listening socket, as the reactor reads from it."""

    def __init__(self, reactor: Any, sock: socket.socket, where: Endpoint, accepted: Accepted) -> None:
        self.socket = sock
        self.where = where
        self._reactor = reactor
        self._accepted = accepted
        self._breather: Any = None

    def fileno(self) -> int:
        """As the reactor wants it."""
        return self.socket.fileno()

    def logPrefix(self) -> str:
        """As the reactor wants it."""
        return "reception"

    def doRead(self) -> None:
        for _ in range(AT_ONCE):
            try:
                client, _address = self.socket.accept()
            except BlockingIOError:
                return
            except OSError as error:
                self._failed(error)
                return
            self._accepted(client)

    def connectionLost(self, reason: object) -> None:
        self.close()

    def close(self) -> None:
        self.rest()
        self.socket.close()

    def rest(self) -> None:
        """It does not go on by itself."""
        if self._breather is not None and self._breather.active():
            self._breather.cancel()

    def _failed(self, error: OSError) -> None:
        """A client that left early is none; where descriptors are short, trying again at once is of no use."""
        if error.errno in _OUT_OF_DESCRIPTORS:
            log.error("cannot accept clients: {error}", error=str(error))
            self._reactor.removeReader(self)
            self._breather = self._reactor.callLater(_BREATHER_S, self._reactor.addReader, self)
