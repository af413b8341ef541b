"""The listening socket of the control socket, which may go from one process to another."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any, NamedTuple

from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.protocol import Factory
from zope.interface import implementer


class Handed(NamedTuple):
    """A control socket that goes from one process to another: where it is, and the descriptors."""

    path: str
    socket: int
    lock: int
    """Held as long as one process has it open."""


@implementer(IReadDescriptor)
class Door:
    """The listening socket, as the reactor reads from it."""

    def __init__(self, reactor: Any, sock: socket.socket, conversations: Factory) -> None:
        self.socket = sock
        self._reactor = reactor
        self._conversations = conversations

    def fileno(self) -> int:
        """As the reactor wants it."""
        return self.socket.fileno()

    def logPrefix(self) -> str:
        """As the reactor wants it."""
        return "control"

    def doRead(self) -> None:
        try:
            accepted, _ = self.socket.accept()
        except OSError:
            return
        with accepted:
            accepted.setblocking(False)
            self._reactor.adoptStreamConnection(accepted.fileno(), socket.AF_UNIX, self._conversations)

    def connectionLost(self, reason: object) -> None:
        self.socket.close()


def bound(path: Path, backlog: int) -> socket.socket:
    """A socket that listens there. Raises OSError."""
    sock = socket.socket(socket.AF_UNIX)
    mask = os.umask(0o177)  # it is for its owner only from the first moment on
    try:
        sock.bind(str(path))
        sock.listen(backlog)
    except BaseException:
        sock.close()
        raise
    finally:
        os.umask(mask)
    return sock
