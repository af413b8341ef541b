"""Databases with extensions in them are shared and cached as others are, as long as these only compute."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import psycopg
import pytest
from psycopg import pq

from pgbeam_core.catalog.catalog import Catalog
from pgbeam_core.catalog.catalog_query import CATALOG_QUERY
from pgbeam_core.sql.statements import Statements
from tests.behaviour.beams import Beam
from tests.behaviour.cache.test_real_servers import Client
from tests.behaviour.clusters import Cluster

pytestmark = pytest.mark.pg
DATABASE = "with_extension"
COMMON = ("citext", "hstore", "pg_trgm", "btree_gist", "btree_gin", "intarray", "ltree", "uuid-ossp", "pgcrypto")
MORE = ("cube", "earthdistance", "isn", "unaccent", "fuzzystrmatch", "tablefunc", "seg", "lo", "pg_stat_statements")
OTHERS = ("postgis", "vector", "ip4r", "prefix", "hll", "semver", "postgres_fdw", "dblink")
PLAIN = (
    b"SELECT * FROM t WHERE id = 1",
    b"SELECT count(*) FROM t WHERE name LIKE 'a%'",
    b"SELECT lower(name) || 'x' FROM t WHERE made > '2020-01-01' ORDER BY name",
    b"SELECT id FROM v",
    b"INSERT INTO t (id) VALUES (2)",
    b"UPDATE t SET name = 'x' WHERE id = 1",
)


@pytest.fixture
def home(cluster: Cluster) -> Iterator[Callable[[str], psycopg.Connection]]:
    """Makes a database with one extension and an ordinary table in it."""

    def make(extension: str) -> psycopg.Connection:
        with cluster.connect() as boss:
            known = "SELECT FROM pg_available_extensions WHERE name = %s"
            if boss.execute(known, (extension,)).fetchone() is None:
                pytest.skip(f"there is no extension {extension} here")
            boss.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
            boss.execute(f"CREATE DATABASE {DATABASE}")
        made = cluster.connect(database=DATABASE)
        made.execute(f'CREATE EXTENSION "{extension}" CASCADE')
        made.execute("CREATE TABLE t (id int PRIMARY KEY, name text, made timestamptz DEFAULT now())")
        made.execute("INSERT INTO t VALUES (1, 'one'); CREATE VIEW v AS SELECT id FROM t; GRANT SELECT ON t, v TO app")
        return made

    yield make
    with cluster.connect() as boss:
        boss.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")


def catalog_of(connection: psycopg.Connection) -> Catalog:
    """As PgBeam reads it."""
    connection.pgconn.send_query(CATALOG_QUERY)
    rows = []
    while (result := connection.pgconn.get_result()) is not None:
        assert result.status == pq.ExecStatus.TUPLES_OK, result.error_message
        for place in range(result.ntuples):
            values = [result.get_value(place, column) for column in range(result.nfields)]
            rows.append(tuple(None if value is None else value.decode() for value in values))
    return Catalog(rows)


@pytest.mark.parametrize("extension", [*COMMON, *MORE, *OTHERS])
def test_ordinary_tables_stay_ordinary(home: Callable[[str], psycopg.Connection], extension: str) -> None:
    """Neither reads nor writes of a table that has nothing to do with it count as running code of users."""
    with home(extension) as there:
        catalog = catalog_of(there)
    statements = Statements()
    assert not catalog.functions.suspicious
    for text in PLAIN:
        statement = statements.statement(text)
        assert not catalog.runs_code(statement), text
        assert catalog.is_pure(statement) or not statement.reads, text


def test_what_may_run_anything_is_still_seen(home: Callable[[str], psycopg.Connection]) -> None:
    """An operator, a cast or a support function of the users' own is not trusted because an extension's are."""
    with home("citext") as there:
        there.execute("CREATE FUNCTION plus(t, t) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN 1; END'")
        there.execute("CREATE OPERATOR + (LEFTARG = t, RIGHTARG = t, FUNCTION = plus)")
        assert catalog_of(there).functions.suspicious


READ = "/* @pgbeam:cache */ SELECT name FROM t"


def test_they_are_cached(
    cluster: Cluster, beam: Callable[..., Beam], home: Callable[[str], psycopg.Connection]
) -> None:
    """The second read is a hit, in a transaction too, where citext is installed."""
    home("citext").close()
    client = Client(beam(cluster, "transaction", plugins="cache,pool,debug"), database=DATABASE)
    try:
        # The catalog of that database becomes known in the meantime.
        deadline = time.monotonic() + 20
        client.ask(READ)
        while "cache=hit" not in client.said:
            assert time.monotonic() < deadline, client.said
            client.ask(READ)
    finally:
        client.connection.close()
