"""Listens on the control socket."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

from twisted.internet.interfaces import IListeningPort, IReactorUNIX
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.protocols.basic import LineOnlyReceiver
from twisted.protocols.policies import TimeoutMixin

from pgbeam_core.control.registry import Control

NAME = "control.sock"
MOST_BYTES = 64 * 1024
"""Of one request."""
IDLE_S = 30
_MOST_CONNECTIONS = 32
_MOST_WAITING = 100
"""Requests of one connection that wait for the answer to another."""

log = Logger()


class Conversation(LineOnlyReceiver, TimeoutMixin):
    """One connection. Its next request is looked at when the one before is answered."""

    delimiter = b"\n"
    MAX_LENGTH = MOST_BYTES
    transport: Any

    def __init__(self, control: Control, open_now: set[Any]) -> None:
        self._control = control
        self._open = open_now
        self._todo: list[bytes] = []
        self._busy = False

    def connectionMade(self) -> None:
        """Somebody of this account is here."""
        self._open.add(self)
        if len(self._open) > _MOST_CONNECTIONS:
            self.transport.loseConnection()
        self.setTimeout(IDLE_S)  # type: ignore[no-untyped-call]

    def connectionLost(self, reason: Any = None) -> None:
        """Gone."""
        self._open.discard(self)
        self.setTimeout(None)  # type: ignore[no-untyped-call]

    def lineReceived(self, line: bytes) -> None:
        """One request."""
        self.resetTimeout()  # type: ignore[no-untyped-call]
        self._todo.append(line)
        if len(self._todo) > _MOST_WAITING:
            self.transport.abortConnection()
        self._next()

    def lineLengthExceeded(self, line: bytes) -> None:
        """Say why before hanging up."""
        self._say({"ok": False, "error": f"a request is at most {MOST_BYTES} bytes long", "sqlstate": "54000"})
        self.transport.loseConnection()

    def _next(self) -> None:
        if self._busy or not self._todo:
            return
        self._busy = True
        try:
            request: object = json.loads(self._todo.pop(0))
        except ValueError:
            request = None
        self._control.ask(request).addCallback(self._answered)

    def _answered(self, reply: dict[str, Any]) -> None:
        self._busy = False
        self._say(reply)
        self._next()

    def _say(self, reply: dict[str, Any]) -> None:
        self.transport.write(json.dumps(reply, default=str).encode() + b"\n")


class Conversations(Factory):
    """Makes a Conversation for each connection."""

    noisy = False

    def __init__(self, control: Control) -> None:
        self._control = control
        self._open: set[Any] = set()

    def buildProtocol(self, addr: Any) -> Conversation:
        """A new one."""
        return Conversation(self._control, self._open)


def listen(reactor: Any, control: Control, state_dir: Path) -> IListeningPort | None:
    """Listen under `state_dir`; None, with a line in the log, if that is not possible: PgBeam runs without, too."""
    if not IReactorUNIX.providedBy(reactor):
        return None
    path = state_dir / NAME
    mask = os.umask(0o177)  # the socket is for its owner only from the first moment on
    try:
        if _in_use(path):
            log.warn("another PgBeam has the control socket {path}; this one has none", path=str(path))
            return None
        path.unlink(missing_ok=True)
        return reactor.listenUNIX(str(path), Conversations(control), mode=0o600)
    except Exception as error:
        log.warn("no control socket {path}: {error}", path=str(path), error=str(error))
        return None
    finally:
        os.umask(mask)


def _in_use(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True
