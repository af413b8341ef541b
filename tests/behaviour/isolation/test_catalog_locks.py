"""The question about the catalog beside clients that change tables, on a real server."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from pgbeam_core.catalog.catalog_query import CATALOG_QUERY
from tests.behaviour.clusters import Cluster

pytestmark = [pytest.mark.pg]
_TABLES = (
    "CREATE TABLE first (v int); CREATE TABLE second (v int);"
    " CREATE VIEW joined AS SELECT * FROM first JOIN second USING (v)"
)
_WAITS = "SELECT cardinality(pg_blocking_pids(%s)) > 0"


@pytest.mark.usefixtures("fresh_shop")
def test_who_changes_two_tables_is_not_ended_for_the_question(cluster: Cluster) -> None:
    """A transaction that locks the tables of a view one after the other goes on: the question gives way."""
    with cluster.connect() as client, cluster.connect() as pgbeam, ThreadPoolExecutor(1) as aside:
        client.execute(_TABLES)
        # Were they to wait in a circle, the client would be the one that the server ends.
        client.execute("SET deadlock_timeout = '5s'")
        pgbeam.execute("SET deadlock_timeout = '60s'")
        client.execute("BEGIN; LOCK TABLE second IN ACCESS EXCLUSIVE MODE")
        question = aside.submit(pgbeam.execute, CATALOG_QUERY)
        with cluster.connect() as looks:
            while not question.done() and looks.execute(_WAITS, [pgbeam.info.backend_pid]).fetchone() != (True,):
                pass
        client.execute("LOCK TABLE first IN ACCESS EXCLUSIVE MODE; COMMIT")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            question.result(20)
        assert pgbeam.execute("SHOW lock_timeout").fetchone() == ("0",)
        pgbeam.execute(CATALOG_QUERY)
