"""What processes have used, from /proc. A tree is a process with all its descendants."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Usage(NamedTuple):
    """One line of /proc/PID/stat. Times are clock ticks; `ticks` includes children that ended and were waited for."""

    pid: int
    parent: int
    ticks: int
    started: int


def parse_stat(line: str) -> Usage:
    """Read the line; the program's name in it may hold spaces and parentheses."""
    head, _, tail = line.rpartition(")")
    fields = tail.split()
    return Usage(int(head.split(" ", 1)[0]), int(fields[1]), sum(map(int, fields[11:15])), int(fields[19]))


def usage_of(pid: int) -> Usage | None:
    """None if there is no such process any more."""
    with contextlib.suppress(OSError):
        return parse_stat((PROC / str(pid) / "stat").read_text())
    return None


def tree(root: int) -> list[Usage]:
    """The process and its descendants that are alive now."""
    everybody = [found for entry in PROC.iterdir() if entry.name.isdigit() and (found := usage_of(int(entry.name)))]
    children: dict[int, list[Usage]] = {}
    for one in everybody:
        children.setdefault(one.parent, []).append(one)
    family = [one for one in everybody if one.pid == root]
    for one in family:
        family += children.get(one.pid, [])
    return family


def cpu_s(root: int) -> float:
    """Seconds of CPU that the tree has used in its life, in user and kernel mode, the dead included."""
    return sum(one.ticks for one in tree(root)) / TICKS_PER_S


def memory_bytes(root: int) -> int:
    """Memory of the tree; what processes share is counted once."""
    return sum(_proportional_bytes(one.pid) for one in tree(root))


def _proportional_bytes(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in (PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0
