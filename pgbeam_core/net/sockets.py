"""Sockets to listen on: TCP, and in the file system."""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import socket
import stat
import sys
from pathlib import Path
from typing import Any

from pgbeam_core.errors import PgBeamError
from pgbeam_core.net.given import GivenSockets

_KEEPALIVE = (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4))
"""A peer that vanished without a word is noticed after two minutes instead of two hours."""
INHERITED = sys.platform == "linux"
"""What `prompt` sets on a socket that listens holds for those that it accepts."""


def prompt(sock: Any) -> None:
    """Small messages must not wait for one another, and a peer that vanished must be noticed."""
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE:
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def give_up_after(transport: Any, seconds: float) -> None:
    """What the peer of a connection does not acknowledge, or makes no room for, in that time is its end. 0: never.

    Where the system has no such thing (TCP_USER_TIMEOUT is Linux's), nothing happens.
    """
    option = getattr(socket, "TCP_USER_TIMEOUT", None)
    sock = transport.getHandle() if seconds and hasattr(transport, "getHandle") else None
    if option is not None and sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError):  # it has gone already
            sock.setsockopt(socket.IPPROTO_TCP, option, int(seconds * 1000))


def bind(host: str, port: int, given: GivenSockets | None = None) -> list[socket.socket]:
    """Sockets for the addresses that a host stands for, which do not listen yet, but for those that were `given`.

    Raises OSError.
    """
    bound: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, address in dict.fromkeys(found):
            there = None if given is None else given.at(family, address)
            if there is not None:
                prompt(there.socket)
                bound.append(there.socket)
                continue
            sock = socket.socket(family, kind, protocol)
            bound.append(sock)
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            prompt(sock)
            sock.bind(address)
    except OSError:
        for sock in bound:
            sock.close()
        raise
    return bound


def bind_path(path: str, mode: int, group: str = "") -> socket.socket:
    """A socket in the file system, which does not listen yet; one that a dead process has left there goes.

    Raises OSError, or PgBeamError for a group that does not exist.
    """
    _clear(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.bind(path)
        # Nobody can connect before it listens, so nobody gets in with the permissions that it has now.
        permit(path, mode, group)
    except BaseException:
        sock.close()
        raise
    return sock


def permit(path: str, mode: int, group: str) -> None:
    """Say who may connect to a socket in the file system. Raises OSError, or PgBeamError for a group that is none."""
    if group:
        os.chown(path, -1, _group(group))
    Path(path).chmod(mode)


def remove(path: str) -> None:
    """Nobody listens there any more."""
    with contextlib.suppress(OSError):
        Path(path).unlink()


def _clear(path: str) -> None:
    """Remove a socket that nobody listens on. Raises OSError if somebody does."""
    try:
        if not stat.S_ISSOCK(Path(path).lstat().st_mode):
            raise OSError(errno.EEXIST, "something is there that is no socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink()
            return
        except OSError:
            pass  # it is full, or not for us: somebody listens
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def _group(name: str) -> int:
    if name.isdigit():
        return int(name)
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise PgBeamError(f'unix_socket_group = "{name}": there is no such group') from None
