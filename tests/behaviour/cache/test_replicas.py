"""Replies of replicas, which may be behind."""

from __future__ import annotations

import pytest

from tests.plugins.cache.worlds import PRIMARY, REPLICA, World, reply

SQL = "SELECT * FROM products"


def _read(world: World, session: object, text: str) -> str:
    """A read of a replica that says `text` if it is asked; what the session gets."""
    query = world.query(session, SQL)  # type: ignore[arg-type]
    answer = world.execute(query, REPLICA)
    if answer is None:
        answer = reply(text)
        world.finish(query, answer)
    return str(answer.rows[11:].decode())


def test_a_session_does_not_get_what_a_lagging_replica_told_others_after_its_write(world: World) -> None:
    """Its own reads wait for the replica to catch up; a reply that somebody else got meanwhile would undo that."""
    writer, other = world.session(), world.session()
    world.write(writer, "UPDATE products SET price = 1")
    assert _read(world, other, "old") == "old"
    assert _read(world, writer, "new") == "new"
    assert _read(world, other, "-") == "new"


def test_nor_does_it_wait_for_such_a_reply(world: World) -> None:
    """Another session's query may be answered by a replica that is further behind."""
    writer = world.session()
    world.write(writer, "UPDATE products SET price = 1")
    assert world.execute(world.query(world.session(), SQL), REPLICA) is None
    assert world.execute(world.query(writer, SQL), REPLICA) is None


@pytest.mark.parametrize("seconds", [59, 61])
def test_a_minute_after_its_write_it_shares_again(world: World, seconds: int) -> None:
    """By then a replica that is still used has caught up."""
    writer = world.session()
    world.write(writer, "UPDATE products SET price = 1")
    world.clock.advance(seconds)
    _read(world, world.session(), "others")
    assert _read(world, writer, "own") == ("own" if seconds < 60 else "others")


def test_writes_to_other_tables_do_not_matter(world: World) -> None:
    """And neither do those of other sessions."""
    writer = world.session()
    world.write(writer, "UPDATE users SET name = 'x'")
    world.write(world.session(), "UPDATE products SET price = 1")
    _read(world, world.session(), "others")
    assert _read(world, writer, "own") == "others"


def test_replies_of_the_primary_are_shared_right_after_a_write(world: World) -> None:
    """They are never behind."""
    writer = world.session()
    world.write(writer, "UPDATE products SET price = 1")
    world.run(world.session(), SQL)
    assert world.execute(world.query(writer, SQL), PRIMARY) is not None
