"""`pgbeam restart`: another process takes the place of the one that runs."""

from __future__ import annotations

import time
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from pgbeam_core import settings
from pgbeam_core.api.commands import Command
from pgbeam_core.cli import options
from pgbeam_core.control.client import ask_running
from pgbeam_core.errors import PgBeamError

ASK = "restart"
"""What the control socket is asked."""
_TRIES = 20
_PAUSE_S = 0.1


def configure(parser: ArgumentParser) -> None:
    options.add_settings_options(parser)


def run(args: Namespace) -> int:
    """Have the PgBeam that runs with the same state_dir start its successor; returns when that serves."""
    state_dir = settings.core_settings(options.read_layers(args)).state_dir
    told = ask_running(state_dir, ASK)
    while told["pending"]:
        told = _asked_again(state_dir)
    before = "" if told["before"] is None else f" the place of process {told['before']}, which stays for its clients"
    print(f"process {told['process']} has taken{before or ' over'}")
    return 0


def _asked_again(state_dir: Path) -> Any:
    """One process may just have let go of the socket when another takes it up."""
    for _ in range(_TRIES):
        try:
            return ask_running(state_dir, ASK, again=True)
        except PgBeamError as error:
            if error.sqlstate not in ("08001", "08006"):
                raise
            last = error
            time.sleep(_PAUSE_S)
    raise last


COMMAND = Command(
    "restart", "have a new process take the place of a running PgBeam; no client is cut off", configure, run
)
