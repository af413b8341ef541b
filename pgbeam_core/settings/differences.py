"""What a reload changes, in words that may be logged."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pgbeam_core.settings.model import Settings
from pgbeam_core.settings.tree import as_tree
from pgbeam_core.telemetry.masking import is_secret, masked

_MISSING = object()


def differences(old: Settings, new: Settings) -> list[str]:
    """One line for each setting that has another value, one for each project that is new or gone; no secrets."""
    return list(_between("", as_tree(old), as_tree(new)))


def _between(path: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    for key in [*old, *(key for key in new if key not in old)]:
        before, after = old.get(key, _MISSING), new.get(key, _MISSING)
        here = f"{path}.{key}" if path else key
        if before == after:
            continue
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            yield from _between(here, before, after)
        elif path == "projects":
            yield f"{here}: {'new' if before is _MISSING else 'gone'}"
        else:
            yield f"{here}: {_change(here, before, after)}"


def _change(path: str, before: Any, after: Any) -> str:
    if any(map(is_secret, path.split("."))):
        return "changed, and is not shown"
    shown = [_shown(value) for value in (before, after)]
    if shown[0] == shown[1]:
        return f"{shown[0]}: what is not shown of it has changed"
    return f"{shown[0]} -> {shown[1]}"


def _shown(value: Any) -> str:
    return "not set" if value is _MISSING or value is None else json.dumps(masked(value), ensure_ascii=False)
