"""What a session may have done without anybody having seen it, in front of a real server."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.behaviour import frames
from tests.behaviour.beams import Beam
from tests.behaviour.clusters import Cluster
from tests.behaviour.wireclient import Frame, WireClient
from tests.plugins.cache.levels import redis_server

pytestmark = [pytest.mark.pg, pytest.mark.usefixtures("fresh_shop")]
PLUGINS = "cache,pool,debug"
READ = "/* @pgbeam:cache maxAge=300 */ SELECT v FROM t"
_OWN = """
DROP SCHEMA IF EXISTS b CASCADE;
CREATE SCHEMA b AUTHORIZATION app;
SET ROLE app;
CREATE TABLE public.t (v text);
CREATE TABLE b.t (v text);
INSERT INTO public.t VALUES ('public');
INSERT INTO b.t VALUES ('b');
CREATE TABLE log (v text);
CREATE FUNCTION move() RETURNS text LANGUAGE sql AS $$SELECT set_config('search_path', 'b', false)$$;
CREATE FUNCTION compare(text, text) RETURNS text LANGUAGE sql AS $$SELECT public.move()$$;
CREATE OPERATOR ==> (LEFTARG = text, RIGHTARG = text, FUNCTION = compare);
CREATE PROCEDURE proceed() LANGUAGE sql AS $$SELECT public.move()$$;
"""


@pytest.fixture
def two_schemas(cluster: Cluster, fresh_shop: None) -> Iterator[Cluster]:
    """A table `t` in two schemas, and functions that change the search_path of their session."""
    with cluster.connect() as boss:
        boss.execute("SET client_min_messages = error")
        boss.execute(_OWN)
        yield cluster
        boss.execute("RESET ROLE; DROP SCHEMA b CASCADE")


def values(said: list[Frame]) -> list[str]:
    """The texts in rows of one column."""
    return [frame.body[6:].decode() for frame in said if frame.tag == b"D"]


def ask(wire: WireClient, sql: str = READ) -> list[str]:
    """The rows of a query of one column."""
    return values(wire.ask(frames.query(sql)))


@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_nobody_shares_what_was_read_behind_a_function(
    two_schemas: Cluster, beam: Callable[..., Beam], mode: str
) -> None:
    """Functions change settings that no text names; the next query comes before anybody could ask the server."""
    running = beam(two_schemas, mode, plugins=PLUGINS)
    for sql in [
        "SELECT move()",
        "SELECT * FROM generate_series(1, 2), move()",
        "SELECT 'x' ==> 'y'",
        "INSERT INTO log SELECT move()",
        "DO $$ BEGIN PERFORM move(); END $$",
        "CALL proceed()",
        "EXECUTE prepared",
        "EXPLAIN ANALYZE SELECT move()",
        "COPY (SELECT move()) TO STDOUT",
        "DECLARE held CURSOR WITH HOLD FOR SELECT move()",
        "CREATE TABLE made AS SELECT move()",
        "SELECT 1; SELECT move()",
        "BEGIN; SELECT move(); COMMIT",
    ]:
        with running.wire() as odd, running.wire() as plain:
            assert ask(plain) == ["public"]
            odd.ask(frames.query("PREPARE prepared AS SELECT public.move()"))
            odd.send(frames.query(sql) + frames.query(READ))
            odd.until(b"Z")
            assert values(odd.until(b"Z")) == ["b"], sql
            assert ask(odd) == ["b"], sql
            assert ask(plain) == ["public"], sql


@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_a_write_that_outlives_its_client_is_noticed(
    two_schemas: Cluster, beam: Callable[..., Beam], mode: str
) -> None:
    """It waits for a lock, its client goes, it is committed all the same: nobody hears of it, and it counts."""
    running = beam(two_schemas, mode, plugins=PLUGINS)
    with running.wire() as reader, two_schemas.connect() as boss:
        ask(reader)
        boss.execute("BEGIN; SELECT * FROM public.t FOR UPDATE")
        with running.wire() as writer:
            writer.send(frames.query("UPDATE public.t SET v = 'new'"))
            time.sleep(0.2)
        time.sleep(0.2)
        assert ask(reader) == ["public"]
        boss.execute("COMMIT")
        deadline = time.monotonic() + 5
        while ask(reader) != ["new"]:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        running.wait_until_idle()


def test_another_database_of_the_same_name_is_another_database(cluster: Cluster, beam: Callable[..., Beam]) -> None:
    """It was dropped and made anew, by somebody who was in a third one: test runners do so all day."""
    running = beam(cluster, "transaction", plugins=PLUGINS)
    names = ("first", "second", "passing")
    with running.wire("boss", "postgres") as boss:
        for name in names:
            boss.ask(frames.query(f"DROP DATABASE IF EXISTS {name}"))
        try:
            for name in names[:2]:
                boss.ask(frames.query(f"CREATE DATABASE {name}"))
                with cluster.connect(database=name) as direct:
                    direct.execute(f"CREATE TABLE t AS SELECT '{name}'::text AS v; GRANT SELECT ON t TO app")
            for name in names[:2]:
                boss.ask(frames.query(f"CREATE DATABASE passing TEMPLATE {name}"))
                with running.wire(database="passing") as wire:
                    assert ask(wire) == ask(wire) == [name]
                boss.ask(frames.query("DROP DATABASE passing"))
        finally:
            for name in names:
                boss.ask(frames.query(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))


def test_a_right_that_is_taken_away_is_gone_at_once(cluster: Cluster, beam: Callable[..., Beam]) -> None:
    """Whoever is no member of a role any more gets nothing of what it could read, from whatever database it was."""
    running = beam(cluster, "transaction", plugins=PLUGINS)
    with cluster.connect() as direct:
        direct.execute("CREATE ROLE cache_reader; CREATE TABLE secret AS SELECT 'secret' AS v")
        direct.execute("GRANT SELECT ON secret TO cache_reader; GRANT cache_reader TO app")
    secret = READ.replace("FROM t", "FROM secret")
    try:
        with running.wire() as wire, running.wire("boss", "postgres") as boss:
            assert ask(wire, secret) == ask(wire, secret) == ["secret"]
            boss.ask(frames.query("REVOKE cache_reader FROM app"))
            assert ask(wire, secret) == []
    finally:
        with cluster.connect() as direct:
            direct.execute("DROP TABLE secret; DROP ROLE cache_reader")


def test_sequences_move_on_by_themselves(cluster: Cluster, beam: Callable[..., Beam]) -> None:
    """An INSERT takes a number from a sequence that its text does not name."""
    running = beam(cluster, "transaction", plugins=PLUGINS)
    last = "/* @pgbeam:cache */ SELECT last_value FROM orders_id_seq"
    with running.wire() as wire:
        (before,) = ask(wire, last)
        wire.ask(frames.query("INSERT INTO orders (user_id) VALUES (1)"))
        assert ask(wire, last) == [str(int(before) + 1)]


@pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed here")
def test_a_refresh_has_the_settings_of_the_query_that_asked_for_it(
    two_schemas: Cluster, beam: Callable[..., Beam], tmp_path: Path
) -> None:
    """A session goes on while its refresh is prepared, to another search_path perhaps."""
    stale = READ.replace("maxAge=300", "maxAge=1 swr=60")
    with redis_server(tmp_path) as url:
        running = beam(two_schemas, "transaction", plugins=PLUGINS, settings={"plugins": {"cache": {"l2": url}}})
        with running.wire() as one, running.wire() as other:
            for _ in range(2):
                ask(one, stale)
                time.sleep(1.1)
                one.send(frames.query(stale) + frames.query("SET search_path = b"))
                one.until(b"Z", 2)
                time.sleep(0.2)
                assert ask(other, stale) == ["public"]
                ask(one, "RESET search_path")


def test_the_protocols_function_call_is_a_write(cluster: Cluster, beam: Callable[..., Beam]) -> None:
    """What it calls may have written anything."""
    with cluster.connect() as boss:
        boss.execute(
            "SET ROLE app; CREATE TABLE called (n int); INSERT INTO called VALUES (0); CREATE FUNCTION call_me()"
            " RETURNS int LANGUAGE sql AS 'UPDATE called SET n = n + 1 RETURNING n'"
        )
        row = boss.execute("SELECT 'call_me'::regproc::oid").fetchone()
    assert row is not None
    with beam(cluster, "transaction", plugins=PLUGINS).wire() as wire:
        before = ask(wire, READ.replace("v FROM t", "n FROM called"))
        wire.ask(frames.function_call(int(row[0])))
        assert ask(wire, READ.replace("v FROM t", "n FROM called")) != before
