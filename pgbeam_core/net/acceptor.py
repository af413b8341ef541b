"""Where clients come in. Whoever accepts them serves them, or hands each to a worker."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import Logger
from zope.interface import implementer

from pgbeam_core.errors import PgBeamError
from pgbeam_core.net import sockets, transport

if TYPE_CHECKING:
    from pgbeam_core.settings import Core, Endpoint

log = Logger(__name__)

AT_ONCE = 64
"""Clients that are accepted before anything else gets its turn."""
_OUT_OF_DESCRIPTORS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_BREATHER_S = 1.0

Accepted = Callable[[socket.socket], None]


class Acceptor:
    """The listening sockets. Bound when it is made; `open` lets clients in. Raises PgBeamError."""

    def __init__(self, reactor: Any, settings: Core, accepted: Accepted) -> None:
        self._reactor = reactor
        self._doors: list[_Listener] = []
        self._open = False
        self._paths: list[str] = []
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
            self._doors += [_Listener(reactor, sock, where, accepted) for sock in bound]
            self.addresses.append((where.host, where.port) if where.path else bound[0].getsockname()[:2])

    def _bind(self, where: Endpoint, settings: Core) -> list[socket.socket]:
        if where.path is None:
            return sockets.bind(where.host, where.port)
        bound = sockets.bind_path(where.path, int(settings.unix_socket_mode, 8), settings.unix_socket_group)
        self._paths.append(where.path)
        return [bound]

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
        if self._breather is not None and self._breather.active():
            self._breather.cancel()
        self.socket.close()

    def _failed(self, error: OSError) -> None:
        """A client that left early is none; where descriptors are short, trying again at once is of no use."""
        if error.errno in _OUT_OF_DESCRIPTORS:
            log.error("cannot accept clients: {error}", error=str(error))
            self._reactor.removeReader(self)
            self._breather = self._reactor.callLater(_BREATHER_S, self._reactor.addReader, self)
