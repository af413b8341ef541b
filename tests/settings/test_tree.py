"""Settings that travel to another process, and what a reload keeps."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pgbeam_cache.settings import CacheSettings
from pgbeam_core.settings import Merged, Settings, as_tree, from_tree, reloaded, validate
from pgbeam_core.settings.where import Origin
from pgbeam_limits.settings import LimitsSettings
from pgbeam_pool.settings import PoolSettings
from pgbeam_replica.settings import ReplicaSettings


@dataclass(frozen=True)
class Address:
    """A table inside a plugin's settings."""

    street: str = "Main"
    number: int | None = None


@dataclass(frozen=True)
class Odd:
    """Everything that a settings class may have."""

    file: Path = Path("x")
    names: tuple[str, ...] = ("a", "b")
    home: Address = Address()
    homes: tuple[str, ...] | None = None
    size: int = field(default=1024, metadata={"unit": "bytes"})
    share: float = 0.5
    fixed: int = field(default=1, metadata={"restart": True})


SPECS = {
    "limits": LimitsSettings,
    "cache": CacheSettings,
    "pool": PoolSettings,
    "replica": ReplicaSettings,
    "odd": Odd,
}
TREE: dict[str, Any] = {
    "listen": ["127.0.0.1:0", "[::1]:6432"],
    "workers": 4,
    "state_dir": "/var/lib/pg beam",
    "plugins": {
        "order": [*SPECS, "debug"],
        "limits": {"allowed_cidrs": ["10.0.0.0/8 office"], "queries_per_second": 1.5},
        "replica": {"health_user": "monitor", "health_password": "s3cret"},
        "odd": {"home": {"street": "Side", "number": 7}, "size": "2 MiB"},
    },
    "projects": {
        "shop": {
            "upstream": "postgresql://boss:p%40ss%2F@db.example.com:5433/my%20db?sslmode=require&sslrootcert=/ca.pem",
            "replicas": ["postgresql://[::1]:5434", "postgresql:///?host=/run/pg&port=5"],
            "hostnames": ["Shop.example.com"],
            "pool_mode": "session",
            "query_timeout_ms": 100,
            "default": True,
        },
        "other": {"upstream": "postgresql://127.0.0.1/x?sslmode=disable", "auth": "trust"},
    },
}


def settings(**changes: object) -> Settings:
    """All of that, validated, with other values at the top."""
    merged = Merged()
    merged.lay({**TREE, **changes}, Origin("test"))
    return validate(merged, SPECS)


def test_they_arrive_as_they_left() -> None:
    """Passwords, addresses, tables in tables and what is not set: JSON in between changes nothing."""
    there = settings()
    assert from_tree(json.loads(json.dumps(as_tree(there))), SPECS) == there


def test_defaults_arrive_too() -> None:
    """Settings of which nothing was set."""
    there = settings(plugins={"order": []}, projects={}, listen=[])
    assert from_tree(json.loads(json.dumps(as_tree(there))), SPECS) == there


def test_what_needs_a_restart_is_kept_and_named() -> None:
    """Everything else is new."""
    old = settings()
    plugin = {**old.plugin, "odd": Odd(fixed=2, share=0.7), "pool": PoolSettings(max_active=7)}
    new = replace(old, workers=8, log_level="debug", plugin=plugin)
    now, kept = reloaded(old, new)
    assert kept == ["workers", "plugins.odd.fixed"]
    assert (now.workers, now.log_level) == (4, "debug")
    assert now.plugin["odd"] == replace(plugin["odd"], fixed=1)
    assert now.plugin["pool"].max_active == 7


def test_a_project_that_has_not_changed_stays_itself() -> None:
    """Who compares by identity sees a change only where there is one."""
    old = settings()
    projects = {
        **TREE["projects"],
        "other": {"upstream": "postgresql://127.0.0.2/x"},
        "third": {"upstream": "postgres://h"},
    }
    now, kept = reloaded(old, settings(projects=projects))
    assert kept == []
    assert now.projects["shop"] is old.projects["shop"]
    assert now.projects["other"].primary.host == "127.0.0.2"
    assert set(now.projects) == {"shop", "other", "third"}
