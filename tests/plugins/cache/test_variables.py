"""pgbeam.cache, pgbeam.cache_ttl and pgbeam.cache_swr take what PostgreSQL's own parameters would take."""

from __future__ import annotations

import pytest

from pgbeam_core import Refusal
from tests.plugins.cache.worlds import World


@pytest.mark.parametrize(
    ("value", "shown"),
    [("on", "on"), ("TRUE", "on"), ("y", "on"), ("1", "on"), ("Off", "off"), ("f", "off"), ("of", "off")],
)
def test_booleans_are_spelled_as_in_postgresql(world: World, value: str, shown: str) -> None:
    """Any case, any beginning that is not ambiguous; shown as on or off."""
    assert world.plugin.variable("cache", value) == shown


@pytest.mark.parametrize("value", ["", "o", "maybe", "2", "onn"])
def test_what_is_no_boolean_is_refused_in_postgresqls_words(world: World, value: str) -> None:
    """SQLSTATE 22023."""
    refusal = Refusal("22023", 'parameter "pgbeam.cache" requires a Boolean value')
    assert world.plugin.variable("cache", value) == refusal


@pytest.mark.parametrize("name", ["cache_ttl", "cache_swr"])
def test_seconds_are_whole_and_not_negative(world: World, name: str) -> None:
    """SQLSTATE 22023 for anything else."""
    assert world.plugin.variable(name, " 300 ") == "300"
    assert world.plugin.variable(name, "0") == "0"
    for bad in ("abc", "1.5", "", "٣"):
        refusal = Refusal("22023", f'invalid value for parameter "pgbeam.{name}": "{bad}"')
        assert world.plugin.variable(name, bad) == refusal
    outside = Refusal("22023", f'-1 is outside the valid range for parameter "pgbeam.{name}" (0 .. 2147483647)')
    assert world.plugin.variable(name, "-1") == outside


def test_unset_they_show_the_defaults() -> None:
    """SHOW tells what holds."""
    world = World(enabled=False, ttl_s=5, swr_s=6)
    assert [world.plugin.variable(name, None) for name in ("cache", "cache_ttl", "cache_swr")] == ["off", "5", "6"]
    assert world.plugin.variable("debug", "on") is None
