"""What monitors made for PgBouncer send to its console, and what they read there: here and at a real PgBouncer."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ..beams import Beam

pytestmark = pytest.mark.pg

LABELS = {
    "databases": ("name", "host", "port", "database", "force_user", "pool_mode"),
    "stats_totals": ("database",),
    "pools": ("database", "user"),
}
"""Columns that pgbouncer_exporter (prometheus-community) makes labels of, by the table it asks for."""
NUMBERS = {
    "databases": ("pool_size", "max_connections", "current_connections", "paused", "disabled"),
    "stats_totals": (
        *("query_count", "query_time", "bytes_received", "bytes_sent", "wait_time", "xact_count", "xact_time"),
    ),
    "pools": (
        *("cl_active", "cl_active_cancel_req", "cl_waiting", "cl_waiting_cancel_req", "sv_active", "sv_active_cancel"),
        *("sv_being_canceled", "sv_idle", "sv_used", "sv_tested", "sv_login", "maxwait"),
    ),
}
"""Those of which it makes numbers."""
LISTS = (
    *("databases", "users", "pools", "free_clients", "used_clients", "login_clients", "free_servers", "used_servers"),
    *("dns_names", "dns_zones", "dns_queries"),
)
CONFIG = ("max_client_conn", "max_user_connections")
LABEL_TYPES = {20, 23, 25}
"""int8, int4 and text: of any other type its driver gives it bytes, which it takes for no label."""
POOL_CHECKS = ("cl_active", "cl_waiting", "sv_active", "sv_idle", "sv_used", "sv_tested", "sv_login", "maxwait")
"""check_postgres's pgb_pool_… actions."""


def consoles(beam: Beam, bouncer: str) -> tuple[str, str]:
    return beam.url("app", "pgbouncer"), bouncer


def asked(url: str, text: str) -> tuple[dict[str, int], list[dict[str, Any]]]:
    """The type of each column, and the rows, by the simple protocol as Go's pq and psql use it."""
    with psycopg.connect(url, autocommit=True, cursor_factory=psycopg.ClientCursor) as connection:
        cursor = connection.cursor(row_factory=psycopg.rows.dict_row)
        rows = cursor.execute(text).fetchall()  # type: ignore[arg-type]
        return {column.name: column.type_code for column in cursor.description or ()}, rows


def used(beam: Beam, bouncer: str) -> None:
    """Have some query counted by both."""
    for url in (beam.url(), bouncer.replace("/pgbouncer", "/shop")):
        with psycopg.connect(url, autocommit=True) as client:
            client.execute("SELECT 1")


def test_the_exporter_reads_its_numbers(steered: Beam, bouncer: str) -> None:
    """Each of its queries gives the columns that it looks for, as labels and as numbers, with no two rows alike."""
    used(steered, bouncer)
    for url in consoles(steered, bouncer):
        for table, labels in LABELS.items():
            types, rows = asked(url, f"SHOW {table};")
            assert {types[name] for name in labels} <= LABEL_TYPES
            assert all(float(row[name]) >= 0 for row in rows for name in NUMBERS[table])
            assert len({tuple(row[name] for name in labels) for row in rows}) == len(rows) > 0
        _, rows = asked(url, "SHOW LISTS;")
        lists = {row["list"]: float(row["items"]) for row in rows}
        assert set(LISTS) <= set(lists)
        types, rows = asked(url, "SHOW CONFIG;")
        assert list(types) == ["key", "value", "default", "changeable"]
        assert all(row["key"] and row["changeable"] in ("yes", "no") for row in rows)
        config = {row["key"]: row["value"] for row in rows}
        assert all(float(config[name]) >= 0 for name in CONFIG)
        types, rows = asked(url, "SHOW VERSION;")
        assert (list(types), len(rows)) == (["version"], 1)
        asked(url, "SHOW STATS")


def test_the_exporter_counts_what_both_did(steered: Beam, bouncer: str) -> None:
    """The same client adds as many queries and transactions here as there."""
    added = []
    for url in consoles(steered, bouncer):
        before, after = [], []
        for found in (before, after):
            if found is after:
                with psycopg.connect(re.sub("/pgbouncer$", "/shop", url), autocommit=True) as client:
                    for number in range(7):
                        client.execute("SELECT %s::int", (number,), prepare=False)
                    client.execute("BEGIN")
                    client.execute("CREATE TEMP TABLE mine (a int)")
                    client.execute("ROLLBACK")
            _, rows = asked(url, "SHOW stats_totals;")
            found += [(row["query_count"], row["xact_count"]) for row in rows if row["database"] == "shop"] or [(0, 0)]
        added.append([int(new) - int(old) for old, new in zip(before[0], after[0], strict=True)])
    assert added == [[10, 8], [10, 8]]


def test_check_postgres_finds_what_it_looks_for(steered: Beam, bouncer: str) -> None:
    """Its actions about PgBouncer match words in what psql prints, and read columns by name."""
    used(steered, bouncer)
    for url in consoles(steered, bouncer):
        assert "log_pooler_errors" in _expanded(url, "SHOW CONFIG")
        pools = _expanded(url, "SHOW POOLS")
        for column in ("database", *POOL_CHECKS):
            assert re.search(rf"^{column} +\| ", pools, re.MULTILINE)
        _, rows = asked(url, "SHOW CONFIG")
        (limit,) = (row["value"] for row in rows if row["key"] == "max_client_conn")
        assert int(limit) > 0


@pytest.mark.skipif(shutil.which("check_postgres") is None, reason="check_postgres is not installed here")
def test_check_postgres_itself_is_content(steered: Beam, tmp_path: Path) -> None:
    """The program, with every action that it has for PgBouncer."""
    where = ["--dbuser=app", "--dbname=pgbouncer", "--host=127.0.0.1", f"--port={steered.port}"]
    actions = [[f"--action=pgb_pool_{column}", "--warning=100", "--critical=200"] for column in POOL_CHECKS]
    for action in [*actions, ["--action=pgbouncer_backends"], ["--action=pgbouncer_checksum", "--critical=0"]]:
        words = ["check_postgres", *action, *where]
        said = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False).stdout
        assert " OK: " in said or "checksum: " in said, said


def _expanded(url: str, text: str) -> str:
    words = ["psql", "-X", "-x", "-q", url, "-c", text]
    return subprocess.run(words, capture_output=True, text=True, timeout=20, check=True).stdout
