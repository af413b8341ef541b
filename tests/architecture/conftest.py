"""The tools that count."""

from __future__ import annotations

from typing import Any

import pytest

from tests.tool import tool


@pytest.fixture(scope="session")
def census() -> Any:
    """tools/census.py."""
    return tool("census")
