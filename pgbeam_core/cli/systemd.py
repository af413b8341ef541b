"""Tells systemd how PgBeam is, where it asks for that (`Type=notify`): sd_notify(3), without its library."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, MutableMapping
from typing import Any

from twisted.logger import Logger

log = Logger(__name__)

Tell = Callable[[str], None]
READY, STOPPING = "READY=1", "STOPPING=1"
_ALIVE = "WATCHDOG=1"


def notifier(reactor: Any, environment: MutableMapping[str, str] = os.environ) -> Tell:
    """What tells systemd, or nobody. Takes its variables out of the environment: they are not for who is started here.

    Where systemd has a watchdog, it is told twice in its time that the loop turns, from READY on.
    """
    path = environment.pop("NOTIFY_SOCKET", "")
    wanted, pid = environment.pop("WATCHDOG_USEC", ""), environment.pop("WATCHDOG_PID", "")
    if not path:
        return lambda _state: None
    watched = wanted.isdigit() and pid in ("", str(os.getpid()))
    return _Notifier(reactor, path, int(wanted) / 2_000_000 if watched else 0.0).tell


def reloading() -> str:
    """What is told ahead of a reload; READY follows it."""
    return f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}"


class _Notifier:
    """Sends to systemd's socket, and every so many seconds that all is well; 0: nobody watches."""

    def __init__(self, reactor: Any, path: str, alive_every_s: float) -> None:
        self._reactor = reactor
        self._address = "\0" + path[1:] if path.startswith("@") else path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._alive_every_s = alive_every_s
        self._beats = self._failed = False

    def tell(self, state: str) -> None:
        """What cannot be sent is told in the log, once."""
        self._send(state)
        if state == READY and self._alive_every_s and not self._beats:
            self._beats = True
            self._beat()

    def _beat(self) -> None:
        self._send(_ALIVE)
        self._reactor.callLater(self._alive_every_s, self._beat)

    def _send(self, state: str) -> None:
        try:
            self._socket.sendto(state.encode(), self._address)
        except OSError as error:
            if not self._failed:
                self._failed = True
                log.warn("systemd cannot be told how PgBeam is: {reason}", reason=error.strerror or str(error))
