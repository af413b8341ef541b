"""Kinds of queries, changes and settings, each against the server itself: remembered and ended, or not remembered."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from tests.behaviour.beams import Beam
from tests.behaviour.clusters import Cluster

pytestmark = [pytest.mark.pg, pytest.mark.usefixtures("fresh_shop")]
CACHE = "/* @pgbeam:cache maxAge=300 swr=300 */ "
TABLES = """
CREATE TABLE t (id int PRIMARY KEY, v int, note text, at timestamptz DEFAULT now());
INSERT INTO t VALUES (1, 1, 'now', '2020-01-01'), (2, 2, '2020-02-02', '2021-01-01');
CREATE TABLE log (v int); INSERT INTO log VALUES (0);
CREATE TABLE child (id int REFERENCES t ON DELETE CASCADE ON UPDATE CASCADE); INSERT INTO child VALUES (1);
CREATE FUNCTION writes(int) RETURNS int LANGUAGE plpgsql AS 'BEGIN UPDATE log SET v = v + 1; RETURN $1; END';
CREATE FUNCTION deeper(int) RETURNS int LANGUAGE sql STABLE AS 'SELECT writes($1)';
CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN UPDATE log SET v = v + 1; RETURN NULL; END';
CREATE TABLE guarded (id int DEFAULT writes(1), CHECK (writes(id) = id));
CREATE TABLE watched (id int); CREATE TRIGGER noted AFTER INSERT ON watched EXECUTE FUNCTION noted();
CREATE TABLE parted (id int, v int) PARTITION BY LIST (id);
CREATE TABLE part_1 PARTITION OF parted FOR VALUES IN (1); INSERT INTO parted VALUES (1, 1);
CREATE TABLE loose (id int, v int); INSERT INTO loose VALUES (2, 2);
CREATE TABLE parent (v int); INSERT INTO parent VALUES (1);
CREATE TABLE heir () INHERITS (parent);
CREATE MATERIALIZED VIEW stored AS SELECT count(*) FROM t;
CREATE VIEW writing AS SELECT writes(v) AS v FROM t WHERE id = 1;
CREATE TABLE ruled (id int); CREATE RULE also AS ON INSERT TO ruled DO ALSO UPDATE log SET v = v + 1;
CREATE PROCEDURE commits() LANGUAGE plpgsql AS 'BEGIN UPDATE log SET v = v + 1; COMMIT; PERFORM 1/0; END';
CREATE FUNCTION total(t) RETURNS bigint LANGUAGE sql STABLE AS 'SELECT sum(v) FROM log';
CREATE FUNCTION costs(t) RETURNS int LANGUAGE sql VOLATILE AS 'SELECT writes($1.v)';
CREATE FUNCTION liar() RETURNS bigint LANGUAGE sql IMMUTABLE AS 'SELECT sum(v) FROM log';
CREATE FUNCTION pl_liar() RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN (SELECT sum(v) FROM log); END';
CREATE FUNCTION honest(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 2';
CREATE FUNCTION adds(bigint, int) RETURNS bigint LANGUAGE sql STABLE AS 'SELECT $1 + sum(v) FROM log';
CREATE AGGREGATE own_sum(int) (SFUNC = adds, STYPE = bigint, INITCOND = '0');
CREATE OPERATOR <+> (LEFTARG = bigint, RIGHTARG = int, FUNCTION = adds);
CREATE FUNCTION optional(n int DEFAULT writes(1)) RETURNS int LANGUAGE sql AS 'SELECT n';
CREATE FUNCTION acts(int, int) RETURNS int LANGUAGE sql AS 'SELECT writes($1)';
CREATE OPERATOR <!> (LEFTARG = int, RIGHTARG = int, FUNCTION = acts);
CREATE FUNCTION by_operator() RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN 1 <!> 2; END';
CREATE FUNCTION by_view() RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT v FROM writing); END';
CREATE FUNCTION by_field(t) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN $1.costs; END';
CREATE DOMAIN moment AS timestamptz;
CREATE SEQUENCE numbers;
CREATE FUNCTION logs() RETURNS void LANGUAGE sql AS 'UPDATE public.log SET v = v + 1';
CREATE FUNCTION expressed(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN PERFORM public.logs(); RETURN $1; END';
CREATE TABLE indexed (id int); INSERT INTO indexed SELECT generate_series(1, 3);
CREATE INDEX expressed ON indexed (expressed(id));
"""
LOG = "SELECT * FROM log"
CHANGES = {
    "update": (LOG, "UPDATE log SET v = 7"),
    "with": (LOG, "WITH w AS (UPDATE log SET v = 7 RETURNING 1) SELECT * FROM w"),
    "merge": (LOG, "MERGE INTO log USING (VALUES (1)) x ON true WHEN MATCHED THEN UPDATE SET v = 7"),
    "function": (LOG, "SELECT writes(1)"),
    "function in a function": (LOG, "SELECT deeper(1)"),
    "default of an argument": (LOG, "SELECT optional()"),
    "operator": (LOG, "SELECT 1 <!> 2"),
    "operator in a function": (LOG, "SELECT by_operator()"),
    "view in a function": (LOG, "SELECT by_view()"),
    "field in a function": (LOG, "SELECT by_field(t) FROM t"),
    "default and check": (LOG, "INSERT INTO guarded DEFAULT VALUES"),
    "trigger": (LOG, "INSERT INTO watched VALUES (1)"),
    "rule": (LOG, "INSERT INTO ruled VALUES (1)"),
    "view that writes": (LOG, "SELECT * FROM writing"),
    "field that writes": (LOG, "SELECT t.costs FROM t"),
    "cascade": ("SELECT * FROM child", "DELETE FROM t WHERE id = 1"),
    "cascading update": ("SELECT * FROM child", "UPDATE t SET id = 9 WHERE id = 1"),
    "truncate cascade": ("SELECT * FROM child", "TRUNCATE t CASCADE"),
    "partition": ("SELECT * FROM parted", "INSERT INTO part_1 VALUES (1, 5)"),
    "attach": ("SELECT * FROM parted", "ALTER TABLE parted ATTACH PARTITION loose FOR VALUES IN (2)"),
    "detach": ("SELECT * FROM parted", "ALTER TABLE parted DETACH PARTITION part_1"),
    "heir": ("SELECT * FROM parent", "INSERT INTO heir VALUES (5)"),
    "refresh": ("SELECT * FROM stored", ("INSERT INTO t VALUES (5, 5)", "REFRESH MATERIALIZED VIEW stored")),
    "procedure that fails after a commit": (LOG, "CALL commits()"),
    "block that fails after a commit": (LOG, "DO $$ BEGIN UPDATE log SET v = 8; COMMIT; PERFORM 1/0; END $$"),
    "execute": (LOG, ("PREPARE p AS UPDATE log SET v = v + 1", "EXECUTE p")),
    "two phases": (LOG, ("BEGIN", "UPDATE log SET v = 9", "PREPARE TRANSACTION 'x'", "COMMIT PREPARED 'x'")),
    "index": (LOG, "INSERT INTO indexed VALUES (4)"),
    "analyze": (LOG, "ANALYZE indexed"),
    "analyze of everything": (LOG, "ANALYZE"),
    "reindex": (LOG, "REINDEX TABLE indexed"),
    "reindex of an index": (LOG, "REINDEX INDEX expressed"),
    "cluster": (LOG, ("CLUSTER indexed USING expressed",)),
    "explain": (LOG, "EXPLAIN ANALYZE UPDATE log SET v = 7"),
    "cursor": (LOG, ("BEGIN", "DECLARE c CURSOR FOR SELECT writes(1)", "FETCH c", "COMMIT")),
    "select into": ("SELECT count(*) FROM t", "INSERT INTO t SELECT 10 + id FROM t"),
    "replaced function": (LOG, ("BEGIN", "ALTER TABLE log ADD w int DEFAULT 3", "COMMIT")),
    "renamed": ("SELECT * FROM loose", ("ALTER TABLE loose RENAME TO looser", "CREATE TABLE loose AS SELECT 1 AS one")),
    "policy": (
        "SELECT v FROM log",
        ("ALTER TABLE log ENABLE ROW LEVEL SECURITY", "ALTER TABLE log FORCE ROW LEVEL SECURITY"),
    ),
    "definition in an open transaction": (
        LOG,
        (
            "BEGIN",
            "CREATE TRIGGER more AFTER INSERT ON child EXECUTE FUNCTION noted()",
            "COMMIT",
            "INSERT INTO child VALUES (2)",
        ),
    ),
    "definition taken back to a savepoint": (
        LOG,
        (
            *("BEGIN", "SAVEPOINT s", "DROP TRIGGER noted ON watched", "ROLLBACK TO s", "COMMIT"),
            "INSERT INTO watched VALUES (2)",
        ),
    ),
}
REFUSED = (
    "SELECT ctid FROM t",
    "SELECT t.xmin FROM t",
    "SELECT tableoid FROM t",
    "SELECT t.total FROM t",
    "SELECT (t).total FROM t",
    "SELECT liar()",
    "SELECT pl_liar()",
    "SELECT own_sum(v) FROM t",
    "SELECT v::bigint <+> 1 FROM t",
    "SELECT id FROM t WHERE at < 'now'",
    "SELECT concat('n', 'ow')::timestamptz FROM log",
    "SELECT CAST(concat('n', 'ow') AS timestamp) FROM log",
    "SELECT note::timestamptz FROM t WHERE id = 1",
    "SELECT coalesce(note, '')::timestamptz FROM t WHERE id = 1",
    "SELECT timestamptz(note) FROM t WHERE id = 1",
    "SELECT note::moment FROM t WHERE id = 1",
    "SELECT ARRAY[note]::timestamptz[] FROM t WHERE id = 1",
    "SELECT '{now}'::timestamptz[] FROM log",
    "SELECT '(now,)'::tstzrange FROM log",
    "SELECT d FROM XMLTABLE('/a' PASSING '<a>2020-01-01</a>' COLUMNS d timestamp PATH '.'), log",
    "SELECT (SELECT note FROM t WHERE id = 1)::timestamptz FROM log",
    "SELECT x.at::timestamptz FROM (SELECT note AS at FROM t WHERE id = 1) x",
    "SELECT date_in('now') FROM log",
    "SELECT reverse('yadot')::date FROM log",
    "SELECT * FROM t TABLESAMPLE BERNOULLI (50)",
    "SELECT * FROM pg_class LIMIT 1",
    "SELECT * FROM information_schema.tables LIMIT 1",
    "SELECT last_value FROM numbers",
    "SELECT nextval('numbers')",
    "SELECT 't'::regclass FROM log",
    "SELECT lo_get(1) FROM log WHERE false",
    "SELECT query_to_xml('SELECT 1', true, true, '') FROM log",
    "SELECT current_setting('application_name') FROM log",
    "SELECT random() FROM log",
)
KEPT = (
    "SELECT honest(v) FROM t",
    "SELECT t.v, t.note FROM t",
    "SELECT at::date, date_trunc('day', at)::date FROM t",
    "SELECT max(at)::date, coalesce(min(at), '2020-01-01')::date FROM t",
    "SELECT '2020-01-01'::date + v FROM t",
    "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 3) SELECT * FROM n, log",
    "SELECT * FROM generate_series(1, 3), log",
    "SELECT jsonb_path_query('[1]', '$[0]') FROM log",
    "SELECT 12.5::money, to_tsvector('english', 'a cat') FROM log",
)
SETTINGS = {
    "DateStyle": ("SELECT at::text FROM t", "German"),
    "TimeZone": ("SELECT at::text FROM t", "Asia/Tokyo"),
    "IntervalStyle": ("SELECT interval '1 day 2 hours'::text FROM log", "iso_8601"),
    "bytea_output": ("SELECT '\\x00ff'::bytea FROM log", "escape"),
    "extra_float_digits": ("SELECT 0.1::float8 / 3 FROM log", "0"),
    "lc_monetary": ("SELECT 12.5::money FROM log", "C"),
    "xmloption": ("SELECT xmlparse(CONTENT 'a') FROM log", "document"),
    "xmlbinary": ("SELECT xmlelement(name a, '\\x00ff'::bytea) FROM log", "hex"),
    "default_text_search_config": ("SELECT to_tsvector('the cats') FROM log", "simple"),
    "quote_all_identifiers": ("SELECT quote_ident('a') FROM log", "on"),
    "timezone_abbreviations": ("SELECT '2020-01-01 12:00 EST'::timestamptz::text FROM log", "Australia"),
    "search_path": ("SELECT count(*) FROM categories", "public"),
    "row_security": ("SELECT v FROM log", "off"),
    "app.tenant": ("SELECT current_setting('app.tenant', true) FROM log", "a"),
    "session_replication_role": ("SELECT v FROM log", "origin"),
    "standard_conforming_strings": ("SELECT 'a\\nb' FROM log", "on"),
}
Client = psycopg.Connection[tuple[Any, ...]]


class Place:
    """A PgBeam that caches, its clients, and a client of the server itself."""

    def __init__(self, running: Beam) -> None:
        self.running = running
        self.heard: list[str] = []
        self.reader = self.client()
        self.reader.add_notice_handler(lambda notice: self.heard.append(notice.message_primary or ""))
        self.reader.execute("SET pgbeam.debug = on")
        self.writer = self.client()
        self.writer.execute(TABLES)
        self.direct = psycopg.connect(running.cluster.url("app"), autocommit=True)

    def client(self) -> Client:
        """One more."""
        return psycopg.connect(self.running.url(), autocommit=True)

    def read(self, sql: str) -> tuple[list[tuple[Any, ...]] | str, bool]:
        """What the reader is told, and whether it comes from memory."""
        self.heard.clear()
        found = answer(self.reader, CACHE + sql)
        return found, any("cache=hit" in said for said in self.heard)

    def remembered(self, sql: str) -> list[tuple[Any, ...]] | str:
        """What it is told from memory, once PgBeam has learnt the definitions that it has just made."""
        for _ in range(100):
            found, hit = self.read(sql)
            if hit:
                return found
            time.sleep(0.02)
        raise AssertionError(f"it is not remembered: {sql}: {self.heard}")

    def close(self) -> None:
        """Everybody leaves."""
        for one in (self.reader, self.writer, self.direct):
            one.close()


def answer(client: Client, sql: str) -> list[tuple[Any, ...]] | str:
    """Rows, or the SQLSTATE of the error."""
    try:
        cursor = client.execute(sql)
    except psycopg.Error as error:
        return error.sqlstate or str(error)
    return cursor.fetchall() if cursor.description else []


@pytest.fixture
def place(cluster: Cluster, shared_beam: Callable[..., Beam]) -> Any:
    """The tables anew."""
    found = Place(shared_beam(cluster, "transaction", plugins="cache,pool,debug"))
    yield found
    found.close()


@pytest.mark.parametrize("kind", CHANGES)
def test_a_change_of_this_kind_ends_what_was_read(place: Place, kind: str) -> None:
    """Another client changes it, directly or by what its statement sets off: the next reader gets it as it is."""
    read, changes = CHANGES[kind]
    before = place.remembered(read)
    for change in (changes,) if isinstance(changes, str) else changes:
        answer(place.writer, change)
    now = answer(place.direct, read)
    assert now != before, "the change has to show"
    assert place.read(read)[0] == now


def test_what_cannot_be_known_is_not_remembered(place: Place) -> None:
    """Times in disguise, code that reads what no text names, system columns and catalogs, chance."""
    place.remembered(LOG)
    for sql in REFUSED:
        place.read(sql)
        assert not place.read(sql)[1], sql


def test_what_depends_on_rows_and_settings_alone_is_remembered(place: Place) -> None:
    """Care must not cost the cache its use."""
    for sql in KEPT:
        assert place.remembered(sql) == answer(place.direct, sql)


def test_settings_are_part_of_who_shares(place: Place) -> None:
    """A reply made with one value of a setting is for nobody with another: each is told what the server tells it."""
    for name, (read, value) in SETTINGS.items():
        place.read(read)
        set_it = f"SELECT set_config('{name}', '{value}', false)"
        for client in (place.writer, place.direct):
            answer(client, set_it)
        assert answer(place.writer, CACHE + read) == answer(place.direct, read), name
        for client in (place.writer, place.direct):
            answer(client, f"RESET {name}")


def test_a_role_past_pgbeam_loses_its_rows_within_the_time_that_is_set(
    cluster: Cluster, beam: Callable[..., Beam]
) -> None:
    """With rights_check_s = 1 a right that is revoked by psql costs the cached rows a second later."""
    running = beam(cluster, "transaction", plugins="cache,pool", settings={"plugins": {"cache": {"rights_check_s": 1}}})
    read = CACHE + "SELECT count(*) FROM accounts"
    with cluster.connect() as boss, psycopg.connect(running.url("with_reader"), autocommit=True) as client:
        assert client.execute(read).fetchall() == client.execute(read).fetchall() == [(10,)]
        boss.execute("REVOKE SELECT ON accounts FROM with_reader")
        client.execute("SELECT pg_sleep(1.2)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            client.execute(read)


@pytest.fixture(autouse=True)
def reader(cluster: Cluster, fresh_shop: None) -> Any:
    """A role with one right."""
    with cluster.connect() as boss:
        boss.execute("CREATE ROLE with_reader LOGIN")
        boss.execute("GRANT SELECT ON accounts TO with_reader")
        boss.execute("GRANT USAGE ON SCHEMA public TO with_reader")
    yield
    with cluster.connect() as boss:
        boss.execute("DROP OWNED BY with_reader")
        boss.execute("DROP ROLE with_reader")
