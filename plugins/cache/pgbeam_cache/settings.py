"""What `[plugins.cache]` may hold."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class CacheSettings:
    """What is cached, for how long, and how much. Times are seconds."""

    enabled: bool = field(
        default=False, metadata={"help": "cache every read that may be cached, not only those that ask for it"}
    )
    ttl_s: int = field(default=60, metadata={"help": "how long a reply is fresh", "min": 0, "max": 2_147_483_647})
    swr_s: int = field(
        default=30,
        metadata={"help": "how long after that it is served while it is refreshed", "min": 0, "max": 2_147_483_647},
    )
    max_entries: int = field(default=10_000, metadata={"help": "replies kept in memory", "min": 1})
    max_entry_bytes: int = field(
        default=1024 * 1024, metadata={"help": "larger replies are not kept", "min": 1, "unit": "bytes"}
    )
    l1_bytes: int = field(default=64 * 1024 * 1024, metadata={"help": "memory for replies", "min": 1, "unit": "bytes"})
    invalidate: str = field(
        default="tables",
        metadata={
            "help": "tables: a committed write drops what was read from its tables; off: only time does",
            "choices": ("off", "tables"),
        },
    )
    wait_s: float = field(
        default=5.0, metadata={"help": "longest wait for another client's run of the same query", "min": 0}
    )
    refresh_timeout_s: float = field(
        default=30.0, metadata={"help": "longest a refresh in the background may take", "min": 0.1}
    )
