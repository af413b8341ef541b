"""Fixtures: a cache among fakes."""

from __future__ import annotations

import pytest

from tests.plugins.cache.worlds import World


@pytest.fixture
def world() -> World:
    """A cache that caches whatever may be cached."""
    return World()
