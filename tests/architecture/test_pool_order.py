"""The files of the pool stand in one order: each uses those above it only, types included."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

POOL = Path(__file__).parents[2] / "plugins" / "pool"
ORDER = re.findall(r"^\| \[(\w+)\.py\]", (POOL / "README.md").read_text("utf-8"), re.MULTILINE)


def test_the_readme_has_all_files() -> None:
    """In the order in which they can be read."""
    assert {*ORDER, "__init__"} == {path.stem for path in (POOL / "pgbeam_pool").glob("*.py")}


@pytest.mark.parametrize("name", ORDER)
def test_a_file_uses_those_above_it_only(name: str) -> None:
    """Nobody has to know the pool to read about its queue."""
    for node in ast.walk(ast.parse((POOL / "pgbeam_pool" / f"{name}.py").read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pgbeam_pool."):
            used = (node.module or "").partition(".")[2]
            assert ORDER.index(used) < ORDER.index(name), used
