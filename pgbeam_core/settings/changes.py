"""What a reload may change, and what it may not: a field with `restart` in its metadata holds until PgBeam is started
again."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from types import MappingProxyType
from typing import Any

from pgbeam_core.settings.model import Core, Settings


def reloaded(old: Settings, new: Settings) -> tuple[Settings, list[str]]:
    """The new settings with the old values of what cannot change, and the keys of those that would have."""
    core = list(_fixed(old, new, dataclasses.fields(Core)))
    keys = [name for name, _ in core]
    plugin: dict[str, Any] = {}
    for name, fresh in new.plugin.items():
        before = old.plugin.get(name, fresh)
        kept = list(_fixed(before, fresh, dataclasses.fields(fresh)))
        keys += [f"plugins.{name}.{key}" for key, _ in kept]
        plugin[name] = dataclasses.replace(fresh, **dict(kept))
    projects = {name: _same(old, name, project) for name, project in new.projects.items()}
    changes: dict[str, Any] = {"plugin": MappingProxyType(plugin), "projects": MappingProxyType(projects)}
    return dataclasses.replace(new, **changes, **dict(core)), keys


def _fixed(old: Any, new: Any, fields: tuple[dataclasses.Field[Any], ...]) -> Iterator[tuple[str, Any]]:
    for field in fields:
        before = getattr(old, field.name)
        if field.metadata.get("restart") and before != getattr(new, field.name):
            yield field.name, before


def _same(old: Settings, name: str, project: Any) -> Any:
    """A project that has not changed stays the one that others hold."""
    before = old.projects.get(name)
    return before if before == project else project
