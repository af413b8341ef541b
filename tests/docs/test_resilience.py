"""docs/resilience.md says what a failure comes to, and names the test that shows it."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TABLE = "## What fails, what clients see, what heals it"


def rows() -> list[list[str]]:
    """The cells of each row of the table."""
    text = (ROOT / "docs/resilience.md").read_text("utf-8").partition(TABLE)[2]
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


def test_each_failure_names_a_test_that_there_is() -> None:
    """Nothing is claimed that no test shows."""
    sources = [path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py")]
    there = {name for source in sources for name in re.findall(r"^(?:async )?def (test_\w+)", source, re.MULTILINE)}
    named = [cells[3].strip("`") for cells in rows()]
    assert [name for name in named if name not in there] == []
    assert len(named) >= 20


def test_each_failure_says_what_clients_see() -> None:
    """No row is left half empty."""
    assert [cells[0] for cells in rows() if len(cells) != 4 or not (cells[0] and cells[1])] == []
