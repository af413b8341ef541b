"""Tells systemd how PgBeam is (`Type=notify`), and takes the sockets that it has opened (a .socket unit)."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping, MutableMapping
from pathlib import Path
from typing import Any

from twisted.logger import Logger

from pgbeam_core.errors import PgBeamError
from pgbeam_core.net.given import Given, GivenSockets, receive

log = Logger(__name__)

Tell = Callable[[str], None]
READY, STOPPING = "READY=1", "STOPPING=1"
_ALIVE = "WATCHDOG=1"
_FIRST = 3
"""Of the descriptors that systemd hands over."""


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


def replaced_by(pid: int) -> str:
    """What is told once another process is PgBeam: systemd listens to that one from now on."""
    return f"MAINPID={pid}\n{READY}"


def variables(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What a process that takes the place of this one needs of the variables that `notifier` takes out."""
    return {name: environment[name] for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC") if name in environment}


def sockets(environment: Mapping[str, str] | None = None) -> list[Given]:
    """The listening sockets that systemd has opened for this process: sd_listen_fds(3), without its library.

    Raises PgBeamError for what is no socket that listens.
    """
    found_there = _at_start() if environment is None else environment
    pid, count = found_there.get("LISTEN_PID"), found_there.get("LISTEN_FDS", "")
    if pid != str(os.getpid()) or not count.isdigit():
        return []
    names = found_there.get("LISTEN_FDNAMES", "").split(":")
    found = []
    for number in range(int(count)):
        name = names[number] if number < len(names) and names[number] else "unknown"
        try:
            given = receive(_FIRST + number, removable=False)
            listens = given.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        except OSError:
            listens = 0
        if not listens or given.socket.type != socket.SOCK_STREAM:
            text = f"systemd gave descriptor {_FIRST + number} ({name}), which is no stream socket that listens"
            raise PgBeamError(text, hint="The .socket unit has ListenStream=, and no Accept=yes.")
        found.append(given)
    return found


def _at_start() -> dict[str, str]:
    """The environment that this process was started with: Twisted has taken systemd's variables out of it, when it was
    imported, and is content only with sockets that have names."""
    try:
        entries = Path("/proc/self/environ").read_bytes().split(b"\0")
    except OSError:
        return dict(os.environ)
    return dict(os.fsdecode(entry).partition("=")[::2] for entry in entries)


def check_used(given: GivenSockets) -> None:
    """Raises PgBeamError for a socket that systemd has opened, and the settings do not want."""
    unused = [_address(each.socket) for each in given.unused]
    if unused:
        text = f"systemd listens on {', '.join(unused)}, and the settings do not"
        raise PgBeamError(
            text, hint="Name it in listen or metrics_listen, or take ListenStream= out of the .socket unit."
        )


def _address(sock: socket.socket) -> str:
    name = sock.getsockname()
    if not isinstance(name, tuple):
        return str(name)
    return f"[{name[0]}]:{name[1]}" if sock.family == socket.AF_INET6 else f"{name[0]}:{name[1]}"


class _Notifier:
    """Sends to systemd's socket, and every so many seconds that all is well; 0: nobody watches."""

    def __init__(self, reactor: Any, path: str, alive_every_s: float) -> None:
        self._reactor = reactor
        self._address = "\0" + path[1:] if path.startswith("@") else path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._alive_every_s = alive_every_s
        self._beats = self._failed = self._over = False

    def tell(self, state: str) -> None:
        """What cannot be sent is told in the log, once."""
        self._send(state)
        if state.startswith("MAINPID="):
            self._over = state != replaced_by(os.getpid())
            self._beats = self._beats and not self._over
            state = state.partition("\n")[2]
        if not self._over and state == READY and self._alive_every_s and not self._beats:
            self._beats = True
            self._beat()

    def _beat(self) -> None:
        if self._over:
            return
        self._send(_ALIVE)
        self._reactor.callLater(self._alive_every_s, self._beat)

    def _send(self, state: str) -> None:
        if self._over and not state.startswith("MAINPID="):
            return  # another process is PgBeam now, and speaks for itself
        try:
            self._socket.sendto(state.encode(), self._address)
        except OSError as error:
            if not self._failed:
                self._failed = True
                log.warn("systemd cannot be told how PgBeam is: {reason}", reason=error.strerror or str(error))
