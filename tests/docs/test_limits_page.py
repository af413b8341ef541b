"""The page of what differs from a direct connection: each of its lines names a test that shows it."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "limits-of.md"
LINE = re.compile(r"^- .*(?:\n(?![-#\n]).*)*", re.MULTILINE)
SHOWN = re.compile(r"<!-- (tests/[\w/]+\.py)::(\w+) -->$")
LINES = LINE.findall(PAGE.read_text(encoding="utf-8"))


def test_there_are_lines():
    """The page is read as it is written."""
    assert len(LINES) == PAGE.read_text(encoding="utf-8").count("\n- ") > 20


@pytest.mark.parametrize("line", LINES, ids=lambda line: line[2:40])
def test_a_line_has_a_test(line):
    """A difference from a direct connection that is told to users is one that a test has seen."""
    shown = SHOWN.search(line)
    assert shown, f"no test stands behind: {line}"
    tree = ast.parse((ROOT / shown[1]).read_text(encoding="utf-8"))
    tests = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    assert shown[2] in [test.name for test in tests], f"{shown[1]} has no {shown[2]}"
