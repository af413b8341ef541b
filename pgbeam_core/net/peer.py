"""Who is at the other end of a client's socket, as far as that tells."""

from __future__ import annotations

import pwd
import socket
import struct
from functools import lru_cache
from typing import Any

from pgbeam_core.net.channel import UNIX, Channel
from pgbeam_core.net.streams import Stream

_CREDENTIALS = struct.Struct("3i")
"""Process, user and group: the kernel's, as of when the client connected."""


def channel_of(transport: Any) -> Channel:
    """A client that has just connected."""
    if isinstance(transport, Stream):
        name = transport.peername()
        if isinstance(name, tuple):
            return Channel(name[0], name[1])
        return Channel(UNIX, system_user=local_user(transport))
    peer = transport.getPeer()
    host = getattr(peer, "host", None)
    if host is None:
        return Channel(UNIX, system_user=local_user(transport))
    return Channel(str(host), int(getattr(peer, "port", 0)))


def local_user(transport: Any) -> str | None:
    """The user of this machine at the other end of a socket in the file system; None where the system does not tell."""
    handle = transport.getHandle() if hasattr(transport, "getHandle") else None
    if handle is None or not hasattr(socket, "SO_PEERCRED"):
        return None
    try:
        found = handle.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    except OSError:
        return None
    return _name(_CREDENTIALS.unpack(found)[1])


@lru_cache(maxsize=1000)
def _name(user: int) -> str | None:
    """Asking for it may be slow where users are kept elsewhere, so it is done once."""
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return None
