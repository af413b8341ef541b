"""What PgBeam says that it would do with a statement."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pgbeam_cache import Caching
from pgbeam_core.testing import Client, Rehearsal
from pgbeam_core.testing.frames import done, table
from pgbeam_pool import Pools

READ = "SELECT name FROM products WHERE id = 1"
WRITE = "UPDATE products SET name = 'x'"


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Rehearsal]:
    """PgBeam with a cache; every change of rows would be seen."""
    cache, top = {"cache": {"l2": "off"}}, {"state_dir": str(tmp_path)}
    plugins = {"cache": Caching(), "pool": Pools()}
    with Rehearsal(plugins, settings=cache, top=top, project={"auth": "trust"}) as rehearsal:
        rehearsal.primary.answers[READ] = table(["name"], [["ink"]])
        yield rehearsal


def explained(client: Client, sql: str) -> dict[str, tuple[str | None, str | None]]:
    """(value, why) by what it is about, the same by both protocols."""
    sql = f"/* @pgbeam:explain */ {sql}"
    simple, extended = client.query(sql), client.execute(sql)
    assert simple.rows == extended.rows, sql
    assert (simple.error, simple.tags) == (None, ("EXPLAIN",))
    return {str(row[0]): (row[1], row[2]) for row in simple.rows}


@pytest.mark.parametrize(
    ("sql", "what", "value"),
    [
        ("INSERT INTO products VALUES (1)", "class", "insert"),
        ("INSERT INTO products VALUES (1)", "cacheable", "no"),
        ("DELETE FROM products", "shareable", "no"),
        ("LISTEN news", "pin", "listen"),
        ("CREATE TEMP TABLE t (a int)", "pin", "temp_table"),
        ("BEGIN", "transaction", "begins"),
        ("SELECT now()", "cacheable", "no"),
        ("SELECT 1; SELECT 2", "class", "multi"),
        ("NONSENSE", "class", "unknown"),
        ("SET pgbeam.cache = on", "class", "set"),
        (READ, "transaction", "none"),
    ],
)
def test_nothing_is_done(stage: Rehearsal, sql: str, what: str, value: str) -> None:
    """Whatever is explained, no server hears of it, nothing of the session changes, and nothing is counted."""
    client = stage.login()
    before, results = list(stage.primary.asked), len(stage.results)
    assert explained(client, sql)[what][0] == value
    assert stage.primary.asked == before
    assert len(stage.results) == results
    assert client.query("SHOW pgbeam.cache").rows == (("off",),)
    assert client.query("").frames[-1][-1:] == b"I"


def test_inside_a_transaction(stage: Rehearsal) -> None:
    """What would make it real does not, and says why it would; in a failed one it fails as anything does."""
    client = stage.login()
    client.query("BEGIN")
    real = "it makes the transaction real on a server"
    assert explained(client, READ)["transaction"] == ("begins", f"{real}: isolation")
    value, why = explained(client, "DELETE FROM products")["transaction"]
    assert (value, why) == ("begins", f"{real}: write")
    client.query("NONSENSE")
    assert client.query(f"/* @pgbeam:explain */ {READ}").error == (
        "25P02",
        "current transaction is aborted, commands ignored until end of transaction block",
    )


def test_a_plugin_that_gives_no_explanation_costs_only_itself(tmp_path: Path) -> None:
    """The rows of others are there."""
    from pgbeam_core import hookimpl

    class Broken:
        @hookimpl
        def explain(self) -> list[str]:
            return ["odd"]

    with Rehearsal({"broken": Broken()}, project={"auth": "trust"}) as rehearsal:
        assert explained(rehearsal.login(), "SELECT 1")["class"][0] == "select"
        assert rehearsal.hooks.raised["explain", "broken"] == 2


def test_where_a_server_would_come_from(tmp_path: Path) -> None:
    """An idle one, one's own, or a line to wait in."""
    options: dict[str, Any] = {"top": {"state_dir": str(tmp_path)}, "project": {"auth": "trust"}}
    with Rehearsal({"pool": Pools()}, settings={"pool": {"max_active": 1}}, **options) as stage:
        stage.primary.answers[READ] = table(["name"], [["ink"]])
        stage.primary.answers |= {WRITE: done("UPDATE 1"), "COMMIT": done("COMMIT")}
        client = stage.login()
        client.query(READ)
        assert said_of_pool(client)[0] == "idle"
        client.query("BEGIN")
        client.query(WRITE)
        assert said_of_pool(client) == ("its own", "the session keeps one")
        client.query("COMMIT")
        stage.beam.pools[stage.beam.settings.projects["shop"].primary].console.pause(None)
        assert said_of_pool(client) == ("waits", "all databases are paused")


def said_of_pool(client: Client) -> tuple[str, str]:
    """Value and reason of the pool's row."""
    (row,) = (row for row in client.query(f"/* @pgbeam:explain */ {READ}").rows if row[0] == "pool")
    return str(row[1]), str(row[2])
