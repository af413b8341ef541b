"""A real PostgreSQL agrees with the verdicts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pgbeam_core.api.statement import Kind
from pgbeam_core.embedded import EmbeddedPostgres
from pgbeam_core.sql.classify import classify

pytestmark = pytest.mark.pg

CORPUS = Path(__file__).parents[2] / "sql" / "corpus.txt"
RELATIONS = ["a", "b", "c", "t", "v", "w", "s.t", "s.a", '"Mixed"', "folded", '"semi;colon"', '"it\'s"', '"W"']
COLUMNS = "(id int, p int, x int, y int, z text, list int[], created timestamptz, created_at timestamptz, d date)"
HIDDEN_WRITES = {"lo_unlink"}
"""Functions of the corpus that write: telling is the business of volatility."""


@pytest.fixture
def connection(open_tmp_path: Path) -> Iterator[psycopg.Connection[Any]]:
    """A connection to a server that has the relations of the corpus."""
    server = EmbeddedPostgres(open_tmp_path / "server", durable=False)
    try:
        with psycopg.connect(server.start(), autocommit=True) as connection:
            connection.execute("CREATE SCHEMA s")
            for relation in RELATIONS:
                connection.execute(f"CREATE TABLE {relation} {COLUMNS}")
            yield connection
    finally:
        server.stop()


def sqlstate(connection: psycopg.Connection[Any], text: bytes) -> str:
    """How the server takes a text, asked in a read-only transaction that is rolled back; empty when it succeeds."""
    pgconn = connection.pgconn
    pgconn.exec_(b"BEGIN READ ONLY")
    result = pgconn.prepare(b"", text) if b"$1" in text else pgconn.exec_(text)
    pgconn.exec_(b"ROLLBACK")
    return (result.error_field(psycopg.pq.DiagnosticField.SQLSTATE) or b"").decode()


def test_a_read_only_transaction_takes_all_that_reads(connection: psycopg.Connection[Any]) -> None:
    """Whatever is said to read could go to a replica, and what is not understood is a syntax error there too."""
    succeeded = 0
    for line in CORPUS.read_text("utf-8").splitlines():
        text = line.partition(" | ")[2].replace(r"\n", "\n").encode()
        statement = classify(text)
        if statement.reads and not {name for _, name in statement.functions} & HIDDEN_WRITES:
            state = sqlstate(connection, text)
            assert state != "25006", text
            succeeded += not state
        elif statement.kind is Kind.UNKNOWN:
            assert sqlstate(connection, text) == "42601", text
    assert succeeded > 100


def test_values_of_settings_are_spelled_as_the_server_spells_them(connection: psycopg.Connection[Any]) -> None:
    """What SHOW answers after a SET is the value that the verdict names."""
    values = ["1.50", "1e10", "-5", "-5.5e-3", "on", "ON", "'it''s'", "5000000000", "007", "true", "''"]
    lists = ["''", "a, 5, 'x,y'", '"A", \'a b\', "select", public, "$user", abs, _a1, "1a", name, date, "values", név']
    settings = [("a.b", value) for value in values] + [("search_path", value) for value in lists]
    for name, value in settings:
        text = f"SET {name} = {value}"
        connection.execute(text.encode())
        shown = connection.execute(f"SHOW {name}".encode()).fetchone()
        assert shown == (classify(text.encode()).settings[0].value,), text
