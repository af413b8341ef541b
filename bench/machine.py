"""The machine on which it all runs."""

from __future__ import annotations

import os
import platform
import resource
from pathlib import Path

from bench.errors import RunFailed

FILES_BESIDE_CLIENTS = 1_000


def check() -> None:
    """RunFailed where the bench cannot measure."""
    if not Path("/proc/self/stat").exists():
        raise RunFailed("the bench reads CPU times from /proc: it needs Linux")


def facts() -> dict[str, str]:
    """What a reader must know to compare: processor, cores, memory, kernel, Python, load before the start."""
    return {
        "processor": _after_colon("/proc/cpuinfo", "model name") or platform.machine(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load at start": f"{os.getloadavg()[0]:.1f}",
    }


def allow_files(clients: int) -> int:
    """Let this process and those it starts open that many connections; how many clients that allows in the end."""
    wanted = clients + FILES_BESIDE_CLIENTS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        for limits in ((wanted, max(hard, wanted)), (min(wanted, hard), hard)):
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, limits)
                break
            except (ValueError, OSError):
                continue
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(0, min(clients, soft - FILES_BESIDE_CLIENTS, _ephemeral_ports() // 2))


def _ephemeral_ports() -> int:
    low, high = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    return int(high) - int(low)


def _after_colon(path: str, key: str) -> str:
    for line in Path(path).read_text().splitlines():
        if line.startswith(key):
            return line.partition(":")[2].strip()
    return ""
