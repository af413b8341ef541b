"""A service with counters to look at, and nothing behind them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from pgbeam_core.telemetry.stats import ProjectStats


class FakeService:
    """Has what `Watched` asks for; tests change `stats_of` and `plugins`."""

    def __init__(self, clock: Any, *projects: str) -> None:
        self.stats_of = {name: ProjectStats() for name in projects}
        self.plugins: dict[str, Any] = {}
        self.shown: list[tuple[str, Any]] = []
        self.addresses = [("127.0.0.1", 6432)]
        self.reactor = clock
        self.settings: Any = SimpleNamespace(projects=dict.fromkeys(projects), log_level="info")

    def stats(self) -> dict[str, Any]:
        """As PgBeamService gives them."""
        projects = {name: stats.as_dict() for name, stats in self.stats_of.items()}
        return {"projects": projects, "plugin_errors": {"cache.execute": 2}, **self.plugins}

    def latencies(self) -> dict[str, list[int]]:
        """Likewise."""
        return {name: list(stats.latency.counts) for name, stats in self.stats_of.items()}

    def panels(self) -> list[tuple[str, Any]]:
        """Likewise."""
        return self.shown
