"""The query log: what is in it, how much of it, and what never is."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from pgbeam_core.testing import FakePostgres, done, error, table
from pgbeam_querylog import QueryLog
from pgbeam_querylog.entries import without_data

pytest_plugins = ["pgbeam_core.testing.fixtures"]

SECRET = "'rosebud'"
READ = f"SELECT n FROM t WHERE name = {SECRET}"
WRONG = f"SELECT 1 FROM t WHERE id = 'x' AND name = {SECRET}"
TWICE = f"INSERT INTO t VALUES (1, {SECRET})"


@pytest.fixture
def logged(rehearse, tmp_path):
    """logged(slow_ms=100) gives a PgBeam with a query log, and the file."""
    file = tmp_path / "log" / "queries.jsonl"

    def logged(**settings: Any):
        answers = {
            READ: table(["n"], [("1",)]),
            "SELECT n FROM t WHERE name = $1": table(["n"], [("1",)]),
            WRONG: error("22P02", 'invalid input syntax for type integer: "rosebud"'),
            TWICE: error("23505", 'duplicate key value violates unique constraint "t_pkey"'),
            "INSERT INTO t VALUES (2)": done("INSERT 0 1"),
        }
        told = {"path": str(file), **settings}
        servers = {"primary:5432": FakePostgres(answers)}
        return rehearse({"querylog": QueryLog()}, settings={"querylog": told}, servers=servers)

    logged.file = file
    return logged


def entries(file: Path, rehearsal: Any) -> list[dict[str, Any]]:
    """All that was written."""
    rehearsal.advance(1)
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_an_entry_says_what_became_of_the_query(logged):
    """Who asked, the shape, who answered and why, waiting and server time, and how much it was."""
    rehearsal = logged(slow_ms=0)
    client = rehearsal.login(application_name="web")
    client.query(READ)
    (entry,) = entries(logged.file, rehearsal)
    assert entry["event"] == "slow"
    assert (entry["project"], entry["database"], entry["user"]) == ("shop", "shop", "app")
    assert (entry["client"], entry["application_name"]) == ("192.0.2.1", "web")
    assert entry["query"] == "SELECT n FROM t WHERE name = $1"
    assert len(entry["query_hash"]) == 16
    assert entry["plan"] == {"answered_by": "server", "upstream": "primary:5432"}
    assert (entry["rows"], entry["kind"], entry["protocol"]) == (1, "select", "simple")
    assert entry["number"] == 1
    assert "error" not in entry
    assert {"duration_ms", "wait_ms", "server_ms", "bytes", "time", "session", "in_transaction"} <= entry.keys()


def test_only_slow_ones_and_errors_are_logged(logged):
    """What is quick and well is not; errors can be left out."""
    rehearsal = logged()
    client = rehearsal.login()
    client.query(READ)
    client.query(TWICE)
    client.execute(TWICE)
    assert [entry["error"]["sqlstate"] for entry in entries(logged.file, rehearsal)] == ["23505", "23505"]
    rehearsal.reload(settings={"querylog": {"path": str(logged.file), "errors": False}})
    client.query(TWICE)
    assert len(entries(logged.file, rehearsal)) == 2
    assert rehearsal.stats()["querylog"]["querylog"]["error"] == 2


@pytest.mark.parametrize("sql", [READ, WRONG, TWICE])
def test_no_data_is_logged(logged, sql):
    """No constant of a text, no parameter, no message that quotes one; unless it was asked for."""
    rehearsal = logged(slow_ms=0)
    client = rehearsal.login()
    client.query(sql)
    client.execute("SELECT n FROM t WHERE name = $1", ["rosebud"])
    assert len(entries(logged.file, rehearsal)) == 2
    assert "rosebud" not in logged.file.read_text()
    assert "rosebud" not in str(rehearsal.beam.hooks.console())
    rehearsal.reload(settings={"querylog": {"path": str(logged.file), "slow_ms": 0, "parameters": True}})
    client.query(sql)
    client.execute("SELECT n FROM t WHERE name = $1", ["rosebud"])
    *_, text, parameter = entries(logged.file, rehearsal)
    assert text["text"] == sql
    assert parameter["parameters"] == ["rosebud"]


@pytest.mark.parametrize(
    ("sqlstate", "message", "said"),
    [
        ("22P02", 'invalid input syntax for type integer: "4711"', "invalid input syntax for type integer"),
        ("22003", 'value "4711" is out of range for type integer', "value … is out of range for type integer"),
        ("22021", 'invalid byte sequence for encoding "UTF8": 0xff', "invalid byte sequence for encoding …"),
        ("42601", 'syntax error at or near "4711"', "syntax error at or near …"),
        ("42601", "Syntaxfehler bei „4711“", "Syntaxfehler bei …"),
        ("42P01", 'relation "t" does not exist', 'relation "t" does not exist'),
        ("23505", 'key value violates unique constraint "k"', 'key value violates unique constraint "k"'),
        ("53400", "query rate limit exceeded", "query rate limit exceeded"),
        ("P0001", "the price 4711 is too low", ""),
        ("U4711", "whatever 4711", ""),
        ("XX000", "cache lookup failed for 4711", ""),
    ],
)  # fmt: skip
def test_messages_lose_what_may_be_data(sqlstate, message, said):
    """PostgreSQL quotes data in some classes of errors; functions may say anything."""
    assert without_data(sqlstate, message) == said


def test_passwords_are_data(logged):
    """A statement that sets one is logged without it."""
    rehearsal = logged()
    rehearsal.login().query("ALTER ROLE app PASSWORD 'rosebud'")
    rehearsal.login().query("CREATE USER x WITH ENCRYPTED PASSWORD 'rosebud' VALID UNTIL 'infinity'")
    rehearsal.login().query("ALTER ROLE app PASSWORD 'rosebud' and what nobody understands")
    assert len(entries(logged.file, rehearsal)) == 3
    assert "rosebud" not in logged.file.read_text()


def test_a_flood_is_cut_and_counted(logged):
    """No more than so many entries a second; the log itself says how many were left out."""
    rehearsal = logged(slow_ms=0, max_per_second=5)
    client = rehearsal.login()
    for _ in range(20):
        client.query(READ)
    found = entries(logged.file, rehearsal)
    assert [entry["event"] for entry in found] == ["slow"] * 5 + ["left_out"]
    assert found[-1]["entries"] == 15
    assert [entry["number"] for entry in found] == list(range(1, 7))
    client.query(READ)
    assert entries(logged.file, rehearsal)[-1]["event"] == "slow"


def test_a_sample(logged):
    """Of many about the part that was asked for, by chance."""
    rehearsal = logged(slow_ms=0, sample_rate=0.25, max_per_second=10_000)
    client = rehearsal.login()
    for _ in range(400):
        client.query(READ)
    assert 50 < len(entries(logged.file, rehearsal)) < 150


def test_the_file_is_its_owners_and_may_be_moved_away(logged):
    """Nobody else reads it; after a reload there is a new one; nothing is lost on the way, nor when PgBeam stops."""
    rehearsal = logged(slow_ms=0)
    client = rehearsal.login()
    assert stat.S_IMODE(logged.file.stat().st_mode) == 0o600
    client.query(READ)
    moved = logged.file.rename(logged.file.with_suffix(".1"))
    rehearsal.reload(settings={"querylog": {"path": str(logged.file), "slow_ms": 0}})
    client.query(READ)
    rehearsal.close()
    assert len(moved.read_text().splitlines()) == len(logged.file.read_text().splitlines()) == 1


def test_a_file_that_cannot_be_written_costs_nobody_anything(logged, rehearse, tmp_path):
    """Queries go on; what is lost is counted."""
    logged.file.parent.parent.joinpath("file").write_text("")
    rehearsal = logged(path=str(tmp_path / "file" / "below"), slow_ms=0)
    assert rehearsal.login().query(READ).error is None
    rehearsal.advance(1)
    assert rehearsal.stats()["querylog"]["querylog"]["entries_lost"] == 1


def test_a_full_disk_leaves_whole_lines(logged):
    """What follows a line that was cut is on a line of its own."""
    rehearsal = logged(slow_ms=0)
    rehearsal.reload(settings={"querylog": {"path": "/dev/full", "slow_ms": 0}})
    assert rehearsal.login().query(READ).error is None
    rehearsal.advance(1)
    assert rehearsal.stats()["querylog"]["querylog"]["entries_lost"] == 1


def test_show_query_log(logged):
    """The console has the latest, the last one first."""
    rehearsal = logged(slow_ms=0)
    client = rehearsal.login()
    client.query(READ)
    client.query(TWICE)
    shown = rehearsal.beam.hooks.console()[0][1]["QUERY_LOG"]
    assert [dict(zip(shown.columns, row, strict=True))["sqlstate"] for row in shown.rows] == ["23505", None]
