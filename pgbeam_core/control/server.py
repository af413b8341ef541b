"""Listens on the control socket."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorUNIX
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.protocols.basic import LineOnlyReceiver
from twisted.protocols.policies import TimeoutMixin

from pgbeam_core.control.door import Door, Handed, bound
from pgbeam_core.control.registry import Control, no

NAME = "control.sock"
MOST_BYTES = 64 * 1024
"""Of one request."""
MOST_NESTED = 32
"""Tables and lists of a request within one another."""
IDLE_S = 30
"""For one request to come, whole."""
_MOST_CONNECTIONS = 32
_MOST_WAITING = 100
"""Requests of one connection that wait for the answer to another."""
_TOO_NESTED = f"a request is nested at most {MOST_NESTED} deep"
_TRY_AGAIN_S = 5.0
"""Between looks at whether another PgBeam with this `state_dir` has ended."""

log = Logger(__name__)


def nested(value: object) -> int:
    """How many tables and lists are within one another at most."""
    depth, level = 0, [value]
    while level := [each for each in level if isinstance(each, dict | list)]:
        depth += 1
        level = [below for each in level for below in (each.values() if isinstance(each, dict) else each)]
    return depth


class ControlConnection(LineOnlyReceiver, TimeoutMixin):
    """One connection. Its next request is looked at when the one before is answered."""

    delimiter = b"\n"
    MAX_LENGTH = MOST_BYTES
    transport: Any

    def __init__(self, control: Control, open_now: set[Any]) -> None:
        self._control = control
        self._open = open_now
        self._todo: list[bytes] = []
        self._busy = False
        self._full = False
        self._asking = False

    def connectionMade(self) -> None:
        """Somebody of this account is here."""
        self._open.add(self)
        self.transport.registerProducer(self, True)
        if len(self._open) > _MOST_CONNECTIONS:
            self._refuse(f"there are {_MOST_CONNECTIONS} connections to the control socket already", "53300")
        self.setTimeout(IDLE_S)  # type: ignore[no-untyped-call]

    def connectionLost(self, reason: Any = None) -> None:
        self._open.discard(self)
        self.setTimeout(None)  # type: ignore[no-untyped-call]

    def lineReceived(self, line: bytes) -> None:
        self.resetTimeout()  # type: ignore[no-untyped-call]
        self._todo.append(line)
        if len(self._todo) > _MOST_WAITING:
            self.transport.abortConnection()
        self._next()

    def lineLengthExceeded(self, line: bytes) -> None:
        """Say why before hanging up."""
        self._refuse(f"a request is at most {MOST_BYTES} bytes long", "54000")

    def pauseProducing(self) -> None:
        """Replies are not read: no more of them, and nothing more is asked."""
        self._full = True
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        self._full = False
        self.transport.resumeProducing()
        self._next()

    def stopProducing(self) -> None:
        self._todo.clear()

    def _next(self) -> None:
        if self._asking:
            return
        self._asking = True
        while self._todo and not self._busy and not self._full:
            self._busy = True
            self._ask(self._todo.pop(0)).addCallback(self._answered)
        self._asking = False

    def _ask(self, line: bytes) -> Deferred[dict[str, Any]]:
        try:
            request: object = json.loads(line)
        except ValueError:
            return succeed(no("a request is JSON in UTF-8", "08P01"))
        except RecursionError:
            return succeed(no(_TOO_NESTED, "54000"))
        if nested(request) > MOST_NESTED:
            return succeed(no(_TOO_NESTED, "54000"))
        return self._control.ask(request)

    def _answered(self, reply: dict[str, Any]) -> None:
        self._say(reply)
        self._busy = False
        self._next()

    def _refuse(self, error: str, sqlstate: str) -> None:
        self._todo.clear()
        self._say(no(error, sqlstate))
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def _say(self, reply: dict[str, Any]) -> None:
        self.transport.write(json.dumps(reply, default=str).encode() + b"\n")


class Conversations(Factory):
    """Makes a Conversation for each connection."""

    noisy = False

    def __init__(self, control: Control) -> None:
        self._control = control
        self._open: set[Any] = set()

    def buildProtocol(self, addr: Any) -> ControlConnection:
        return ControlConnection(self._control, self._open)


class ControlSocket:
    """Listens under `state_dir`, for as long as no other PgBeam does: then this one waits for its turn.

    `given`: the socket and the lock of the PgBeam whose place this one takes, if they are for the same path.
    """

    def __init__(self, reactor: Any, control: Control, state_dir: Path, given: Handed | None = None) -> None:
        self._reactor = reactor
        self._control = control
        self._path = state_dir / NAME
        self._given = given
        self._lock: int | None = None
        self._door: Door | None = None
        self._timer: Any = None
        self._stays = False

    @property
    def listening(self) -> bool:
        return self._door is not None

    @property
    def handed(self) -> Handed | None:
        """What another process needs to go on listening; None if this one does not."""
        if self._door is None or self._lock is None:
            return None
        return Handed(str(self._path.absolute()), self._door.fileno(), self._lock)

    def start(self) -> None:
        """Listen, or say in the log why not: PgBeam runs without, too."""
        if not IReactorUNIX.implementedBy(type(self._reactor)):
            return
        try:
            if not self._take():
                log.warn(
                    "another PgBeam uses state_dir {folder}: `pgbeam cache-rules` and all that asks over {path} reach "
                    "that one, until it ends; give each its own state_dir if they are not to share replies and rules",
                    folder=str(self._path.parent),
                    path=str(self._path),
                )
                self._timer = self._reactor.callLater(_TRY_AGAIN_S, self._again)
        except Exception as error:
            log.warn("no control socket {path}: {error}", path=str(self._path), error=str(error))

    def shut(self) -> None:
        """Let who asks wait, or somebody else answer."""
        if self._door is not None:
            self._reactor.removeReader(self._door)

    def open(self) -> None:
        """Answer whoever asks, as before `shut`."""
        if self._door is not None:
            self._reactor.addReader(self._door)

    def leave_path(self) -> None:
        """Somebody else listens there: it is not removed at the end."""
        self._stays = True

    def stop(self) -> Deferred[Any]:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self.shut()
        door, self._door = self._door, None
        if door is not None:
            door.socket.close()
            if not self._stays:
                self._path.unlink(missing_ok=True)
        self._let_go()
        return succeed(None)

    def _again(self) -> None:
        try:
            if self._take():
                log.info("the other PgBeam is gone: the control socket {path} is this one's", path=str(self._path))
                return
        except Exception as error:
            log.warn("no control socket {path}: {error}", path=str(self._path), error=str(error))
            return
        self._timer = self._reactor.callLater(_TRY_AGAIN_S, self._again)

    def _take(self) -> bool:
        """Listen; False if another PgBeam does. Raises OSError."""
        given, self._given = self._given, None
        if given is not None and given.path == str(self._path.absolute()):
            self._lock = given.lock
            self._listen(socket.socket(fileno=given.socket))
            return True
        if given is not None:
            os.close(given.socket)
            os.close(given.lock)
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self._path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._lock = descriptor
        try:
            self._path.unlink(missing_ok=True)
            self._listen(bound(self._path, _MOST_CONNECTIONS))
        except BaseException:
            self._let_go()
            raise
        return True

    def _listen(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._door = Door(self._reactor, sock, Conversations(self._control))
        self.open()

    def _let_go(self) -> None:
        descriptor, self._lock = self._lock, None
        if descriptor is not None:
            os.close(descriptor)
