"""The functions, tables, triggers and whatever else runs code: one schema for all ways and things."""

from __future__ import annotations

from collections.abc import Iterator

from ..clusters import Cluster
from .things import APP, BOSS, OTHER, THINGS, Thing

AFTER = {
    "": "goes on",
    "!": "fails",
    "~": "cancels itself",
    "^": "ends its own session",
    "_": "takes a moment",
}
"""What a mark behind a thing's name makes the code do once the thing is there."""
DATABASES = ("matrix", "matrix_twin")
"""PgBeam's, and the one of direct connections."""
APART = ("matrix_apart", "matrix_apart_twin")
"""Likewise for the ways that are kept apart."""

_FUNCTIONS = """
CREATE FUNCTION m.stop(how text) RETURNS int LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $f$
BEGIN
  PERFORM CASE how WHEN '~' THEN pg_cancel_backend(pg_backend_pid()) ELSE pg_terminate_backend(pg_backend_pid()) END;
  PERFORM pg_sleep(2);
  RETURN 0;
END $f$;
CREATE FUNCTION m.after(mark text) RETURNS int LANGUAGE plpgsql AS $f$
BEGIN
  CASE mark
    WHEN '!' THEN RETURN 1 / 0;
    WHEN '~', '^' THEN RETURN m.stop(mark);
    WHEN '_' THEN PERFORM pg_catalog.pg_sleep(0.05);
    ELSE RETURN 1;
  END CASE;
  RETURN 1;
END $f$;
CREATE FUNCTION m.leave_only(thing text) RETURNS void LANGUAGE plpgsql AS $f$
BEGIN
  CASE thing
    {branches}
    ELSE NULL;
  END CASE;
END $f$;
CREATE FUNCTION m.leave(arg text) RETURNS int LANGUAGE plpgsql COST 1 AS $f$
DECLARE thing text := pg_catalog.rtrim(arg, '!~^_');
BEGIN
  PERFORM m.leave_only(thing);
  RETURN m.after(pg_catalog.substr(arg, pg_catalog.length(thing) + 1));
END $f$;
CREATE FUNCTION m.leave_immutable(arg text) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $f$
BEGIN PERFORM m.leave(arg); RETURN 1; END $f$;
CREATE FUNCTION m.nested(arg text) RETURNS int LANGUAGE sql AS 'SELECT m.leave(arg)';
CREATE FUNCTION m.caught(arg text) RETURNS int LANGUAGE plpgsql AS $f$
BEGIN
  BEGIN
    PERFORM m.leave_only(pg_catalog.rtrim(arg, '!~^_'));
    PERFORM 1 / 0;
  EXCEPTION WHEN division_by_zero THEN NULL; END;
  RETURN m.after(pg_catalog.substr(arg, pg_catalog.length(pg_catalog.rtrim(arg, '!~^_')) + 1));
END $f$;
CREATE FUNCTION m.several(arg text) RETURNS SETOF int LANGUAGE plpgsql AS $f$
BEGIN RETURN NEXT 1; RETURN NEXT m.leave(arg); RETURN NEXT 3; END $f$;
CREATE PROCEDURE m.proc(arg text) LANGUAGE plpgsql AS $f$ BEGIN PERFORM m.leave(arg); END $f$;
CREATE PROCEDURE m.proc_commit(arg text) LANGUAGE plpgsql AS $f$
DECLARE thing text := pg_catalog.rtrim(arg, '!~^_');
BEGIN
  PERFORM m.leave_only(thing);
  COMMIT;
  PERFORM m.after(pg_catalog.substr(arg, pg_catalog.length(thing) + 1));
END $f$;
CREATE FUNCTION m.on_row() RETURNS trigger LANGUAGE plpgsql AS $f$
BEGIN
  IF TG_OP = 'DELETE' THEN PERFORM m.leave(OLD.thing); RETURN OLD; END IF;
  PERFORM m.leave(NEW.thing);
  RETURN NEW;
END $f$;
CREATE FUNCTION m.on_statement() RETURNS trigger LANGUAGE plpgsql AS $f$
BEGIN
  IF TG_NARGS > 0 THEN PERFORM m.leave(TG_ARGV[0]); ELSE PERFORM m.leave(thing) FROM m.statement_after; END IF;
  RETURN NULL;
END $f$;
CREATE FUNCTION m.same(int, int) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT $1 = $2';
CREATE FUNCTION m.of_text(text, int) RETURNS int LANGUAGE sql AS 'SELECT m.leave($1)';
CREATE OPERATOR m.<~~> (FUNCTION = m.of_text, LEFTARG = text, RIGHTARG = int);
CREATE TYPE m.box AS (thing text);
CREATE FUNCTION m.of_box(m.box) RETURNS int LANGUAGE sql AS 'SELECT m.leave($1.thing)';
CREATE FUNCTION m.of_box_and(m.box, int) RETURNS int LANGUAGE sql AS 'SELECT m.leave($1.thing)';
CREATE OPERATOR public.~~~ (FUNCTION = m.of_box_and, LEFTARG = m.box, RIGHTARG = int);
CREATE FUNCTION public.upper(m.box) RETURNS int LANGUAGE sql AS 'SELECT m.leave($1.thing)';
CREATE FUNCTION m.gather(int, text) RETURNS int LANGUAGE plpgsql AS $f$ BEGIN RETURN m.leave($2); END $f$;
CREATE AGGREGATE m.gathered(text) (SFUNC = m.gather, STYPE = int, INITCOND = '0');
CREATE DOMAIN m.word AS text CHECK (m.leave(VALUE) > 0);
CREATE FUNCTION m.compare(text, text) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $f$
BEGIN PERFORM m.leave($1); PERFORM m.leave($2); RETURN pg_catalog.bttextcmp($1, $2); END $f$;
CREATE FUNCTION m.less(text, text) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT m.compare($1, $2) < 0';
CREATE OPERATOR m.<<< (FUNCTION = m.less, LEFTARG = text, RIGHTARG = text);
CREATE FUNCTION m.leave_stable(arg text) RETURNS int LANGUAGE plpgsql STABLE AS $f$
BEGIN PERFORM m.leave(arg); RETURN 1; END $f$;
CREATE FUNCTION m.definer(arg text) RETURNS int LANGUAGE plpgsql SECURITY DEFINER AS $f$
BEGIN RETURN m.leave(arg); END $f$;
CREATE FUNCTION m.with_settings(arg text) RETURNS int LANGUAGE plpgsql SET work_mem = '99kB' AS $f$
BEGIN RETURN m.leave(arg); END $f$;
CREATE TYPE m.item AS (thing text);
CREATE FUNCTION m.compare_items(m.item, m.item) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $f$
BEGIN RETURN m.compare($1.thing, $2.thing); END $f$;
CREATE FUNCTION m.item_less(m.item, m.item) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT m.compare_items($1, $2) < 0';
CREATE FUNCTION m.item_same(m.item, m.item) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT m.compare_items($1, $2) = 0';
CREATE TYPE m.entry AS (thing m.word);
CREATE TYPE m.span_of_words AS RANGE (SUBTYPE = m.word, MULTIRANGE_TYPE_NAME = m.spans_of_words);
"""
_TABLES = """
CREATE TABLE m.written (n int);
CREATE SEQUENCE m.counter;
CREATE TABLE m.secret (n int, tenant text);
INSERT INTO m.secret VALUES (1, 'all'), (2, 'acme'), (3, 'matrix_other');
CREATE POLICY own ON m.secret USING (tenant IN ('all', current_setting('app.tenant', true), current_user));
ALTER TABLE m.secret ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE TABLE m.one (thing text PRIMARY KEY, n int);
INSERT INTO m.one VALUES ('x', 0);
CREATE TABLE m.things (thing text);
CREATE FUNCTION m.total(m.things) RETURNS int LANGUAGE sql AS 'SELECT m.leave($1.thing)';
CREATE TABLE m.row_before (thing text);
CREATE TRIGGER t BEFORE INSERT ON m.row_before FOR EACH ROW EXECUTE FUNCTION m.on_row();
CREATE TABLE m.row_after (thing text);
CREATE TRIGGER t AFTER INSERT ON m.row_after FOR EACH ROW EXECUTE FUNCTION m.on_row();
CREATE TABLE m.statement_after (thing text);
INSERT INTO m.statement_after VALUES ('nothing');
CREATE TRIGGER t AFTER UPDATE ON m.statement_after FOR EACH STATEMENT EXECUTE FUNCTION m.on_statement();
CREATE TABLE m.deferred (thing text);
CREATE CONSTRAINT TRIGGER t AFTER INSERT ON m.deferred DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW EXECUTE FUNCTION m.on_row();
CREATE TABLE m.deleted (thing text);
CREATE TABLE m.parent (thing text PRIMARY KEY);
CREATE TABLE m.child (thing text REFERENCES m.parent ON DELETE CASCADE);
CREATE TRIGGER t AFTER DELETE ON m.child FOR EACH ROW EXECUTE FUNCTION m.on_row();
CREATE TRIGGER t AFTER DELETE ON m.deleted FOR EACH ROW EXECUTE FUNCTION m.on_row();
CREATE TABLE m.whole (thing text) PARTITION BY LIST (thing);
CREATE TABLE m.part PARTITION OF m.whole DEFAULT;
CREATE TRIGGER t AFTER INSERT ON m.part FOR EACH ROW EXECUTE FUNCTION m.on_row();
CREATE VIEW m.instead AS SELECT 'x'::text AS thing;
CREATE TRIGGER t INSTEAD OF INSERT ON m.instead FOR EACH ROW EXECUTE FUNCTION m.on_row();
CREATE VIEW m.through AS SELECT thing FROM m.row_after;
CREATE TABLE m.ruled (thing text);
CREATE RULE r AS ON INSERT TO m.ruled DO ALSO SELECT m.leave(NEW.thing);
CREATE TABLE m.ruled_instead (thing text);
INSERT INTO m.ruled_instead VALUES ('x');
CREATE RULE r AS ON UPDATE TO m.ruled_instead DO INSTEAD INSERT INTO m.row_after VALUES (NEW.thing);
CREATE TABLE m.checked_rows (thing text);
CREATE POLICY own ON m.checked_rows FOR INSERT WITH CHECK (m.leave(thing) > 0);
ALTER TABLE m.checked_rows ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE TABLE m.checked (thing text CHECK (m.leave(thing) > 0));
CREATE TABLE m.generated (thing text, n int GENERATED ALWAYS AS (m.leave_immutable(thing)) STORED);
CREATE TABLE m.worded (thing m.word);
CREATE TABLE m.blank_words (thing m.word);
INSERT INTO m.blank_words VALUES (NULL);
CREATE TABLE m.word_list (words m.word[]);
INSERT INTO m.word_list VALUES ('{}');
CREATE TABLE m.entries (entry m.entry);
INSERT INTO m.entries VALUES (NULL);
CREATE VIEW m.own_settings AS SELECT * FROM pg_catalog.pg_settings;
CREATE TABLE m.indexed (thing text);
CREATE INDEX ON m.indexed (m.leave_immutable(thing));
"""
_PER_CALL = """
CREATE TABLE m.given_{thing} (thing text DEFAULT ({sql})::text, n int);
CREATE VIEW m.shown_{thing} AS SELECT ({sql})::text AS n;
CREATE TABLE m.hidden_{thing} AS SELECT 1 AS n;
CREATE POLICY own ON m.hidden_{thing} USING (({sql}) IS NOT NULL);
ALTER TABLE m.hidden_{thing} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
"""
_PER_THING = """
CREATE FUNCTION m.late_{thing}(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $f$ BEGIN RETURN 1; END $f$;
CREATE TABLE m.indexed_{thing} AS SELECT 1 AS n;
CREATE INDEX ON m.indexed_{thing} (m.late_{thing}(n));
CREATE OR REPLACE FUNCTION m.late_{thing}(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $f$
BEGIN RETURN m.leave('{thing}'); END $f$;
CREATE FUNCTION m.sql_{thing}() RETURNS int LANGUAGE sql AS $f${sql}$f$;
CREATE VIEW m.view_{thing} AS SELECT m.leave('{thing}') AS n;
CREATE TABLE m.defaulted_{thing} (thing int DEFAULT m.leave('{thing}'), n int);
CREATE DOMAIN m.by_default_{thing} AS int DEFAULT m.leave('{thing}');
CREATE TABLE m.by_domain_{thing} (thing m.by_default_{thing}, n int);
CREATE TABLE m.statement_before_{thing} (n int);
CREATE TRIGGER t BEFORE INSERT ON m.statement_before_{thing}
  FOR EACH STATEMENT EXECUTE FUNCTION m.on_statement('{thing}');
CREATE TABLE m.policed_{thing} AS SELECT 1 AS n;
CREATE POLICY own ON m.policed_{thing} USING (m.leave('{thing}') > 0);
ALTER TABLE m.policed_{thing} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE FUNCTION m.argument_{thing}(n int DEFAULT m.leave('{thing}')) RETURNS int LANGUAGE sql AS 'SELECT n';
CREATE MATERIALIZED VIEW m.refreshed_{thing} AS SELECT m.leave('{thing}') AS n WITH NO DATA;
"""
_EVENT_TRIGGER = """
CREATE FUNCTION m.on_comment() RETURNS event_trigger LANGUAGE plpgsql AS $f$
BEGIN
  PERFORM m.leave(coalesce(pg_catalog.obj_description('m.things'::regclass, 'pg_class'), 'nothing'));
END $f$;
CREATE EVENT TRIGGER matrix ON ddl_command_end WHEN TAG IN ('COMMENT') EXECUTE FUNCTION m.on_comment();
"""


def build(cluster: Cluster) -> None:
    """Make both databases, the role and the replication origins."""
    with cluster.connect() as boss:
        boss.execute(f"CREATE ROLE {OTHER}")
        boss.execute(f"GRANT {OTHER} TO {APP}")
        for database in (*DATABASES, *APART):
            boss.execute(f"CREATE DATABASE {database} OWNER {APP}")
            boss.execute(f"ALTER DATABASE {database} SET search_path = public, m")
            boss.execute("SELECT pg_replication_origin_create(%s)", [f"matrix_{database}"])
    for database in (*DATABASES, *APART):
        with cluster.connect(database=database) as boss:
            boss.execute("SET client_min_messages = error")
            boss.execute("; ".join(_statements()).encode())
            if database in APART:
                boss.execute(_APART.encode())


def tear_down(cluster: Cluster) -> None:
    """Take everything away again."""
    with cluster.connect() as boss:
        for database in (*DATABASES, *APART):
            boss.execute(f"DROP DATABASE {database} WITH (FORCE)")
            boss.execute("SELECT pg_replication_origin_drop(%s)", [f"matrix_{database}"])
        boss.execute(f"DROP ROLE {OTHER}")


def _statements() -> Iterator[str]:
    yield f"CREATE SCHEMA m AUTHORIZATION {APP}"
    yield f"SET ROLE {APP}"
    branches = "\n    ".join(f"WHEN '{thing.name}' THEN {thing.code}" for thing in THINGS)
    yield _FUNCTIONS.format(branches=branches)
    yield _TABLES
    for thing in THINGS:
        yield _PER_THING.format(thing=thing.name, sql=_sql(thing))
        if thing.sql:
            yield _PER_CALL.format(thing=thing.name, sql=thing.sql)
    for mark in AFTER:
        yield "INSERT INTO m.things VALUES " + ", ".join(f"('{thing.name}{mark}')" for thing in THINGS)
    yield "RESET ROLE"
    yield f"ALTER FUNCTION m.stop(text) OWNER TO {BOSS}"
    yield _OPEN
    yield _EVENT_TRIGGER


def _sql(thing: Thing) -> str:
    return f"SELECT count({thing.sql})::int" if thing.sql else f"SELECT m.leave('{thing.name}')"


_APART = """
CREATE TYPE m.span AS RANGE (SUBTYPE = int);
CREATE OPERATOR m.@@ (FUNCTION = m.of_text, LEFTARG = text, RIGHTARG = int);
CREATE CAST (m.box AS int) WITH FUNCTION m.of_box(m.box) AS IMPLICIT;
CREATE OPERATOR m.< (FUNCTION = m.item_less, LEFTARG = m.item, RIGHTARG = m.item);
CREATE OPERATOR m.= (FUNCTION = m.item_same, LEFTARG = m.item, RIGHTARG = m.item, MERGES);
CREATE OPERATOR CLASS m.own_order FOR TYPE text USING btree AS
  OPERATOR 1 m.<<<, OPERATOR 3 pg_catalog.=(text, text), FUNCTION 1 m.compare(text, text);
CREATE OPERATOR CLASS m.order_of_items DEFAULT FOR TYPE m.item USING btree AS
  OPERATOR 1 m.<, OPERATOR 3 m.=, FUNCTION 1 m.compare_items(m.item, m.item);
CREATE TYPE m.texts AS RANGE (SUBTYPE = text, SUBTYPE_OPCLASS = m.own_order);
GRANT USAGE ON TYPE m.texts TO PUBLIC;
"""
"""What may run with any statement, since nobody can tell by names: it is kept apart from the rest."""
_OPEN = f"""
GRANT USAGE ON SCHEMA m TO {OTHER};
GRANT ALL ON ALL TABLES IN SCHEMA m TO {OTHER};
GRANT ALL ON ALL SEQUENCES IN SCHEMA m TO {OTHER}
"""
