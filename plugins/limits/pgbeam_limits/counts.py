"""What a project's limits have done since the start."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(slots=True)
class LimitCounts:
    """Of one project, since PgBeam was started."""

    logins_failed: int = 0
    """Logins refused for their credentials."""
    refused_by_allowlist: int = 0
    refused_by_auth_attempts: int = 0
    refused_by_max_connections: int = 0
    refused_by_max_connections_per_user: int = 0
    refused_by_max_connections_per_database: int = 0
    refused_by_queries_per_second: int = 0
    """By that of the project, or of a user."""
    refused_by_max_concurrent_queries: int = 0
    """Likewise."""
    ended_by_idle_transaction_timeout: int = 0
    ended_by_transaction_timeout: int = 0
    ended_by_client_idle_timeout: int = 0

    def as_dict(self) -> dict[str, int]:
        return asdict(self)
