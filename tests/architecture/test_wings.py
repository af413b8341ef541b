"""The cache's wings stand in one order: each uses those below it only."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CACHE = ROOT / "plugins" / "cache" / "pgbeam_cache"
ORDER = ("settings", "storage", "policy", "consistency", "serving", "surface")
FILES = sorted(path for wing in ORDER for path in (CACHE / wing).glob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_wing_uses_those_below_it_only(path: Path) -> None:
    """Whoever reads `storage` need not know `serving`: only types may come from above."""
    may = {*ORDER[: ORDER.index(path.parent.name) + 1]}
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pgbeam_cache"):
            wing = (node.module or "").split(".")[1:2] or [alias.name for alias in node.names]
            assert set(wing) <= may, ast.unparse(node)


def test_every_module_stands_in_a_wing() -> None:
    """Beside them are the hooks and the settings."""
    assert {path.stem for path in CACHE.glob("*.py")} == {"__init__", "settings"}
    assert {path.name for path in CACHE.iterdir() if path.is_dir() and path.name[0] != "_"} == {*ORDER} - {"settings"}
