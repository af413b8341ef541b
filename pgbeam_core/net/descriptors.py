"""File descriptors: how many there are, and how many of them clients may have."""

from __future__ import annotations

import resource


def raise_limit() -> None:
    """Have as many descriptors as the system allows: the soft limit is often 1,024, for programs of another age."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):
        return  # some systems have a hard limit that nobody may have


def for_clients() -> int:
    """How many of them clients may have: a quarter is for servers, for files, and for those who are turned away."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 2**31 if soft == resource.RLIM_INFINITY else max(1, soft - soft // 4)
