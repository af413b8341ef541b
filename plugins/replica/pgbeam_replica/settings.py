"""What `[plugins.replica]` may hold, with the help that docs and `--help` show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

MOST_WEIGHT = 1000


@dataclass(frozen=True)
class ReplicaSettings:
    """How replicas are watched and when they may answer. Times are seconds."""

    choice: str = field(
        default="round_robin",
        metadata={
            "help": "which of the healthy ones: each in turn, or the one that has least to do",
            "choices": ("round_robin", "least_busy"),
        },
    )
    weights: Mapping[str, int] = field(
        default_factory=dict,
        metadata={"help": "host:port → its share of the reads, 1 where nothing is said; 0: none"},
    )
    probe_interval_s: float = field(default=5.0, metadata={"help": "each replica is asked this often", "min": 0.1})
    probe_timeout_s: float = field(
        default=5.0, metadata={"help": "a probe that takes longer has failed, connecting included", "min": 0.1}
    )
    max_lag_s: float = field(
        default=0.0, metadata={"help": "a replica further behind is not used; 0: never mind", "min": 0, "max": 600}
    )
    read_your_writes: bool = field(
        default=True,
        metadata={"help": "with auto_read_routing, sessions see their own writes on replicas too"},
    )
    health_user: str | None = field(default=None, metadata={"help": "who asks; else the user in the URL"})
    health_password: str | None = field(default=None, metadata={"help": "the password of health_user", "secret": True})
    park_after_s: float = field(
        default=300.0, metadata={"help": "a project without clients for this long is not probed; 0: always", "min": 0}
    )

    def __post_init__(self) -> None:
        for address, weight in self.weights.items():
            if not 0 <= weight <= MOST_WEIGHT:
                raise ValueError(f'the weight of "{address}" must be from 0 to {MOST_WEIGHT}')

    @property
    def interval(self) -> float:
        """Seconds between two probes: often enough to see a lag of `max_lag_s`."""
        return min(self.probe_interval_s, self.max_lag_s / 2) if self.max_lag_s else self.probe_interval_s
