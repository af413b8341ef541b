"""The share of one worker in what is promised for PgBeam as a whole.

A field of a plugin's settings, or of a table in them, whose metadata says `total` is a number for all workers together:
each of them is given its share as if that were what was set. The shares add up to the number, unless that is below the
number of workers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from pgbeam_core.settings import Settings


def share(total: float, worker: int, workers: int) -> float:
    """The share of worker 1, 2, …: what is left over goes to the first ones. At least 1 of whole things; 0 stays 0."""
    if not isinstance(total, int):
        return total / workers
    if total <= 0:
        return total
    return max(1, total // workers + (worker <= total % workers))


def shared_out(settings: Settings, worker: int, workers: int) -> Settings:
    """The settings as that worker is to see them."""
    plugin = {name: _shared_out(spec, worker, workers) for name, spec in settings.plugin.items()}
    return dataclasses.replace(settings, plugin=MappingProxyType(plugin))


def too_small(settings: Settings) -> dict[str, int]:
    """Dotted key → value of the totals that do not give each worker one."""
    return {
        key: total
        for name, spec in settings.plugin.items()
        for key, total in _totals(spec, f"plugins.{name}.")
        if not isinstance(total, float) and 0 < total < settings.workers
    }


def _shared_out(spec: Any, worker: int, workers: int) -> Any:
    changes: dict[str, Any] = {key: share(total, worker, workers) for key, total in _totals_of(spec)}
    for key, table in _tables(spec):
        changes[key] = {name: _shared_out(entry, worker, workers) for name, entry in table.items()}
    return dataclasses.replace(spec, **changes)


def _totals(spec: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    for key, total in _totals_of(spec):
        yield prefix + key, total
    for key, table in _tables(spec):
        for name, entry in table.items():
            yield from _totals(entry, f"{prefix}{key}.{name}.")


def _totals_of(spec: Any) -> Iterator[tuple[str, Any]]:
    for field in dataclasses.fields(spec):
        total = getattr(spec, field.name)
        if field.metadata.get("total") and total is not None:
            yield field.name, total


def _tables(spec: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Its fields that are tables of tables with fields of their own."""
    for field in dataclasses.fields(spec):
        value = getattr(spec, field.name)
        if isinstance(value, Mapping) and value and all(dataclasses.is_dataclass(entry) for entry in value.values()):
            yield field.name, value
