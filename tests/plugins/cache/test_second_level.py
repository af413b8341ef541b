"""Replies shared by processes, and the news of writes between them."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pgbeam_cache.settings import CacheSettings
from pgbeam_cache.storage.remote import Listener
from pgbeam_cache.storage.version_table import SLOTS, VersionTable, shared, slot
from tests.plugins.cache.levels import in_redis, on_disk, redis_server, worker_of
from tests.plugins.cache.worlds import World, reply

SQL = "SELECT * FROM products"
NEED_REDIS = pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed here")


@pytest.fixture(params=["disk", pytest.param("redis", marks=NEED_REDIS)])
def process(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., World]]:
    """Makes processes that share a second level."""
    if request.param == "disk":
        yield lambda **settings: on_disk(tmp_path, **settings)
        return
    with redis_server(tmp_path) as url:
        yield lambda **settings: in_redis(url, **settings)


def ask(world: World, sql: str = SQL, text: str = "1", session: Any = None) -> str:
    """The fact `cache` of one execution, whether it is answered at once or by the second level."""
    query = world.query(session or world.session(), sql)
    answers: list[Any] = []
    answer = world.execute(query)
    if answer is not None and hasattr(answer, "addCallback"):
        answer.addCallback(answers.append)
        answer = answers[0]
    if answer is None:
        world.finish(query, reply(text) if query.keep else None)
    else:
        world.finish(query, source="cache")
    return query.facts["cache"]


def test_another_process_has_it(process: Callable[..., World]) -> None:
    """What one has read the other need not; afterwards it is in its own memory."""
    one, other = process(), process()
    assert ask(one) == "miss"
    assert ask(other) == "hit"
    assert other.stats["l2"]["hits"] == 1
    assert ask(other) == "hit"
    assert other.stats["l2"]["hits"] == 1
    assert other.stats["hits"] == 2


def test_it_ages_everywhere(process: Callable[..., World]) -> None:
    """Age counts from the server's reply, and then it is stale, and then it is nothing."""
    one, stale, late = process(), process(), process()
    ask(one)
    stale.clock.advance(70)
    assert ask(stale) == "stale"
    assert len(stale.beam.reruns) == 1
    late.clock.advance(91)
    assert ask(late) == "miss"


def test_a_write_in_one_process_outdates_it_in_all(process: Callable[..., World]) -> None:
    """In the second level at once; in another's memory too, as soon as it has heard."""
    one, other, third = process(), process(), process()
    ask(one)
    ask(other)
    one.write(one.session(), "UPDATE products SET price = 1")
    assert ask(third) == "miss"
    second = other.plugin.cache.second
    assert second is not None
    if second.remote:
        second.board.wrote((slot("shop", "shop", "products"),))  # as its listener does
    assert ask(other) == "hit"  # what the third has read
    assert other.stats["invalidations"] == 1
    assert ask(one) == "hit"


@pytest.mark.parametrize("sql", ["DO $$ BEGIN END $$", "DROP SCHEMA x CASCADE", "CALL anything()"])
def test_a_write_to_nobody_knows_what_outdates_everything(process: Callable[..., World], sql: str) -> None:
    """Of that database."""
    one, other = process(), process()
    ask(one)
    ask(one, "SELECT 1")
    other.write(other.session(), sql)
    assert ask(process()) == "miss"


def test_a_write_to_another_table_or_database_outdates_nothing(process: Callable[..., World]) -> None:
    """Only what was read from what was written."""
    one, other = process(), process()
    ask(one)
    other.write(other.session(), "UPDATE users SET name = 'x'")
    other.write(other.session(database="elsewhere"), "UPDATE products SET price = 1")
    assert ask(other) == "hit"


def test_what_was_read_before_a_write_is_not_kept_after_it(process: Callable[..., World]) -> None:
    """Its query left before the commit in another process, its reply came after."""
    one, other, third = process(), process(), process()
    query = one.query(one.session(), SQL)
    asked = one.execute(query)
    assert asked.called
    other.write(other.session(), "UPDATE products SET price = 1")
    one.finish(query, reply("old"))
    assert ask(third) == "miss"


def test_nobody_joins_a_query_that_left_before_a_write_in_another_process(process: Callable[..., World]) -> None:
    """Whoever comes after a committed write must see it, whichever process it went through."""
    one, other = process(), process()
    leader, follower, late = (one.query(one.session(), SQL) for _ in range(3))
    assert one.execute(leader).called
    joined = one.execute(follower)
    assert not joined.called
    other.write(other.session(), "UPDATE products SET price = 1")
    second = one.plugin.cache.second
    assert second is not None
    if second.remote:
        second.board.wrote((slot("shop", "shop", "products"),))  # as its listener does
    alone = one.execute(late)
    assert alone.called
    one.finish(leader, reply("old"))
    assert joined.result == reply("old")  # it came before the write
    one.finish(late, reply("new"))
    assert one.execute(one.query(one.session(), SQL)) == reply("new")


def test_a_session_that_called_an_unknown_function_trusts_only_its_own_process(process: Callable[..., World]) -> None:
    """What the function wrote shows nowhere, so what others have read may be from before it."""
    one, other = process(), process()
    ask(one)
    session = other.session()
    other.write(session, "SELECT my_function()")
    assert ask(other, session=session) == "miss"
    assert ask(other, session=session) == "hit"


@pytest.mark.parametrize("invalidate", ["tables", "off"])
def test_a_session_sees_its_own_writes(process: Callable[..., World], invalidate: str) -> None:
    """Whoever else has read before, and whatever the settings say."""
    one, other = process(invalidate=invalidate), process(invalidate=invalidate)
    ask(one)
    session = other.session()
    other.write(session, "UPDATE products SET price = 1")
    assert ask(other, session=session) == "miss"
    expected = "miss" if invalidate == "tables" else "hit"
    assert ask(process(invalidate=invalidate), text="new") in ("hit", expected)


def test_followers_of_a_lookup_are_served_by_their_own_terms(process: Callable[..., World]) -> None:
    """One asks the second level for all; who wants it fresher than it is goes on to the server."""
    one, other = process(), process()
    ask(one)
    other.clock.advance(10)
    worker_of(other).held = []
    queries = [
        other.query(other.session(), f"/* @pgbeam:cache maxAge={seconds} swr=0 */ {SQL}") for seconds in (60, 60, 5)
    ]
    answers: list[Any] = []
    for query in queries:
        other.execute(query).addCallback(answers.append)
    worker_of(other).release()
    assert [query.facts["cache"] for query in queries] == ["hit", "hit", "miss"]


def test_a_leader_that_leaves_while_it_is_looked_up(process: Callable[..., World]) -> None:
    """The next one leads; nobody hangs."""
    world = process()
    worker_of(world).held = []
    leader, follower = world.query(world.session(), SQL), world.query(world.session(), SQL)
    looking = world.execute(leader)
    waiting = world.execute(follower)
    told: list[Any] = []
    waiting.addCallback(told.append)
    looking.addErrback(lambda _: None)
    looking.cancel()
    world.plugin.disconnect(leader.session)
    world.clock.advance(0)
    worker_of(world).release()
    assert told == [None]
    assert follower.keep


def test_what_does_not_answer_in_time_is_a_miss(process: Callable[..., World]) -> None:
    """The client goes to the server; what comes later is nobody's."""
    one, other = process(), process()
    ask(one)
    worker_of(other).held = []
    query = other.query(other.session(), SQL)
    told: list[Any] = []
    other.execute(query).addCallback(told.append)
    other.clock.advance(0.1)
    assert told == [None]
    assert other.stats["l2"]["timeouts"] == 1
    worker_of(other).release()
    assert ask(other, "SELECT * FROM users") == "miss"


def test_a_queue_that_is_full_is_a_miss(process: Callable[..., World]) -> None:
    """So memory is bounded however slow the second level is."""
    world = process()
    worker_of(world).held = []
    for number in range(300):
        query = world.query(world.session(), f"SELECT * FROM t{number}")
        world.execute(query)
    assert len(worker_of(world).held or ()) == 256
    assert world.stats["l2"]["skipped"] == 44


def test_a_second_level_that_is_gone_is_a_miss_and_one_line(tmp_path: Path) -> None:
    """No error reaches a client; after a pause it is tried again."""
    world = in_redis("redis://127.0.0.1:1/0?retry_on_timeout=false")
    for number in range(5):
        assert ask(world, f"SELECT {number}") == "miss"
        world.clock.advance(1)
    errors = world.stats["l2"]["errors"]
    assert errors >= 5
    world.write(world.session(), "UPDATE products SET price = 1")
    assert ask(world) == "miss"
    assert ask(world) == "hit"


@NEED_REDIS
def test_writes_that_redis_missed_are_told_when_it_is_back(tmp_path: Path) -> None:
    """It had replies from before the write, kept over a broken connection."""
    with redis_server(tmp_path) as url:
        one, other = in_redis(url), in_redis(url)
        ask(one)
        backing = other.plugin.cache.second._shelf._backing  # type: ignore[union-attr]
        good, backing._url = backing._url, "redis://127.0.0.1:1/0"
        other.write(other.session(), "UPDATE products SET price = 1")
        backing._url = good
        assert ask(in_redis(url)) == "hit"  # nobody could know yet
        other.clock.advance(1)
        assert ask(in_redis(url)) == "miss"


@NEED_REDIS
def test_a_number_that_redis_has_dropped_is_never_the_same_again(tmp_path: Path) -> None:
    """Eviction loses the news of a write; then nothing that rests on it holds."""
    with redis_server(tmp_path) as url:
        import redis

        one = in_redis(url)
        ask(one)
        one.write(one.session(), "UPDATE products SET price = 1")
        client = redis.Redis.from_url(url)
        for name in client.keys(b"pgbeam:1:w:*"):
            client.delete(name)
        client.close()
        assert ask(in_redis(url)) == "miss"


@NEED_REDIS
def test_a_listener_hears_what_others_wrote(tmp_path: Path) -> None:
    """And knows when it may have missed something: when it begins, and after each gap."""
    heard: list[tuple[int, ...]] = []
    missed: list[None] = []

    def wait_for(found: list[Any], count: int) -> None:
        deadline = time.monotonic() + 10
        while len(found) < count:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    with redis_server(tmp_path) as url:
        listener = Listener(url, heard.append, lambda: missed.append(None))
        listener.start()
        wait_for(missed, 1)
        world = in_redis(url)
        world.write(world.session(), "UPDATE products SET price = 1")
        wait_for(heard, 1)
        assert heard == [(slot("shop", "shop", "products"),)]
        import redis

        client = redis.Redis.from_url(url)
        client.client_kill_filter(_type="pubsub")
        client.close()
        wait_for(missed, 2)
        listener.close()
        listener._thread.join(5)


def test_a_board_is_shared_and_survives_its_processes(tmp_path: Path) -> None:
    """What one writes the others see; a file that is no board of this boot starts anew."""
    one, other = shared(tmp_path / "board", os.urandom), shared(tmp_path / "board", os.urandom)
    before = one.versions((1, 2))
    other.wrote((2,))
    after = one.versions((1, 2))
    assert before[:2] == after[:2]
    assert before[2] != after[2]
    one.close()
    other.close()
    again = shared(tmp_path / "board", os.urandom)
    assert again.versions((1, 2)) == after
    again.close()
    (tmp_path / "board").write_bytes(b"nonsense")
    anew = shared(tmp_path / "board", os.urandom)
    assert anew.versions((1, 2)) != after
    anew.close()


def test_places_on_a_board_differ() -> None:
    """By project, database and table, as far as there are places."""
    names = [("a", "b", "c"), ("a", "bc", None), ("ab", "", "c"), ("a", "b", None), ("shop", "shop", "users")]
    assert len({slot(*name) for name in names}) == len(names)
    assert all(0 <= slot(*name) < SLOTS for name in names)
    board = VersionTable(os.urandom)
    before = board.versions((5,))
    board.wrote_everything()
    assert board.versions((5,)) != before


def test_what_all_databases_have_in_common_is_known_to_all_processes(process: Callable[..., World]) -> None:
    """A role that lost a right gets nothing from another process either, in whatever database that was said."""
    one, other = process(), process()
    ask(one)
    writer = other.session(database="archive")
    other.write(writer, "REVOKE reader FROM app")
    assert ask(process()) == "miss"


def test_without_the_package_redis_it_is_refused_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who forgot the extra is told so, and which, before any client comes."""
    monkeypatch.setattr("pgbeam_cache.settings.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"install pgbeam\[redis\]"):
        CacheSettings(l2="redis://h")
    CacheSettings(l2="disk")
