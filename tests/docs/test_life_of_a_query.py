"""docs/life-of-a-query.md leads to what is there: its files, and in these its functions."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "life-of-a-query.md").read_text("utf-8")
ROWS = re.findall(r"^\| (\d+) \| (.*?) \| (.*?) \| (.*?) \|$", TEXT, re.MULTILINE)


def defined(path: Path) -> set[str]:
    """`Class.method` and `function` of a file."""
    found: set[str] = set()
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{each.name}" for each in node.body if isinstance(each, ast.FunctionDef)}
    return found


def test_the_steps_are_counted() -> None:
    """From 1 on, none left out."""
    assert [int(number) for number, *_ in ROWS] == list(range(1, len(ROWS) + 1))
    assert len(ROWS) > 15


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_each_step_names_functions_that_are_there(row: tuple[str, ...]) -> None:
    """Whoever follows a step finds its function, in one of its files or of those of another step."""
    functions = re.findall(r"`([\w.]+)`", row[3])
    assert functions
    own = [ROOT / "docs" / link for link in re.findall(r"\]\((\S+?\.py)\)", row[2])]
    others = [ROOT / "docs" / link for link in re.findall(r"\]\((\S+?\.py)\)", TEXT)]
    assert any(name in defined(path) for path in own for name in functions)
    everywhere = set().union(*(defined(path) for path in others))
    assert set(functions) <= everywhere, set(functions) - everywhere
