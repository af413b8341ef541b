"""What a project's limits have done."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(slots=True)
class Counts:
    """Of one project since start."""

    connections: int = 0
    """Clients now connected, those that are logging in included."""
    logins_failed: int = 0
    """Logins refused for their credentials."""
    refused_by_allowlist: int = 0
    refused_by_auth_attempts: int = 0
    refused_by_max_connections: int = 0
    refused_by_queries_per_second: int = 0

    def as_dict(self) -> dict[str, int]:
        return asdict(self)
