"""Fixtures: a cache among fakes, as the tests of its modules have it."""

from tests.plugins.cache.conftest import world

__all__ = ["world"]
