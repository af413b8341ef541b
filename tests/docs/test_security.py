"""SECURITY.md tells the truth: its settings are there with these defaults, its constants exist."""

from __future__ import annotations

import dataclasses
import importlib
import re
from pathlib import Path
from typing import Any

import pytest

from pgbeam_core import plugins
from pgbeam_core.settings import load

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
SETTINGS = re.findall(r"`([a-z_.0-9]+)` = ([^ |,]+(?: [GMK]iB)?)", TEXT)
CONSTANTS = re.findall(r"`(pgbeam_\w+(?:\.\w+)+)`", TEXT)
UNITS = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


def default_of(key: str) -> Any:
    """What holds if nobody sets it."""
    manager = plugins.load_plugins(("limits", "cache", "replica", "pool", "debug"))
    settings = load(None, ["projects.shop.upstream=postgresql://h"], {}, plugins.specs(manager))
    if key.startswith("plugins."):
        _, plugin, field = key.split(".")
        return getattr(settings.plugin[plugin], field)
    if key in {field.name for field in dataclasses.fields(settings)}:
        return getattr(settings, key)
    return getattr(settings.projects["shop"], key)


@pytest.mark.parametrize(("key", "value"), SETTINGS)
def test_each_setting_has_the_default_that_is_told(
    key: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who relies on the table relies on what PgBeam does."""
    monkeypatch.chdir(tmp_path)
    number, _, unit = value.partition(" ")
    told = () if number == "[]" else float(number) * UNITS.get(unit, 1)
    assert default_of(key) == told


@pytest.mark.parametrize("name", CONSTANTS)
def test_each_constant_is_there(name: str) -> None:
    """A bound that was moved or taken away is taken out of the table, or told anew."""
    module, _, last = name.rpartition(".")
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        assert hasattr(importlib.import_module(module), last), name


def test_the_table_is_not_empty() -> None:
    """What is compared above was found."""
    assert len(SETTINGS) > 15
    assert len(CONSTANTS) > 15
