"""What the server's catalog changes: functions of one's own, views, partitions, cascades, triggers."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from pgbeam_core import Answer
from tests.plugins.cache.worlds import World, reply

OWN = "SELECT own(1)"
VIEW = "SELECT * FROM view"


def _with(*rows: tuple[str, ...]) -> World:
    world = World()
    world.beam.surveys.tell(*rows)
    return world


def test_an_immutable_function_of_ones_own_is_cached() -> None:
    """And calling it is no reason to distrust what was read before."""
    world = _with(("function", "public", "own", "i"))
    session = world.session()
    assert [world.run(session, OWN), world.run(session, OWN)] == ["miss", "hit"]
    world.run(session, "SELECT * FROM products")
    world.run(session, OWN, in_transaction=True)
    assert world.run(session, "SELECT * FROM products") == "hit"


def test_other_functions_of_ones_own_are_not() -> None:
    """Volatile, stable or unknown; with the catalog or before it is there."""
    for rows in ([("function", "public", "own", "v")], [("function", "public", "own", "s")], []):
        world = _with(*rows)
        query = world.query(world.session(), OWN)
        assert world.execute(query) is None
        assert query.facts["reason"] == "volatile"
    world.beam.surveys.now = None
    query = world.query(world.session(), OWN)
    world.execute(query)
    assert query.facts["reason"] == "volatile"


def test_a_write_to_a_table_outdates_what_was_read_through_views() -> None:
    """Views are followed as deep as they go."""
    world = _with(("behind", "view", "inner"), ("behind", "inner", "base"))
    world.run(world.session(), VIEW)
    assert world.run(world.session(), VIEW) == "hit"
    world.write(world.session(), "UPDATE base SET x = 1")
    assert world.run(world.session(), VIEW) == "miss"


def test_partitions_and_cascades_are_followed() -> None:
    """A write to a partition is one to its parent and the other way round; keys cascade."""
    world = _with(("behind", "whole", "part"), ("cascade", "whole", "follower"))
    for read, written in [("whole", "part"), ("part", "whole"), ("follower", "whole")]:
        sql = f"SELECT * FROM {read}"
        world.run(world.session(), sql)
        world.write(world.session(), f"DELETE FROM {written}")
        assert world.run(world.session(), sql) == "miss"
        world.write(world.session(), "DELETE FROM other")
        assert world.run(world.session(), sql) == "hit"


def test_behind_a_trigger_may_be_anything() -> None:
    """So a write to a table with one outdates all of the database."""
    world = _with(("anything", "noisy"))
    world.run(world.session(), "SELECT * FROM products")
    world.write(world.session(), "DELETE FROM noisy")
    assert world.run(world.session(), "SELECT * FROM products") == "miss"


def test_without_a_catalog_a_write_may_reach_anything() -> None:
    """It is not known yet what hangs on the table."""
    world = World()
    world.run(world.session(), "SELECT * FROM products")
    known, world.beam.surveys.now = world.beam.surveys.now, None
    world.write(world.session(), "DELETE FROM users")
    world.beam.surveys.now = known
    assert world.run(world.session(), "SELECT * FROM products") == "miss"


def test_a_view_that_changes_by_itself_is_not_cached() -> None:
    """The text does not show it, its definition does."""
    world = _with(("defined", "view", "SELECT id FROM base WHERE at > now();"), ("behind", "view", "base"))
    query = world.query(world.session(), VIEW)
    assert world.execute(query) is None
    assert query.facts["reason"] == "volatile"


def test_a_policy_on_who_asks_is_cached_one_on_the_time_is_not() -> None:
    """Who asks is part of the key."""
    world = _with(("policy", "mine", "(owner = CURRENT_USER)"), ("policy", "fleeting", "(until > now())"))
    assert world.run(world.session(), "SELECT * FROM mine") == "miss"
    assert world.run(world.session(), "SELECT * FROM mine") == "hit"
    assert world.run(world.session(), "SELECT * FROM fleeting") == "bypass"


def _ask_early(world: World) -> tuple[Any, Any]:
    """A first query that misses while the catalog is unknown, and a second one that waits for it."""
    world.beam.surveys.now = None
    assert world.run(world.session(), VIEW, "first") == "miss"
    query = world.query(world.session(), VIEW)
    waiting = world.execute(query)
    assert isinstance(waiting, Deferred)
    return query, waiting


def test_nothing_is_served_before_the_catalog_is_known() -> None:
    """The first client goes to the server at once, the second waits for the catalog, not for the server."""
    world = World()
    query, waiting = _ask_early(world)
    served: list[Answer] = []
    waiting.addCallback(served.append)
    assert not served
    world.beam.surveys.tell()
    assert served == [reply("first")]
    assert query.facts["cache"] == "hit"


def test_what_the_catalog_rules_out_is_not_served() -> None:
    """It was remembered before anybody knew."""
    world = World()
    query, waiting = _ask_early(world)
    served: list[Any] = []
    waiting.addCallback(served.append)
    world.beam.surveys.tell(("defined", "view", "SELECT random()"))
    assert served == [None]
    assert query.facts["reason"] == "volatile"


def test_a_catalog_that_cannot_be_had() -> None:
    """Then nothing is served, unless there is no server to ask instead."""
    for unreachable, expected in ((False, "bypass"), (True, "hit")):
        world = World()
        query, waiting = _ask_early(world)
        world.beam.surveys.unreachable = unreachable
        waiting.addErrback(lambda _: None)
        world.beam.surveys.end()
        assert query.facts["cache"] == expected


def test_a_catalog_that_has_changed_outdates_what_was_read_before(world: World) -> None:
    """Whoever has changed definitions, rights or policies behind PgBeam's back: with the next look that is known."""
    world.beam.surveys.tell(("version", "relations", "1"))
    assert [world.run(world.session(), VIEW), world.run(world.session(), VIEW)] == ["miss", "hit"]
    world.beam.surveys.tell(("version", "relations", "2"))
    assert [world.run(world.session(), VIEW), world.run(world.session(), VIEW)] == ["miss", "hit"]


def test_a_sequence_is_not_cached() -> None:
    """It moves on with statements that do not name it."""
    world = _with(("sequence", "numbers"))
    query = world.query(world.session(), "SELECT last_value FROM numbers")
    assert world.execute(query) is None
    assert query.facts["reason"] == "volatile"
