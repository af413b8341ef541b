"""Hits, stale hits and misses, and the refresh in the background."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from pgbeam_core import Answer, Result
from tests.plugins.cache.worlds import PRIMARY, World, reply

SQL = "SELECT name FROM categories"


def test_a_reply_is_served_until_its_ttl_is_over(world: World) -> None:
    """The second client gets the first one's reply, byte for byte, and nobody asks the server."""
    first = world.query(world.session(), SQL)
    assert world.execute(first) is None
    world.finish(first, reply("tea"))
    world.clock.advance(12.9)
    second = world.query(world.session(), SQL)
    assert world.execute(second) == reply("tea")
    assert second.facts == {"cache": "hit", "age": "12s", "ttl": "60s", "swr": "30s"}


def test_age_counts_from_when_the_query_left_for_the_server(world: World) -> None:
    """A query that took ten seconds gives a reply that is ten seconds old."""
    query = world.query(world.session(), SQL)
    world.execute(query)
    world.clock.advance(10)
    world.finish(query, reply(), took=10.0)
    again = world.query(world.session(), SQL)
    assert world.execute(again) is not None
    assert again.facts["age"] == "10s"


def test_a_stale_reply_is_served_at_once_while_one_refresh_runs(world: World) -> None:
    """Nobody waits for a refresh, and many stale hits make one refresh."""
    session = world.session()
    world.run(session, SQL, "old")
    world.clock.advance(75)
    for _ in range(5):
        query = world.query(session, SQL)
        assert world.execute(query) == reply("old")
        assert query.facts == {"cache": "stale", "age": "75s", "ttl": "60s", "swr": "30s"}
    (refresh,) = world.beam.reruns
    refresh.callback(Result("server", "SELECT 1", 1, kept=reply("new")))
    query = world.query(session, SQL)
    assert world.execute(query) == reply("new")
    assert query.facts["cache"] == "hit"
    assert world.stats["refreshes"] == 1


def test_after_ttl_and_swr_it_is_a_miss(world: World) -> None:
    """Nothing older than TTL plus SWR is ever served."""
    session = world.session()
    world.run(session, SQL)
    world.clock.advance(90)
    assert world.run(session, SQL) == "miss"


def test_a_failed_refresh_keeps_the_stale_reply_and_is_counted(world: World) -> None:
    """An error in the background costs no client anything; the next try waits a second."""
    session = world.session()
    world.run(session, SQL, "old")
    world.clock.advance(61)
    world.run(session, SQL)
    world.beam.reruns[0].callback(Result("server", error=("57014", "canceled")))
    assert world.run(session, SQL) == "stale"
    assert len(world.beam.reruns) == 1
    world.clock.advance(1.1)
    assert world.run(session, SQL) == "stale"
    assert len(world.beam.reruns) == 2
    world.beam.reruns[1].errback(OSError("gone"))
    assert world.stats["refresh_failures"] == 2


def test_a_refresh_that_takes_too_long_is_given_up(world: World) -> None:
    """A refresh has a limit of its own, after which another may try."""
    session = world.session()
    world.run(session, "/* @pgbeam:cache swr=1000 */ " + SQL)
    world.clock.advance(61)
    world.run(session, "/* @pgbeam:cache swr=1000 */ " + SQL)
    assert world.stats["refreshing"] == 1
    world.clock.advance(31)
    assert world.stats["refreshing"] == 0
    assert world.stats["refresh_failures"] == 1


def test_refreshes_end_with_pgbeam(world: World) -> None:
    """Stopping leaves no query behind."""
    session = world.session()
    world.run(session, SQL)
    world.clock.advance(61)
    world.run(session, SQL)
    world.plugin.shutdown(world.beam)  # type: ignore[arg-type]
    assert world.stats["refreshing"] == 0


def test_while_the_server_is_out_of_reach_stale_replies_are_served_without_refresh(world: World) -> None:
    """An open breaker makes nobody try, and a reply inside its SWR window is still better than an error."""
    session = world.session()
    world.run(session, SQL)
    world.clock.advance(61)
    world.beam.available = False
    query = world.query(session, SQL)
    assert world.execute(query) is not None
    assert (query.facts["cache"], query.facts["unavailable"]) == ("stale", "true")
    assert world.beam.reruns == []


def test_stale_if_error_serves_longer_while_the_server_is_out_of_reach() -> None:
    """Only then: as soon as the server is there again, an old reply is a miss."""
    world = World(stale_if_error_s=600)
    session = world.session()
    world.run(session, SQL)
    world.clock.advance(500)
    assert world.run(session, SQL) == "miss"
    world.clock.advance(600)
    world.beam.available = False
    assert world.run(session, SQL) == "stale"
    world.clock.advance(100)
    assert world.run(session, SQL) == "miss"


def test_without_stale_if_error_the_swr_window_is_the_end(world: World) -> None:
    """Off by default: nobody gets older replies than he has asked for."""
    session = world.session()
    world.run(session, SQL)
    world.clock.advance(91)
    world.beam.available = False
    assert world.run(session, SQL) == "miss"


def test_a_refresh_of_what_was_written_meanwhile_is_not_kept(world: World) -> None:
    """A refresh that read before a write is worth nothing after it."""
    session = world.session()
    world.run(session, SQL, "old")
    world.clock.advance(61)
    world.run(session, SQL)
    world.write(session, "UPDATE categories SET name = 'new'")
    world.beam.reruns[0].callback(Result("server", "SELECT 1", 1, kept=reply("old")))
    assert world.run(session, SQL) == "miss"


def test_each_reader_has_its_own_patience(world: World) -> None:
    """The same entry is fresh for one who takes 300 seconds and gone for one who takes ten."""
    session = world.session()
    world.run(session, "/* @pgbeam:cache maxAge=300 */ " + SQL)
    world.clock.advance(100)
    assert world.run(session, "/* @pgbeam:cache maxAge=300 */ " + SQL) == "hit"
    assert world.run(session, "/* @pgbeam:cache maxAge=10 swr=5 */ " + SQL) == "miss"


def test_a_reply_without_description_is_no_reply_to_who_asks_for_one(world: World) -> None:
    """asyncpg runs prepared statements without Describe; another driver's Describe must still be answered."""
    session = world.session()
    assert world.run(session, SQL, values=(), described=False) == "miss"
    assert world.run(session, SQL, values=(), described=False) == "hit"
    assert world.run(session, SQL, values=(), described=True) == "miss"
    assert world.run(session, SQL, values=(), described=False) == "hit"


def test_a_reply_above_the_cap_is_not_kept(world: World) -> None:
    """The core keeps nothing larger than asked for; the next client asks the server."""
    query = world.query(world.session(), SQL)
    world.execute(query)
    assert query.keep == 1024 * 1024
    world.finish(query, None)
    assert world.run(world.session(), SQL) == "miss"
    assert world.stats["not_kept"] == 1


def test_an_error_is_not_kept(world: World) -> None:
    """The next client may have more luck."""
    query = world.query(world.session(), SQL)
    world.execute(query)
    world.finish(query, error=("42501", "permission denied"))
    assert world.run(world.session(), SQL) == "miss"


def test_an_answer_comes_at_once(world: World) -> None:
    """A hit is an Answer, not a promise of one."""
    world.run(world.session(), SQL)
    found = world.execute(world.query(world.session(), SQL), PRIMARY)
    assert isinstance(found, Answer)
    assert not isinstance(found, Deferred)
