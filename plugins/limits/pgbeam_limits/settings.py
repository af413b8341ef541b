"""What `[plugins.limits]` may hold, with the help that docs and `--help` show."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pgbeam_limits.networks import Network, parse_network


def _number(help: str, **more: Any) -> Any:  # noqa: A002 -- `help` is the metadata's own word
    return field(default=0, metadata={"help": f"{help}; 0: no limit", "min": 0, "total": True, **more})


def _rate(help: str) -> Any:  # noqa: A002 -- likewise
    return field(default=0.0, metadata={"help": f"{help}; 0: no limit; cached ones are free", "min": 0, "total": True})


def _burst(help: str) -> Any:  # noqa: A002 -- likewise
    return field(default=0, metadata={"help": f"{help}; 0: as many as in one second", "min": 0, "total": True})


def _own(**metadata: Any) -> Any:
    return field(default=None, metadata={"min": 0, "total": True, **metadata})


@dataclass(frozen=True)
class ProjectSettings:
    """What one project has of its own; what is not set is as for all."""

    max_connections: int | None = _own()
    max_connections_per_user: int | None = _own()
    max_connections_per_database: int | None = _own()
    queries_per_second: float | None = _own()
    burst: int | None = _own()
    queries_per_second_per_user: float | None = _own()
    burst_per_user: int | None = _own()
    max_concurrent_queries: int | None = _own()
    max_concurrent_queries_per_user: int | None = _own()
    allowed_cidrs: tuple[str, ...] | None = field(default=None, metadata={"max": 50})

    def __post_init__(self) -> None:
        _read(self.allowed_cidrs or ())


@dataclass(frozen=True)
class LimitsSettings:
    """Limits of every project. 0 means no limit."""

    max_connections: int = _number("clients of a project at once")
    max_connections_per_user: int = _number("clients of one user of a project at once")
    max_connections_per_database: int = _number("clients of one database of a project at once")
    queries_per_second: float = _rate("queries of a project")
    burst: int = _burst("queries of a project that may come at once")
    queries_per_second_per_user: float = _rate("queries of one user of a project")
    burst_per_user: int = _burst("queries of one user that may come at once")
    max_concurrent_queries: int = _number("clients of a project whose queries run at a time")
    max_concurrent_queries_per_user: int = _number("clients of one user whose queries run at a time")
    auth_attempts: int = field(
        default=10, metadata={"help": "failed logins per address within auth_window_s; 0: no limit", "min": 0}
    )
    auth_window_s: float = field(
        default=60.0, metadata={"help": "how long a failed login counts", "min": 1, "max": 86_400}
    )
    allowed_cidrs: tuple[str, ...] = field(
        default=(),
        metadata={"help": 'networks that may connect, "CIDR" or "CIDR label"; all of them when empty', "max": 50},
    )
    on_error: str = field(
        default="refuse",
        metadata={"help": "what happens to a query when this plugin itself fails", "choices": ("refuse", "pass")},
    )
    projects: Mapping[str, ProjectSettings] = field(
        default_factory=dict, metadata={"help": "what single projects have of their own, by name"}
    )

    def __post_init__(self) -> None:
        _ = self.networks  # a bad one is an error of the settings, not of the first client

    def of_project(self, name: str) -> LimitsSettings:
        """As they hold for that project."""
        own = self.projects.get(name)
        if own is None:
            return self
        told = {each.name: getattr(own, each.name) for each in dataclasses.fields(own)}
        return dataclasses.replace(self, **{name: value for name, value in told.items() if value is not None})

    @cached_property
    def networks(self) -> tuple[Network, ...]:
        """`allowed_cidrs`, read. ValueError names the one that cannot be."""
        return _read(self.allowed_cidrs)


def _read(entries: tuple[str, ...]) -> tuple[Network, ...]:
    return tuple(parse_network(entry) for entry in entries)
