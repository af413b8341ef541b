"""What `[plugins.limits]` may hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from pgbeam_limits.networks import Network, parse_network


@dataclass(frozen=True)
class LimitsSettings:
    """Limits of every project. 0 means no limit."""

    max_connections: int = field(
        default=0, metadata={"help": "clients of a project at once; 0: no limit", "min": 0, "total": True}
    )
    queries_per_second: float = field(
        default=0.0,
        metadata={"help": "queries of a project; 0: no limit; cached replies do not count", "min": 0, "total": True},
    )
    burst: int = field(
        default=0,
        metadata={"help": "queries that may come at once; 0: as many as in one second", "min": 0, "total": True},
    )
    auth_attempts: int = field(
        default=10, metadata={"help": "failed logins per address and minute; 0: no limit", "min": 0}
    )
    allowed_cidrs: tuple[str, ...] = field(
        default=(),
        metadata={"help": 'networks that may connect, "CIDR" or "CIDR label"; all of them when empty', "max": 50},
    )
    on_error: str = field(
        default="refuse",
        metadata={"help": "what happens to a query when this plugin itself fails", "choices": ("refuse", "pass")},
    )

    def __post_init__(self) -> None:
        _ = self.networks  # a bad one is an error of the settings, not of the first client

    @cached_property
    def networks(self) -> tuple[Network, ...]:
        """`allowed_cidrs`, read. ValueError names the one that cannot be."""
        return tuple(parse_network(entry) for entry in self.allowed_cidrs)

    @property
    def most_at_once(self) -> float:
        """Size of the token bucket."""
        return float(self.burst) or max(self.queries_per_second, 1.0)
