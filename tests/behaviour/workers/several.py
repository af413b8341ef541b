"""What the tests of several workers have in common."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pgbeam_core import ask_running

from .. import frames
from ..beams import Beam
from ..wireclient import Frame, WireClient, error_fields

Two = Callable[..., Beam]
"""two(mode, settings={…}) starts a PgBeam with two workers."""
Crowd = Callable[..., list[WireClient]]
"""crowd(beam, 4) gives so many clients."""


def said(reply: list[Frame]) -> str:
    """The first value of the last row, or the SQLSTATE of the error."""
    for frame in reversed(reply):
        if frame.tag == b"E":
            return error_fields(frame.body)["C"]
        if frame.tag == b"D":
            return frame.body[6:].decode()
    return ""


def ask(client: WireClient, sql: str) -> str:
    """Ask, and give what was said."""
    return said(client.ask(frames.query(sql)))


def control(beam: Beam, what: str, **arguments: Any) -> Any:
    """Ask over the control socket."""
    return ask_running(state_dir(beam), what, **arguments)


def state_dir(beam: Beam) -> Path:
    """Where it is, by default."""
    return beam.log_path.parent / ".pgbeam"


def worker_of(beam: Beam, client: WireClient) -> int:
    """The process id of the worker that serves a client."""
    port = client.socket.getsockname()[1]
    for worker in beam.workers():
        if any(each.raddr and each.raddr.port == port for each in worker.net_connections("tcp")):
            return int(worker.pid)
    raise AssertionError(f"no worker has the client at port {port}")


def until(true: Callable[[], bool], seconds: float = 8.0) -> None:
    """Wait until it is true."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
