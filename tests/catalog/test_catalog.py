"""What a database's own catalog says, asked of real servers."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg
import pytest

from pgbeam_core import Catalog
from pgbeam_core.catalog.catalog_query import CATALOG_QUERY
from pgbeam_core.sql.statements import Statements
from tests.behaviour.clusters import Cluster
from tests.behaviour.conftest import cluster, clusters  # noqa: F401 -- fixtures

pytestmark = pytest.mark.pg
DEFINITIONS = """
CREATE FUNCTION twice(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 2';
CREATE FUNCTION twice(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1 || $1';
CREATE FUNCTION mixed(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1';
CREATE FUNCTION mixed(text) RETURNS int LANGUAGE sql VOLATILE AS 'SELECT 1';
CREATE FUNCTION lower(int) RETURNS int LANGUAGE sql VOLATILE AS 'SELECT 1';
CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq);
CREATE TABLE base (id int PRIMARY KEY, owner name, at timestamptz);
CREATE VIEW one AS SELECT * FROM base;
CREATE VIEW two AS SELECT one.id FROM one JOIN other USING (id);
CREATE VIEW clock AS SELECT id FROM base WHERE at > now();
CREATE VIEW above_clock AS SELECT * FROM clock;
CREATE VIEW doubled AS SELECT twice(id) FROM base;
CREATE VIEW unsteady AS SELECT mixed(id) FROM base;
CREATE VIEW tables AS SELECT relname FROM pg_class;
CREATE TABLE parted (id int) PARTITION BY RANGE (id);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (1) TO (9);
CREATE TABLE heir () INHERITS (base);
CREATE TABLE follower (id int REFERENCES base ON DELETE CASCADE);
CREATE TABLE cautious (id int REFERENCES base);
CREATE TABLE tenants (name name);
CREATE TABLE secret (id int, tenant name, expires timestamptz);
ALTER TABLE secret ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON secret USING (tenant = current_user AND EXISTS (SELECT FROM tenants WHERE name = tenant));
CREATE TABLE fleeting (id int, until timestamptz);
ALTER TABLE fleeting ENABLE ROW LEVEL SECURITY;
CREATE POLICY not_yet ON fleeting USING (until > now());
CREATE TABLE noisy (id int);
CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO base VALUES (1); RETURN NULL; END';
CREATE TRIGGER shout AFTER INSERT ON noisy EXECUTE FUNCTION shout();
CREATE VIEW above_noisy AS SELECT * FROM noisy;
CREATE TABLE ruled (id int);
CREATE TABLE numbered (id serial);
CREATE VIEW latest AS SELECT last_value FROM numbered_id_seq;
CREATE RULE also_base AS ON INSERT TO ruled DO ALSO INSERT INTO base VALUES (NEW.id);
"""


@pytest.fixture
def catalog(cluster: Cluster) -> Iterator[Callable[[], Catalog]]:  # noqa: F811
    """Reads the catalog of a database with a bit of everything."""
    with cluster.connect(database="postgres") as boss:
        boss.execute("CREATE DATABASE described")
    try:
        with cluster.connect(database="described") as boss:
            boss.execute("CREATE TABLE other (id int)")
            boss.execute(DEFINITIONS)
            yield lambda: _read(boss)
    finally:
        with cluster.connect(database="postgres") as boss:
            boss.execute("DROP DATABASE described WITH (FORCE)")


def _without_versions(catalog: Catalog) -> set[tuple[str, ...]]:
    return {row for row in catalog.rows if row[0] != "version"}


def _read(connection: psycopg.Connection[tuple[object, ...]]) -> Catalog:
    rows = []
    cursor = connection.execute(CATALOG_QUERY)
    while True:
        rows += [tuple(None if value is None else str(value) for value in row) for row in cursor.fetchall()]
        if not cursor.nextset():
            return Catalog(rows)


def test_a_catalog_says_what_stands_behind_relations(catalog: Callable[[], Catalog]) -> None:
    """Views, partitions and children are followed; policies look at other tables; some change by themselves."""
    found = catalog()

    def reading(name: str) -> tuple[str, bool]:
        tables, changing = found.reading([(None, name)])
        return " ".join(tables), changing

    assert reading("base") == ("base heir", False)
    assert reading("two") == ("base heir one other two", False)
    assert reading("parted") == ("parted parted_1", False)
    assert reading("above_clock") == ("above_clock base clock heir", True)
    assert reading("doubled") == ("base doubled heir", False)
    assert reading("unsteady")[1]
    assert reading("tables")[1]
    assert reading("secret") == ("secret tenants", False)
    assert reading("fleeting")[1]
    assert reading("nowhere") == ("nowhere", False)
    assert reading("numbered") == ("numbered", False)
    assert reading("numbered_id_seq")[1]
    assert reading("latest")[1]


def test_a_catalog_says_what_a_write_may_change(catalog: Callable[[], Catalog]) -> None:
    """Cascades and partitions are followed; behind a trigger or a rule may be anything."""
    found = catalog()
    assert found.writing(("base",)) == ("base", "follower", "heir")
    assert found.writing(("one",)) == ("base", "follower", "heir", "one")
    assert found.writing(("parted",)) == ("parted", "parted_1")
    assert found.writing(("cautious",)) == ("cautious",)
    assert found.writing(("noisy",)) is found.writing(("above_noisy",)) is found.writing(("ruled",)) is None


def test_a_catalog_knows_functions(catalog: Callable[[], Catalog]) -> None:
    """A function is as steady as the worst of its name, also where PostgreSQL has one of that name."""
    found, statements = catalog(), Statements()

    def pure(sql: str) -> bool:
        return found.is_pure(statements.statement(sql.encode()))

    assert pure("SELECT twice(2), public.twice(2), upper('x')")
    assert pure("SELECT 1 === 2")
    assert not pure("SELECT mixed(1)")
    assert not pure("SELECT lower('X')")
    assert pure("SELECT pg_catalog.lower('X')")
    assert not pure("SELECT nowhere(1)")


def test_a_range_type_makes_nobody_suspicious(cluster: Cluster, catalog: Callable[[], Catalog]) -> None:  # noqa: F811
    """What PostgreSQL makes of its own for a range type runs no code of users: reads go on being shared."""
    with cluster.connect() as boss:
        boss.execute("CREATE TYPE public.lasting AS RANGE (SUBTYPE = int)")
        try:
            assert not catalog().functions.suspicious
        finally:
            boss.execute("DROP TYPE public.lasting")


def test_equal_catalogs_have_equal_rows(catalog: Callable[[], Catalog]) -> None:
    """So whoever reads one again sees that nothing has changed."""
    assert catalog().rows == catalog().rows


CHANGES = [
    "ALTER TABLE base ADD extra int",
    "ALTER TABLE base RENAME id TO number",
    "ALTER TABLE follower ALTER id TYPE bigint",
    "GRANT SELECT ON base TO app",
    "GRANT SELECT (id) ON base TO app",
    "ALTER TABLE base ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY nothing ON base USING (false)",
    "GRANT pg_monitor TO app",
    "ALTER ROLE with_md5 BYPASSRLS",
    "CREATE SCHEMA further",
    "REVOKE USAGE ON SCHEMA public FROM PUBLIC",
]


def test_whatever_is_defined_or_granted_makes_another_catalog(
    cluster: Cluster,  # noqa: F811
    catalog: Callable[[], Catalog],
) -> None:
    """So whoever reads it again sees that something has changed, though not what."""
    before = catalog()
    with cluster.connect(database="described") as boss:
        for change in CHANGES:
            with boss.transaction(force_rollback=True):
                boss.execute(change)
                assert _read(boss).rows != before.rows, change
        assert _read(boss).rows == before.rows


def test_writes_of_rows_and_statistics_do_not(cluster: Cluster, catalog: Callable[[], Catalog]) -> None:  # noqa: F811
    """What happens all the time is no change of the catalog."""
    before = catalog()
    with cluster.connect(database="described") as boss:
        boss.execute("INSERT INTO base VALUES (100); ANALYZE base; DELETE FROM base WHERE id = 100")
        boss.execute("VACUUM base")
        boss.execute("CREATE TEMP TABLE passing (x int)")
        assert _read(boss).rows == before.rows


def test_the_question_does_not_depend_on_the_search_path(cluster: Cluster, catalog: Callable[[], Catalog]) -> None:  # noqa: F811
    """A client's own operators, functions and tables in front of PostgreSQL's do not get into the answer."""
    before = _without_versions(catalog())
    with cluster.connect(database="described") as boss:
        boss.execute("CREATE FUNCTION no(oid, oid) RETURNS bool LANGUAGE sql AS 'SELECT false'")
        boss.execute("CREATE OPERATOR = (LEFTARG = oid, RIGHTARG = oid, FUNCTION = no)")
        boss.execute("CREATE TABLE pg_class (relname text)")
        boss.execute("SET search_path = public, pg_catalog")
        after = _without_versions(_read(boss))
        assert before <= after
        # The function, twice, since it is code, the operator, and that it hides behind a spelling of PostgreSQL's.
        assert len(after) == len(before) + 4
        assert boss.execute("SHOW search_path").fetchone() == ("public, pg_catalog",)
