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
    told = _Told(path)
    every_s = int(wanted) / 2_000_000 if wanted.isdigit() and pid in ("", str(os.getpid())) else 0.0

    def alive() -> None:
        told(_ALIVE)
        reactor.callLater(every_s, alive)

    def tell(state: str) -> None:
        told(state)
        if state == READY and every_s and not told.watched:
            told.watched = True
            alive()

    return tell


def reloading() -> str:
    """What is told ahead of a reload; READY follows it."""
    return f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}"


class _Told:
    """Sends to systemd's socket. What cannot be sent is told in the log, once."""

    def __init__(self, path: str) -> None:
        self.watched = False
        self._address = "\0" + path[1:] if path.startswith("@") else path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._failed = False

    def __call__(self, state: str) -> None:
        try:
            self._socket.sendto(state.encode(), self._address)
        except OSError as error:
            if not self._failed:
                self._failed = True
                log.warn("systemd cannot be told how PgBeam is: {reason}", reason=error.strerror or str(error))
