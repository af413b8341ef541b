"""What `[plugins.pool]` may hold, with the help that docs and `--help` show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class PoolSettings:
    """Sizes and times of every project's pools. Times are seconds."""

    max_active: int = field(
        default=200,
        metadata={"help": "most servers of one project, idle ones included", "min": 1, "max": 100_000, "total": True},
    )
    max_logins: int = field(
        default=0,
        metadata={
            "help": "most servers that clients log in on at once, of max_active; 0: a quarter of it",
            "min": 0,
            "max": 100_000,
            "total": True,
        },
    )
    min_idle: int = field(
        default=0,
        metadata={
            "help": "servers kept ready for each user and database in use",
            "min": 0,
            "max": 10_000,
            "total": True,
        },
    )
    idle_timeout_s: float = field(
        default=600.0, metadata={"help": "close a server unused for this long; 0: never", "min": 0}
    )
    max_lifetime_s: float = field(
        default=3600.0,
        metadata={"help": "close a server this old when it comes back, give or take a tenth; 0: never", "min": 0},
    )
    wait_timeout_s: float = field(
        default=30.0, metadata={"help": "longest wait for a server, then 53300; 0: no limit", "min": 0}
    )
    weights: Mapping[str, float] = field(
        default_factory=dict, metadata={"help": "what part of the servers a user gets when several wait; 1 unless set"}
    )
    share: bool = field(
        default=True, metadata={"help": "put short plain reads of several clients on one server, one behind another"}
    )
    park_after_s: float = field(
        default=300.0,
        metadata={"help": "close all servers of a project without clients for this long; 0: never", "min": 0},
    )

    def __post_init__(self) -> None:
        for user, weight in self.weights.items():
            if not 0.001 <= weight <= 1000:
                raise ValueError(f"weights: {user}: {weight}: must be from 0.001 to 1000")

    @property
    def login_places(self) -> int:
        """Servers that clients may log in on at once."""
        return min(self.max_logins or max(1, self.max_active // 4), self.max_active)
