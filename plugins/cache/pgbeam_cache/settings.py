"""What `[plugins.cache]` may hold, with the help that docs and `--help` show."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.util import find_spec
from urllib.parse import urlsplit

NAME = "cache"
"""Of the plugin: what it notes is under this name."""
REMOTE = ("redis://", "rediss://", "unix://")
"""How the URL of a Redis or Valkey starts."""


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
    stale_if_error_s: int = field(
        default=0,
        metadata={
            "help": "how long after that it is served while the server cannot be reached; 0: not at all",
            "min": 0,
            "max": 2_147_483_647,
        },
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
    l2: str = field(
        default="disk",
        repr=False,  # it may hold a password
        metadata={"help": "second level: disk, off, or redis://host:port/number for several hosts", "restart": True},
    )
    l2_bytes: int = field(
        default=256 * 1024 * 1024,
        metadata={"help": "disk space for replies", "min": 1024 * 1024, "unit": "bytes", "restart": True},
    )
    l2_timeout_s: float = field(
        default=0.1,
        metadata={
            "help": "a second level that takes longer is not waited for",
            "min": 0.001,
            "max": 10,
            "restart": True,
        },
    )
    rights_check_s: float = field(
        default=60.0,
        metadata={
            "help": "how long definitions, roles and rights are taken to be as they were, if PgBeam saw none change",
            "min": 1,
            "max": 3600,
        },
    )
    park_after_s: float = field(
        default=300.0,
        metadata={"help": "forget what was read for a project without clients for this long; 0: never", "min": 0},
    )
    max_shapes: int = field(
        default=1000, metadata={"help": "shapes of queries that are tracked", "min": 10, "restart": True}
    )

    def __post_init__(self) -> None:
        if self.l2 in ("disk", "off"):
            return
        if not self.l2.startswith(REMOTE):
            raise ValueError(f'l2 is "disk", "off" or a URL that starts with {" or ".join(REMOTE)}')
        try:
            _ = urlsplit(self.l2).port
        except ValueError:
            raise ValueError(
                "the URL in l2 has no port where one belongs; in a password, / ? # are %2F %3F %23"
            ) from None
        if find_spec("redis") is None:
            raise ValueError("l2 is a URL, which needs the package redis: install pgbeam[redis]")
