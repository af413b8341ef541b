"""The lines, as whoever reads them finds them."""

from __future__ import annotations

import io
import json
import threading

import pytest
from pgbeam_audit import Audit
from pgbeam_audit.writer import LineWriter

from pgbeam_core import PgBeamError
from pgbeam_core.testing import Rehearsal, error, table

FIELDS = ["time", "user", "database", "kind", "shape", "query_hash", "duration_ms", "rows", "source", "error"]


@pytest.fixture
def lines(tmp_path):
    """lines(*queries) asks them, each an SQL text or (text, parameters), and gives what was written."""

    def lines(*queries):
        path = tmp_path / "queries.jsonl"
        with Rehearsal({"audit": Audit()}, settings={"audit": {"path": str(path)}}) as rehearsal:
            rehearsal.primary.answers.update(
                {
                    "SELECT name FROM products WHERE id = 7": table(["name"], [("tea",)]),
                    "SELECT name FROM products WHERE id = $1": table(["name"], [("tea",)]),
                    "SELECT oops": error("42703", "column of 'customer 4711' does not exist"),
                }
            )
            client = rehearsal.login("app", "shop")
            for query in queries:
                client.execute(*query) if isinstance(query, tuple) else client.query(query)
        return [json.loads(line) for line in path.read_text("utf-8").splitlines()]

    return lines


def test_a_query_gives_one_line_with_everything_about_it(lines):
    """Each query is one JSON object with the documented fields, in order."""
    (line,) = lines("SELECT name FROM products WHERE id = 7")
    assert list(line) == FIELDS
    assert (line["user"], line["database"], line["kind"], line["rows"]) == ("app", "shop", "select", 1)
    assert (line["source"], line["error"]) == ("server", None)
    assert line["time"].endswith("+00:00")


def test_equal_shapes_have_equal_hashes(lines):
    """Queries that differ in constants only can be counted together."""
    one, other = lines("SELECT name FROM products WHERE id = 7", ("SELECT name FROM products WHERE id = $1", ["8"]))
    assert one["query_hash"] == other["query_hash"]
    assert one["shape"] == "SELECT name FROM products WHERE id = $1"


@pytest.mark.parametrize(
    "query",
    [
        "SELECT 'secret', 4711",
        "INSERT INTO t VALUES ('secret', 4711) -- secret",
        "EXECUTE find('secret', 4711)",
        "PREPARE find AS SELECT 'secret', 4711",
        "COPY t FROM PROGRAM 'secret 4711'",
        "COMMENT ON TABLE t IS 'secret'",
        "CREATE TABLE t (a text DEFAULT 'secret', b int DEFAULT 4711)",
        "CREATE FUNCTION f() RETURNS text LANGUAGE sql AS $x$ SELECT 'secret' $x$",
        "ALTER ROLE app PASSWORD 'secret'",
        "SELEC 'secret', 4711",
        "DO $$ BEGIN RAISE 'secret'; END $$",
        ("SELECT $1::text", ["secret 4711"]),
    ],
)
def test_no_value_is_ever_written(lines, query):
    """Whatever the statement, neither its constants nor its parameters get into the file."""
    (line,) = lines(query)
    assert "secret" not in json.dumps(line)
    assert "4711" not in line["shape"]


def test_an_error_is_its_sqlstate_alone(lines):
    """Messages quote values, so only the code is written."""
    (line,) = lines("SELECT oops")
    assert line["error"] == "42703"
    assert "4711" not in json.dumps(line)


def test_every_query_of_a_transaction_gets_a_line(lines):
    """BEGIN and COMMIT are queries too."""
    assert [line["kind"] for line in lines("BEGIN", "SELECT oops", "ROLLBACK")] == ["begin", "select", "rollback"]


def test_a_file_that_cannot_be_opened_stops_the_start(tmp_path):
    """Better no PgBeam than one that only seems to keep records."""
    with pytest.raises((PgBeamError, OSError), match="no/such"):
        Rehearsal({"audit": Audit()}, settings={"audit": {"path": str(tmp_path / "no/such/file")}})


class Slow(io.StringIO):
    """A stream that takes nothing before it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.free = threading.Event()

    def write(self, text: str) -> int:
        """Wait, then take it."""
        self.free.wait(10)
        return super().write(text)


def test_a_slow_disk_drops_lines_and_counts_them():
    """Nobody waits for the disk: what does not fit into the queue is dropped, and the rest is written in the end."""
    stream = Slow()
    writer = LineWriter(stream, size=10, close=False)
    for number in range(100):
        writer.put({"n": number})
    assert writer.dropped >= 80
    stream.free.set()
    writer.close()
    assert writer.written + writer.dropped == 100
    assert len(stream.getvalue().splitlines()) == writer.written


def test_a_full_disk_costs_lines_and_nothing_else():
    """A stream that fails is counted, and the thread lives on."""

    class Full(io.StringIO):
        """A disk without room."""

        def write(self, text: str) -> int:
            """Fail as a full disk does."""
            raise OSError(28, "No space left on device")

    writer = LineWriter(Full(), size=10, close=False)
    writer.put({"n": 1})
    writer.close()
    assert (writer.written, writer.failed) == (0, 1)
