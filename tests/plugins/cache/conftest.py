"""Fixtures: a cache among fakes; PgBeam in front of real servers."""

from __future__ import annotations

import pytest

from tests.plugins.cache.worlds import World
from tests.postgres.conftest import beam, cluster, clusters, fresh_shop, shared_beam  # noqa: F401 -- fixtures


@pytest.fixture
def world() -> World:
    """A cache that caches whatever may be cached."""
    return World()
