"""Ends what a bench started when the bench itself was killed: a process of its own, told of each pid on its stdin."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path


class Guard:
    """Remove `folder`, and end every process it was told of, once this process is gone, however that came about."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, __file__, str(folder)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True, cwd="/", text=True)

    def watch(self, pid: int, number: signal.Signals = signal.SIGKILL) -> None:
        """Add a process; it leads a process group of its own, which gets the signal."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(f"{pid} {_started(pid)} {int(number)}\n")
            self._process.stdin.flush()

    def dismiss(self) -> None:
        """Have it look after what is left, now."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()


def _started(pid: int) -> str:
    """When the process began, in ticks since boot: a pid alone may be somebody else's by the time it counts."""
    with contextlib.suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    return ""


def main() -> None:
    """Wait for the end of stdin, then clean up."""
    watched = [line.split() for line in sys.stdin]
    for entry in reversed(watched):
        if len(entry) == 3 and _started(int(entry[0])) == entry[1]:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(int(entry[0]), int(entry[2]))
    shutil.rmtree(sys.argv[1], ignore_errors=True)


if __name__ == "__main__":
    main()
