"""What becomes of the memory of a project that nobody uses."""

from __future__ import annotations

import pytest

from pgbeam_core import Project, Role, Target
from tests.plugins.cache.worlds import World

SQL = "SELECT * FROM products"
OTHER = Project("other", Target("other", Role.PRIMARY, "db2", 5432))


def test_a_project_without_clients_gives_back_its_memory(world: World) -> None:
    """Five minutes after its last client; other projects keep theirs."""
    last, other = world.session(), world.session(OTHER)
    for session in (last, other):
        world.run(session, f"/* @pgbeam:cache maxAge=3600 */ {SQL}")
    world.plugin.disconnect(last)
    world.clock.advance(299)
    assert world.stats["entries"] == 2
    world.clock.advance(1)
    assert world.stats["entries"] == 1
    assert world.run(other, f"/* @pgbeam:cache maxAge=3600 */ {SQL}") == "hit"


def test_a_client_that_comes_in_time_keeps_it(world: World) -> None:
    """And so does one that has been there all along."""
    one, other = world.session(), world.session()
    for session in (one, other):
        world.run(session, f"/* @pgbeam:cache maxAge=3600 */ {SQL}")
    world.plugin.disconnect(one)
    world.clock.advance(400)
    assert world.stats["entries"] == 1
    world.plugin.disconnect(other)
    world.clock.advance(200)
    assert world.run(world.session(), f"/* @pgbeam:cache maxAge=3600 */ {SQL}") == "hit"
    world.clock.advance(200)
    assert world.stats["entries"] == 1


@pytest.mark.parametrize("stopped", [True, False])
def test_it_need_not_happen(stopped: bool) -> None:
    """With 0 it never does; and stopping leaves no timer behind."""
    world = World(park_after_s=300.0 if stopped else 0.0)
    session = world.session()
    world.run(session, SQL)
    world.plugin.disconnect(session)
    if stopped:
        world.plugin.shutdown(world.beam)  # type: ignore[arg-type]
    assert not world.clock.getDelayedCalls()
