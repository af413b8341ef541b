"""Rules decide by shape, outlive PgBeam, and can be seen beside the shapes."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from pgbeam_cache.policy.rule_files import Rule
from pgbeam_cache.policy.rules import Rules
from pgbeam_core import PgBeamError
from tests.plugins.cache.levels import AtOnce
from tests.plugins.cache.worlds import World, say

SQL = "SELECT * FROM products WHERE id = 1"


def rules_world(folder: Path, **settings: Any) -> World:
    """A cache that keeps its rules in a folder."""
    world = World(enabled=False, **settings)
    world.plugin.cache.rules = rules_in(folder, Clock())
    return world


def rules_in(folder: Path, clock: Clock) -> Rules:
    """The rules of one process, whose file is read and written at once."""
    return Rules(folder / "rules.json", AtOnce(), clock)


def outcome(asked: Deferred[Any]) -> Any:
    """What has come of it; raises what it failed with."""
    ended: list[Any] = []
    asked.addBoth(ended.append)
    (end,) = ended
    if isinstance(end, Failure):
        end.raiseException()
    return end


def shape_of(world: World, sql: str = SQL) -> Any:
    """The shape that a text has."""
    return world.plugin.cache.shapes.get(world.statements.statement(sql.encode()).query_hash)


def test_a_rule_caches_without_a_word_from_the_application(tmp_path: Path) -> None:
    """Every text of the shape, with the seconds of the rule; another shape is left alone."""
    world = rules_world(tmp_path)
    assert world.run(world.session(), SQL) == "bypass"
    world.plugin.cache.rules.set(shape_of(world).hash, Rule(ttl=5, swr=0))
    for sql in (SQL, SQL.replace("1", "2")):
        assert [world.run(world.session(), sql) for _ in range(2)] == ["miss", "hit"]
    world.clock.advance(5)
    assert world.run(world.session(), SQL) == "miss"
    assert world.run(world.session(), "SELECT * FROM users") == "bypass"


def test_who_goes_before_a_rule_and_who_after(tmp_path: Path) -> None:
    """Annotation, session off, rule, session on, default."""
    world = rules_world(tmp_path)
    session = world.session()
    world.run(session, SQL)
    rules, query_hash = world.plugin.cache.rules, shape_of(world).hash
    rules.set(query_hash, Rule())
    assert world.run(session, f"/* @pgbeam:cache noCache */ {SQL}") == "bypass"
    say(session, "cache", "off")
    assert world.run(session, SQL) == "bypass"
    say(session, "cache", "on")
    rules.set(query_hash, Rule(enabled=False))
    query = world.query(session, SQL)
    world.execute(query)
    assert query.facts["reason"] == "rule"
    assert world.run(session, f"/* @pgbeam:cache */ {SQL}") == "miss"
    rules.unset(query_hash)
    assert world.run(session, SQL) == "hit"


def test_rules_outlive_pgbeam_and_reach_other_workers(tmp_path: Path) -> None:
    """Another process reads the same file, within a second."""
    clock = Clock()
    one, other = rules_in(tmp_path, clock), rules_in(tmp_path, clock)
    other.start()
    assert other.current == {}
    one.set("0123456789abcdef", Rule(ttl=7))
    one.set("fedcba9876543210", Rule(enabled=False))
    clock.advance(1)
    assert other.current == {"0123456789abcdef": Rule(ttl=7), "fedcba9876543210": Rule(enabled=False)}
    assert outcome(other.unset("fedcba9876543210")) is True
    assert outcome(other.unset("fedcba9876543210")) is False
    one.start()
    one.close()
    assert one.current == {"0123456789abcdef": Rule(ttl=7)}
    other.close()
    assert not clock.getDelayedCalls()


@pytest.mark.parametrize("text", ["", "[]", '{"version": 2}', '{"version": 1, "rules": {"x": {"ttl": -1}}}'])
def test_a_broken_file_of_rules_changes_nothing(tmp_path: Path, text: str) -> None:
    """The rules that hold go on holding, and nothing is written over it."""
    clock = Clock()
    rules = rules_in(tmp_path, clock)
    rules.start()
    rules.set("0123456789abcdef", Rule())
    (tmp_path / "rules.json").write_text(text)
    clock.advance(1)
    assert rules.current == {"0123456789abcdef": Rule()}
    with pytest.raises(PgBeamError):
        outcome(rules.set("fedcba9876543210", Rule()))
    rules.close()
    assert (tmp_path / "rules.json").read_text() == text


@pytest.mark.parametrize(("query_hash", "rule"), [("x", Rule()), ("0" * 16, Rule(ttl=-1)), ("0" * 16, Rule(swr=2**31))])
def test_nonsense_makes_no_rule(tmp_path: Path, query_hash: str, rule: Rule) -> None:
    """It is refused with the reason."""
    with pytest.raises(PgBeamError):
        rules_in(tmp_path, Clock()).set(query_hash, rule)
    assert not (tmp_path / "rules.json").exists()


def test_tables_and_panel_show_them(tmp_path: Path) -> None:
    """The console's tables have a value for each column, the panel a line for each shape."""
    world = rules_world(tmp_path)
    world.run(world.session(), SQL)
    world.plugin.cache.rules.set(shape_of(world).hash, Rule(ttl=5))
    world.run(world.session(), SQL)
    tables = world.plugin.console()
    assert set(tables) == {"CACHE", "RULES", "SHAPES"}
    for table in tables.values():
        assert all(len(row) == len(table.columns) for row in table.rows)
    assert ("misses", 1) in tables["CACHE"].rows
    assert ("bypasses.off", 1) in tables["CACHE"].rows
    (shown,) = tables["SHAPES"].rows
    assert dict(zip(tables["SHAPES"].columns, shown, strict=True))["rule"] == "ttl=5"
    console = Console(width=80, file=open("/dev/null", "w"), record=True)  # noqa: PTH123, SIM115
    console.print(world.plugin.panel())
    assert "SELECT * FROM products WHERE id = $1" in console.export_text()
    console.file.close()


def test_the_control_socket_lists_sets_and_unsets(tmp_path: Path) -> None:
    """As the command line asks."""
    world = rules_world(tmp_path)
    world.run(world.session(), SQL)
    query_hash = shape_of(world).hash

    def ask(what: str, **arguments: Any) -> Any:
        replies: list[Any] = []
        world.beam.control.ask({"ask": what, **arguments}).addCallback(replies.append)
        return json.loads(json.dumps(replies[0]))

    assert ask("cache-rules.set", query_hash=query_hash, ttl=9)["ok"]
    (row,) = ask("cache-rules.list")["result"]
    assert (row["query_hash"], row["calls"], row["rule"]) == (query_hash, 1, "ttl=9")
    assert not ask("cache-rules.set", query_hash=query_hash, ttl="9")["ok"]
    assert not ask("cache-rules.set", query_hash="nonsense")["ok"]
    assert ask("cache-rules.unset", query_hash=query_hash)["result"] is True
    assert ask("cache-rules.unset", query_hash=query_hash)["result"] is False


def test_a_rule_for_a_shape_not_seen_is_listed(tmp_path: Path) -> None:
    """It is not lost from sight after a restart."""
    world = rules_world(tmp_path)
    world.plugin.cache.rules.set("0123456789abcdef", Rule())
    from pgbeam_cache.surface import commands, views

    rows = views.listing(world.plugin.cache.shapes, world.plugin.cache.rules)
    assert [(row["query_hash"], row["rule"]) for row in rows] == [("0123456789abcdef", "on")]
    commands._print(rows)
    assert SimpleNamespace(**rows[0]).calls == 0
