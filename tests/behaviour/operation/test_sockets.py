"""What PgBeam asks of the system for its connections, seen on the sockets of a process that runs."""

from __future__ import annotations

import ctypes
import os
import socket
import sys

import psutil  # type: ignore[import-untyped]
import pytest

from tests.behaviour import frames
from tests.behaviour.clusters import Cluster
from tests.behaviour.conftest import BeamFactory

pytestmark = [pytest.mark.pg, pytest.mark.newest]
_PIDFD_GETFD = 438
USER_TIMEOUT_S = 77


def options(process: psutil.Process, port: int, *, theirs: bool) -> list[int]:
    """SO_KEEPALIVE, TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT, TCP_NODELAY and TCP_USER_TIMEOUT of its connection to a
    port, or from its own one."""
    found = next(
        each.fd
        for each in process.net_connections("tcp")
        if each.raddr and (each.raddr.port if theirs else each.laddr.port) == port
    )
    copy = ctypes.CDLL(None, use_errno=True).syscall(_PIDFD_GETFD, os.pidfd_open(process.pid), found, 0)
    if copy < 0:
        pytest.skip(f"this user may not look at another process's sockets: {os.strerror(ctypes.get_errno())}")
    with socket.socket(fileno=copy) as sock:
        tcp = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_NODELAY)
        more = [sock.getsockopt(socket.IPPROTO_TCP, option) for option in (*tcp, socket.TCP_USER_TIMEOUT)]
        return [sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE), *more]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks at sockets as Linux lets it")
def test_both_legs_are_given_up_by_the_system(cluster: Cluster, beam: BeamFactory) -> None:
    """A peer that has vanished is asked after a minute, on both legs; `tcp_user_timeout_s` bounds what it leaves
    unacknowledged."""
    mine = beam(cluster, "transaction", settings={"tcp_user_timeout_s": float(USER_TIMEOUT_S)})
    process = psutil.Process(mine.process.pid)
    with mine.wire() as client:
        client.ask(frames.query("SELECT 1"))
        wanted = [1, 60, 15, 4, 1, USER_TIMEOUT_S * 1000]
        assert options(process, mine.port, theirs=False) == wanted
        assert options(process, cluster.port, theirs=True) == wanted
