"""Asks a running PgBeam over its control socket. Blocks: for command lines."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

from pgbeam_core.control.server import NAME
from pgbeam_core.errors import PgBeamError

_SECONDS = 10.0


def ask_running(state_dir: Path, what: str, **arguments: Any) -> Any:
    """The result of a request to the PgBeam whose `state_dir` that is.

    Raises PgBeamError: 08001 if none runs there, else with what it said.
    """
    path = state_dir / NAME
    request = json.dumps({"ask": what, **arguments}).encode() + b"\n"
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_SECONDS)
            connection.connect(str(path))
            connection.sendall(request)
            with connection.makefile("rb") as replies:
                line = replies.readline()
    except OSError as error:
        message = f"no PgBeam answers at {path}: {error.strerror or error}"
        raise PgBeamError(message, sqlstate="08001", hint="Is it running, with the same state_dir?") from error
    if not line.endswith(b"\n"):
        raise PgBeamError(f"the PgBeam at {path} hung up", sqlstate="08006")
    reply = json.loads(line)
    if not reply["ok"]:
        raise PgBeamError(reply["error"], sqlstate=reply["sqlstate"])
    return reply["result"]
