"""The running server process: its pid file, waiting until it is ready, and stopping it, ours or left over."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

POLL_S = 0.02


@dataclass(frozen=True)
class PidFile:
    """What postmaster.pid says. `ready` once it accepts connections."""

    pid: int
    port: int | None
    ready: bool


def read_pid_file(data_dir: Path) -> PidFile | None:
    """postmaster.pid of a data folder; None where there is none, or it is not written yet."""
    try:
        lines = (data_dir / "postmaster.pid").read_text().splitlines()
        pid = abs(int(lines[0]))
    except (OSError, IndexError, ValueError):
        return None
    port = int(lines[3]) if len(lines) > 3 and lines[3].isdigit() else None
    return PidFile(pid, port, len(lines) > 7 and lines[7].strip() == "ready")


def is_postmaster_of(pid: int, data_dir: Path) -> bool:
    """Whether that process is alive and serves that folder: after a reboot the number may be anybody's."""
    if not is_alive(pid):
        return False
    try:
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        # Without /proc we trust the number; the folder's owner is the only one whom we can signal anyway.
        return not Path("/proc/self").exists()
    return os.fsencode(data_dir) in arguments


def is_alive(pid: int) -> bool:
    """Whether that process exists and is no zombie."""
    with contextlib.suppress(ChildProcessError):
        if os.waitpid(pid, os.WNOHANG)[0] == pid:  # ours, and over
            return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    with contextlib.suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return True


def stop(pid: int, fast_s: float = 30.0, immediate_s: float = 10.0) -> None:
    """Fast shutdown (sessions are ended), immediate shutdown when that takes too long, then the axe."""
    for number, patience in ((signal.SIGINT, fast_s), (signal.SIGQUIT, immediate_s), (signal.SIGKILL, 5.0)):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return
        if wait_for_end(pid, patience):
            return


def wait_for_end(pid: int, seconds: float) -> bool:
    """Whether the process was gone within that time."""
    deadline = time.monotonic() + seconds
    while is_alive(pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True
