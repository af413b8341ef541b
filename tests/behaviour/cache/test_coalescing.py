"""Many clients that miss one key at one time."""

from __future__ import annotations

import pytest
from twisted.internet.defer import CancelledError

from pgbeam_core import Query
from tests.plugins.cache.worlds import World, reply

SQL = "SELECT * FROM slow_view"


def _crowd(world: World, count: int) -> tuple[Query, list[tuple[Query, list[object]]]]:
    """The leader, and each follower with what it was given."""
    leader = world.query(world.session(), SQL)
    assert world.execute(leader) is None
    followers: list[tuple[Query, list[object]]] = []
    for _ in range(count):
        query = world.query(world.session(), SQL)
        given: list[object] = []
        world.execute(query).addBoth(given.append)
        followers.append((query, given))
    return leader, followers


def test_500_clients_make_one_query(world: World) -> None:
    """One leads, all the others get its reply."""
    leader, followers = _crowd(world, 499)
    assert all(not given for _, given in followers)
    world.finish(leader, reply("slow"))
    assert all(given == [reply("slow")] for _, given in followers)
    assert followers[0][0].facts == {"cache": "hit", "age": "0s", "ttl": "60s", "swr": "30s", "coalesced": "true"}
    assert (world.stats["misses"], world.stats["coalesced"], world.stats["flights"]) == (1, 499, 0)
    assert not world.clock.getDelayedCalls()


def test_a_follower_that_waits_too_long_goes_alone(world: World) -> None:
    """Each has its own limit; the others go on waiting."""
    leader, [(early, given_early)] = _crowd(world, 1)
    world.clock.advance(3)
    late: list[object] = []
    world.execute(world.query(world.session(), SQL)).addBoth(late.append)
    world.clock.advance(2.5)
    assert given_early == [None]
    assert early.facts["cache"] == "miss"
    assert late == []
    world.finish(early, None)
    world.finish(leader, reply("slow"))
    assert late == [reply("slow")]


def test_a_reply_that_cannot_be_kept_is_not_shared(world: World) -> None:
    """Then every client needs its own, and there is no point in waiting for each other."""
    leader, followers = _crowd(world, 3)
    world.finish(leader, None)
    assert [given for _, given in followers] == [[None]] * 3


def test_an_error_is_not_shared_and_the_next_one_leads(world: World) -> None:
    """One cancelled client does not cancel the others."""
    leader, [(second, given), (_, given_third)] = _crowd(world, 2)
    world.finish(leader, error=("57014", "canceling statement due to user request"))
    world.clock.advance(0)
    assert given == [None]
    assert second.keep
    assert given_third == []
    world.finish(second, reply("slow"))
    assert given_third == [reply("slow")]


def test_a_leader_that_leaves_hands_over(world: World) -> None:
    """Nobody waits for the reply to a client that is gone."""
    leader, [(second, given), (_, given_third)] = _crowd(world, 2)
    world.plugin.disconnect(leader.session)
    world.clock.advance(0)
    assert given == [None]
    world.finish(second, reply("slow"))
    assert given_third == [reply("slow")]


def test_a_long_row_of_followers_that_all_fail_at_once_does_not_overflow(world: World) -> None:
    """With the server gone each is refused within the call that lets it go on."""
    leader = world.query(world.session(), SQL)
    world.execute(leader)
    refused = []
    for _ in range(2000):
        query = world.query(world.session(), SQL)

        def refuse(_: object, query: Query = query) -> None:
            refused.append(query)
            world.finish(query, error=("08006", "upstream unavailable (circuit breaker open)"), source="pool")

        world.execute(query).addCallback(refuse)
    world.finish(leader, error=("08006", "upstream unavailable (circuit breaker open)"), source="pool")
    for _ in range(2001):
        world.clock.advance(0)
    assert len(refused) == 2000
    assert world.stats["flights"] == 0


def test_a_follower_that_leaves_is_forgotten(world: World) -> None:
    """Its wait is cancelled, and nothing of it remains."""
    leader = world.query(world.session(), SQL)
    world.execute(leader)
    waiting = world.execute(world.query(world.session(), SQL))
    waiting.cancel()
    failures: list[object] = []
    waiting.addErrback(failures.append)
    assert failures[0].check(CancelledError)  # type: ignore[attr-defined]
    assert not world.clock.getDelayedCalls()
    world.finish(leader, reply())


def test_nobody_joins_a_query_that_left_before_a_write(world: World) -> None:
    """Whoever comes after a committed write must see it, so a query from before it is no help."""
    leader = world.query(world.session(), SQL)
    world.execute(leader)
    world.write(world.session(), "UPDATE slow_view SET x = 1")
    late = world.query(world.session(), SQL)
    assert world.execute(late) is None
    world.finish(leader, reply("old"))
    world.finish(late, reply("new"))
    again = world.query(world.session(), SQL)
    assert world.execute(again) == reply("new")


@pytest.mark.parametrize("described", [True, False])
def test_only_those_who_can_take_it_wait_for_it(world: World, described: bool) -> None:
    """A reply without a description does not do for a client that asks for one, nor is the other made to wait."""
    world.execute(world.query(world.session(), SQL, values=(), described=described))
    assert world.execute(world.query(world.session(), SQL, values=(), described=not described)) is None
