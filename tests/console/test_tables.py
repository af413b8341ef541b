"""The tables that SHOW has, and the page that tells of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pgbeam_core.console import tables

PAGE = (Path(__file__).parents[2] / "docs" / "console.md").read_text("utf-8")
NOT_SHOWN = {"TRAFFIC"}
"""What others are made of: SHOW does not take it."""


@pytest.mark.parametrize("name", [name for name in tables.CORE if name not in NOT_SHOWN])
def test_each_table_is_on_the_page(name: str) -> None:
    """No operator has to guess what a table is for."""
    assert re.search(rf"`(?:SHOW )?{name}`", PAGE), f"docs/console.md does not tell of {name}"
