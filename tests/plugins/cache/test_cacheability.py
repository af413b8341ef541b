"""What is cached at all, who decides, and the word for why not."""

from __future__ import annotations

from unittest.mock import Mock

import pytest

from pgbeam_core import Lease, Project, SettingAction, SettingChange
from tests.plugins.cache.worlds import PRIMARY, World, say, set_to

SQL = "SELECT * FROM products"


def _held() -> Lease:
    """A lease that nobody uses."""
    return Lease(Mock(), Mock(), shared=False, waited=0.0, since=0.0)


def _reason(world: World, sql: str, **how: object) -> str | None:
    """The reason why a text is not cached; None if it is."""
    query = world.query(world.session(), sql, **how)  # type: ignore[arg-type]
    world.execute(query)
    return query.facts.get("reason")


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("SELECT * FROM products", None),
        ("VALUES (1)", None),
        ("TABLE products", None),
        ("WITH p AS (SELECT * FROM products) SELECT lower(name), count(*) FROM p GROUP BY 1", None),
        ("INSERT INTO products VALUES (1)", "write"),
        ("UPDATE products SET price = 1", "write"),
        ("DELETE FROM products", "write"),
        ("COPY products TO STDOUT", "write"),
        ("CREATE TABLE t (x int)", "write"),
        ("TRUNCATE products", "write"),
        ("SELECT * INTO t FROM products", "write"),
        ("WITH gone AS (DELETE FROM products RETURNING *) SELECT * FROM gone", "write"),
        ("SELECT * FROM products FOR UPDATE", "locking"),
        ("SELECT * FROM products FOR SHARE", "locking"),
        ("SELECT now()", "volatile"),
        ("SELECT random()", "volatile"),
        ("SELECT current_date", "volatile"),
        ("SELECT 'now'::timestamp", "volatile"),
        ("SELECT current_user", "volatile"),
        ("SELECT pg_advisory_lock(1)", "volatile"),
        ("SELECT my_function(1)", "volatile"),
        ("SELECT 1 === 2", "volatile"),
        ("SELECT set_config('a.b', 'c', false)", "volatile"),
        ("SELECT * FROM products TABLESAMPLE system (1)", "volatile"),
        ("SELECT * FROM pg_class", "catalog"),
        ("SELECT * FROM pg_catalog.pg_class", "catalog"),
        ("SELECT * FROM information_schema.tables", "catalog"),
        ("SELECT * FROM pg_temp.mine", "temp"),
        ("SELECT 1; SELECT 2", "multi"),
        ("BEGIN", "transaction"),
        ("DECLARE c CURSOR FOR SELECT 1", "cursor"),
        ("FETCH c", "cursor"),
        ("SHOW search_path", "utility"),
        ("EXPLAIN SELECT 1", "utility"),
        ("SELEKT", "unknown"),
    ],
)
def test_the_text_tells_what_is_never_cached(world: World, sql: str, reason: str | None) -> None:
    """Every bypass has its word."""
    assert _reason(world, sql) == reason


def test_nothing_inside_a_transaction_is_cached(world: World) -> None:
    """A transaction sees its own snapshot and its own writes."""
    assert _reason(world, SQL, in_transaction=True) == "transaction"


def test_without_a_board_nothing_is_cached_while_two_processes_write(world: World) -> None:
    """While PgBeam restarts, and after that nothing that was remembered before."""
    session = world.session()
    assert [world.run(session, SQL), world.run(session, SQL)] == ["miss", "hit"]
    world.beam.broadcast.overlap(True)
    assert _reason(world, SQL) == "restart"
    world.beam.broadcast.overlap(False)
    assert [world.run(session, SQL), world.run(session, SQL)] == ["miss", "hit"]


def test_an_execution_that_cannot_be_answered_whole_is_not_cached(world: World) -> None:
    """Several executions before one Sync, or a limit on rows."""
    assert _reason(world, SQL, answerable=False) == "pipeline"


@pytest.mark.parametrize(
    ("value", "reason"), [(b"now", "volatile"), (b" Tomorrow 10:00", "volatile"), (b"know-how", None), (None, None)]
)
def test_a_parameter_that_may_mean_now_is_not_cached(world: World, value: bytes | None, reason: str | None) -> None:
    """Cast to a timestamp it is another moment with every execution."""
    assert _reason(world, "SELECT $1::timestamp", values=(value,)) == reason


def test_a_session_with_state_on_its_server_is_not_cached(world: World) -> None:
    """Its products may be its own temporary table."""
    for pin in ("temp_table", "setting", "unknown", "load"):
        session = world.session()
        session.pins.add(pin)
        query = world.query(session, SQL)
        world.execute(query)
        assert query.facts == {"cache": "bypass", "reason": "state"}


def test_a_session_with_a_setting_that_nobody_knows_is_not_cached(world: World) -> None:
    """SET x FROM CURRENT, set_config(…): only the server knows the value."""
    session = world.session()
    session.settings.change([SettingChange(SettingAction.SET, "search_path", None, literal=False)])
    query = world.query(session, SQL)
    world.execute(query)
    assert query.facts["reason"] == "state"


@pytest.mark.parametrize(
    "sql", ["SELECT make_report()", "EXECUTE report", "DO $$ … $$", "CALL report()", "SELECT 1; CALL a()"]
)
def test_a_session_that_keeps_its_server_and_calls_unknown_functions_is_not_cached(world: World, sql: str) -> None:
    """The function may have made a temporary table or set anything; DISCARD ALL takes that back."""
    session = world.session(Project("shop", PRIMARY, pool_mode="session"))
    session.lease = _held()
    world.write(session, sql)
    query = world.query(session, SQL)
    world.execute(query)
    assert query.facts["reason"] == "state"
    world.write(session, "DISCARD ALL")
    assert world.run(session, SQL) == "miss"


def test_a_session_is_not_cached_while_its_server_is_asked_what_a_function_has_left(world: World) -> None:
    """Its next query may come before the answer, and what it reads then is for nobody else."""
    session = world.session()
    session.lease = _held()
    world.write(session, "SELECT set_the_path()")
    query = world.query(session, SQL)
    world.execute(query)
    assert query.facts["reason"] == "state"
    session.lease = None
    assert world.run(session, SQL) == "miss"


@pytest.mark.parametrize("encoding", ["SJIS", "shift_jis", "BIG5", "gbk", "GB18030"])
def test_encodings_whose_bytes_cannot_be_told_apart_are_not_cached(world: World, encoding: str) -> None:
    """Half a character may look like a letter or a quote."""
    session = world.session()
    set_to(session, "client_encoding", encoding)
    query = world.query(session, SQL)
    world.execute(query)
    assert query.facts["reason"] == "encoding"


def test_backslashes_in_a_session_where_they_escape_are_not_cached(world: World) -> None:
    """With standard_conforming_strings off a string may end elsewhere than it seems."""
    session = world.session()
    set_to(session, "standard_conforming_strings", "off")
    query = world.query(session, r"SELECT 'a\', now(), '")
    world.execute(query)
    assert query.facts["reason"] == "unknown"
    assert world.run(session, SQL) == "miss"


ON, OFF = "on", "off"


@pytest.mark.parametrize(
    ("annotation", "session", "default", "outcome"),
    [
        ("", None, False, "off"),
        ("", None, True, (60, 30)),
        ("", ON, False, (60, 30)),
        ("", OFF, True, "session"),
        ("/* @pgbeam:cache */", None, False, (60, 30)),
        ("/* @pgbeam:cache */", OFF, False, (60, 30)),
        ("/* @pgbeam:cache maxAge=300 */", OFF, True, (300, 30)),
        ("/* @pgbeam:cache swr=5 */", None, False, (60, 5)),
        ("/* @pgbeam:cache maxAge=300 swr=0 */", ON, True, (300, 0)),
        ("/* @pgbeam:cache noCache */", ON, True, "annotation"),
        ("/* @pgbeam:cache noCache maxAge=5 */", ON, True, "annotation"),
        ("/* @pgbeam:cache maxAge=0 swr=0 */", ON, True, "ttl"),
        ("/* @pgbeam:cache maxAge=abc */", None, False, "off"),
        ("/* @pgbeam:replica */", None, False, "off"),
    ],
)
def test_the_first_that_has_a_say_decides(
    annotation: str, session: str | None, default: bool, outcome: str | tuple[int, int]
) -> None:
    """Annotation, then the session's off, then its on, then the project's default, then off."""
    world = World(enabled=default)
    client = world.session()
    if session is not None:
        say(client, "cache", session)
    world.run(client, f"{annotation} {SQL}")
    query = world.query(client, f"{annotation} {SQL}")
    world.execute(query)
    if isinstance(outcome, str):
        assert query.facts == {"cache": "bypass", "reason": outcome}
    else:
        assert (query.facts["cache"], query.facts["ttl"], query.facts["swr"]) == ("hit", *(f"{s}s" for s in outcome))


def test_the_sessions_ttl_and_swr_are_its_defaults(world: World) -> None:
    """They hold where no annotation says otherwise."""
    session = world.session()
    say(session, "cache_ttl", "7")
    say(session, "cache_swr", "3")
    world.run(session, SQL)
    query = world.query(session, SQL)
    world.execute(query)
    assert (query.facts["ttl"], query.facts["swr"]) == ("7s", "3s")
    query = world.query(session, f"/* @pgbeam:cache maxAge=9 */ {SQL}")
    world.execute(query)
    assert (query.facts["ttl"], query.facts["swr"]) == ("9s", "3s")


def test_bypasses_are_counted_by_reason(world: World) -> None:
    """What keeps an application from the cache can be seen in the numbers."""
    for sql in ("SELECT now()", "SELECT random()", "BEGIN"):
        world.run(world.session(), sql)
    assert world.stats["bypasses"] == {"volatile": 2, "transaction": 1}


def test_large_parameters_are_not_looked_at(world: World) -> None:
    """A reply to megabytes of parameters is not remembered, because to compare them takes time from everybody."""
    assert _reason(world, "SELECT * FROM products WHERE name = $1", values=(b"x" * 60_000,)) is None
    assert _reason(world, "SELECT * FROM products WHERE name = $1", values=(b"x" * 70_000,)) == "size"
