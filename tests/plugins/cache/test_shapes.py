"""What is known of shapes: how often, how long, how stable, and what is advised."""

from __future__ import annotations

from typing import Any

import pytest

from tests.plugins.cache.worlds import World

SQL = "SELECT * FROM products WHERE id = 1"


def shape_of(world: World, sql: str = SQL) -> Any:
    """The shape that a text has."""
    return world.plugin.cache.shapes.get(world.statements.statement(sql.encode()).query_hash)


def test_what_is_known_of_a_shape() -> None:
    """Calls, the server's time, bytes, and how often the result was the same."""
    world = World(enabled=False)
    for number in range(6):
        query = world.query(world.session(), SQL)
        world.execute(query)
        world.finish(query, None if not query.keep else _reply("a" if number < 4 else "b"), took=0.002)
    shape = shape_of(world)
    assert (shape.calls, shape.kind, shape.text) == (6, "select", "SELECT * FROM products WHERE id = $1")
    assert shape.average == pytest.approx(0.002)
    assert shape.stability == 4 / 5
    assert shape.recommendation == "fair"


def _reply(text: str) -> Any:
    from tests.plugins.cache.worlds import reply

    return reply(text)


@pytest.mark.parametrize(
    ("same", "calls", "took", "advice"),
    [(True, 120, 0.01, "great"), (True, 30, 0.0001, "good"), (True, 3, 0.01, "fair"), (False, 120, 0.01, "poor")],
)
def test_recommendations(same: bool, calls: int, took: float, advice: str) -> None:
    """What is called often, takes long and stays the same is worth caching."""
    world = World(enabled=False)
    for number in range(calls):
        query = world.query(world.session(), SQL)
        world.execute(query)
        world.finish(query, _reply("a" if same else str(number)) if query.keep else None, took=took)
    assert shape_of(world).recommendation == advice


def test_writes_have_shapes_and_are_poor() -> None:
    """Everything that passes is counted."""
    world = World()
    world.write(world.session(), "UPDATE products SET price = 1")
    shape = shape_of(world, "UPDATE products SET price = 1")
    assert (shape.kind, shape.recommendation, shape.stability) == ("update", "poor", None)


def test_shapes_are_bounded() -> None:
    """Those not seen longest give way; one that comes back starts anew."""
    world = World(max_shapes=20, enabled=False)
    for number in range(50):
        world.run(world.session(), f"SELECT column_{number} FROM products")
    shapes = world.plugin.cache.shapes
    assert 10 < len(shapes) <= 20
    assert shape_of(world, "SELECT column_0 FROM products") is None
    world.run(world.session(), "SELECT column_0 FROM products")
    assert shape_of(world, "SELECT column_0 FROM products").calls == 1
