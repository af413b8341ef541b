"""Settings as a tree that JSON can hold, for another process of the same PgBeam: secrets are in it."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pgbeam_core.api.query import Target
from pgbeam_core.settings.load import validate
from pgbeam_core.settings.logins import FIELDS
from pgbeam_core.settings.model import Core, Endpoint, Project, Settings
from pgbeam_core.settings.sources import Merged
from pgbeam_core.settings.urls import format_upstream
from pgbeam_core.settings.where import Origin

_PROJECT = (
    *("hostnames", "auth", "pool_mode", "lazy_transactions", "query_timeout_ms", "auto_read_routing", "default"),
    *("idle_transaction_timeout_ms", "transaction_timeout_ms", "client_idle_timeout_s"),
    "databases",
)


def as_tree(settings: Settings) -> dict[str, Any]:
    """Tables as settings.toml would have them, every value spelt out; `from_tree` makes equal settings of it."""
    tables = {name: _plain(spec) for name, spec in settings.plugin.items()}
    return {
        **{field.name: _plain(getattr(settings, field.name)) for field in dataclasses.fields(Core)},
        "plugins": {**tables, "order": list(settings.plugins)},
        "projects": {name: _project(project) for name, project in settings.projects.items()},
    }


def from_tree(tree: Mapping[str, Any], specs: Mapping[str, type], installed: Collection[str] = ()) -> Settings:
    """The settings again; `specs` are the settings classes of the plugins that are on."""
    merged = Merged()
    merged.lay(tree, Origin("another process"))
    return validate(merged, specs, installed)


def _project(project: Project) -> dict[str, Any]:
    return {
        "upstream": _url(project, project.primary),
        "replicas": [_url(project, replica) for replica in project.replicas],
        **{name: _plain(getattr(project, name)) for name in _PROJECT},
        **{name: _plain(value) for name in FIELDS if (value := getattr(project.logins, name)) is not None},
    }


def _url(project: Project, target: Target) -> str:
    password = project.passwords.get(target)
    return format_upstream(target, None if password is None else quote(password, safe=""))


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, Endpoint | type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.init}
        return {name: _plain(item) for name, item in fields.items() if item is not None}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items() if item is not None}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path | Endpoint) else value
