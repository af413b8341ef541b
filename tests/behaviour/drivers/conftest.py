"""Every driver test runs direct, in session mode and in transaction mode, in a fresh shop."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _shop(fresh_shop: None) -> None:
    """Each test finds the shop as it was seeded."""
