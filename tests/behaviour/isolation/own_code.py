"""Code of the clients' own for the two of them to run, and what a third party does past PgBeam."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.behaviour import frames

from .op import Op, simple

_FOLLOWS = ("work_mem", "datestyle", "role", "no role", "path", "read only", "not read only", "row", "nothing")
_TIES = ("temp table", "temp type", "temp function", "lock", "shared lock", "listen", "prepare", "cursor")
_WAYS = (
    "SELECT own_~.leave('{}')",
    "INSERT INTO own_~.watched VALUES ('{}')",
    "INSERT INTO own_~.checked VALUES ('{}')",
    "SELECT '{}'::own_~.word",
    "SELECT own_~.unpack(ROW('{}')::own_~.box)",
    "CALL own_~.does('{}')",
    "CALL own_~.commits('{}')",
    "DO $$ BEGIN PERFORM own_~.leave('{}'); END $$",
    "DO $$ BEGIN PERFORM own_~.leave('{}'); COMMIT; PERFORM 1 / 0; END $$",
    "SELECT * FROM own_~.t WHERE own_~.leave('{}') > 1",
    "COPY (SELECT own_~.leave('{}')) TO STDOUT",
    "BEGIN; SELECT own_~.leave('{}'); COMMIT",
    "SELECT own_~.leave('{}'); SELECT 1/0",
)


@st.composite
def _run(draw: st.DrawFn, things: tuple[str, ...], *, keeps: bool) -> Op:
    """One of the things in one of the ways; with an exclamation mark it fails in the end."""
    thing = draw(st.sampled_from(things)) + draw(st.sampled_from(["", "", "!"]))
    way = draw(st.sampled_from(_WAYS))
    text = way.format(thing)
    if way.endswith(("COMMIT", "SELECT 1/0")) or draw(st.booleans()):
        return simple(text, keeps=keeps)
    return Op("extended " + text, frames.extended(text) + frames.sync(), keeps=keeps)


def code() -> st.SearchStrategy[Op]:
    """Code of the client's own, run in one of many ways, that leaves what may follow the client, or nothing."""
    return _run(_FOLLOWS, keeps=False)


def keeping_code() -> st.SearchStrategy[Op]:
    """Likewise, leaving what ties the client to its server, also when it fails."""
    return _run(_TIES, keeps=True)


CODE = """
CREATE FUNCTION own_{me}.leave(arg text) RETURNS int LANGUAGE plpgsql AS $f$
BEGIN
  CASE pg_catalog.rtrim(arg, '!')
    WHEN 'work_mem' THEN PERFORM pg_catalog.set_config('work_mem', '444kB', false);
    WHEN 'datestyle' THEN PERFORM pg_catalog.set_config('DateStyle', 'YMD', false);
    WHEN 'role' THEN EXECUTE 'SET ROLE two_clients';
    WHEN 'no role' THEN EXECUTE 'RESET ROLE';
    WHEN 'path' THEN PERFORM pg_catalog.set_config('search_path', 'public, own_{me}', false);
    WHEN 'read only' THEN EXECUTE 'SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY';
    WHEN 'not read only' THEN EXECUTE 'RESET default_transaction_read_only';
    WHEN 'row' THEN INSERT INTO own_{me}.t (n) VALUES (77);
    WHEN 'temp table' THEN CREATE TEMP TABLE IF NOT EXISTS mine (v text);
    WHEN 'temp type' THEN CREATE TYPE pg_temp.kind AS ENUM ('a');
    WHEN 'temp function' THEN CREATE OR REPLACE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 1';
    WHEN 'lock' THEN PERFORM pg_catalog.pg_advisory_lock(pg_catalog.ascii('{me}'), 11);
    WHEN 'shared lock' THEN PERFORM pg_catalog.pg_advisory_lock_shared(pg_catalog.ascii('{me}'), 12);
    WHEN 'listen' THEN EXECUTE 'LISTEN channel_{me}';
    WHEN 'prepare' THEN EXECUTE 'PREPARE own1 AS SELECT 6';
    WHEN 'cursor' THEN EXECUTE 'DECLARE h CURSOR WITH HOLD FOR SELECT pg_catalog.generate_series(1, 9)';
    ELSE NULL;
  END CASE;
  IF arg LIKE '%!' THEN RETURN 1 / 0; END IF;
  RETURN 1;
END $f$;
CREATE FUNCTION own_{me}.on_row() RETURNS trigger LANGUAGE plpgsql AS $f$
BEGIN PERFORM own_{me}.leave(NEW.v); RETURN NEW; END $f$;
CREATE FUNCTION own_{me}.late() RETURNS trigger LANGUAGE plpgsql AS $f$
BEGIN PERFORM own_{me}.leave('work_mem'); RETURN NULL; END $f$;
CREATE TABLE own_{me}.watched (v text);
CREATE TRIGGER w AFTER INSERT ON own_{me}.watched FOR EACH ROW EXECUTE FUNCTION own_{me}.on_row();
CREATE TABLE own_{me}.checked (v text CHECK (own_{me}.leave(v) > 0));
CREATE DOMAIN own_{me}.word AS text CHECK (own_{me}.leave(VALUE) > 0);
CREATE TYPE own_{me}.box AS (v text);
CREATE FUNCTION own_{me}.unpack(own_{me}.box) RETURNS int LANGUAGE sql AS 'SELECT own_{me}.leave($1.v)';
CREATE PROCEDURE own_{me}.does(v text) LANGUAGE plpgsql AS $f$ BEGIN PERFORM own_{me}.leave(v); END $f$;
CREATE PROCEDURE own_{me}.commits(v text) LANGUAGE plpgsql AS $f$
BEGIN PERFORM own_{me}.leave(pg_catalog.rtrim(v, '!')); COMMIT; PERFORM own_{me}.leave(v); END $f$;
GRANT USAGE ON SCHEMA own_{me} TO two_clients;
"""
"""What these run."""


def third_party() -> st.SearchStrategy[str]:
    """What somebody else does to a client's tables and functions, past PgBeam."""
    return st.sampled_from(
        [
            "ALTER TABLE own_~.t ADD COLUMN IF NOT EXISTS third int DEFAULT 3",
            "ALTER TABLE own_~.t DROP COLUMN IF EXISTS third",
            "ALTER TABLE own_~.t ALTER COLUMN n TYPE bigint",
            "ALTER TABLE own_~.t ALTER COLUMN n TYPE int",
            "ALTER FUNCTION own_~.set_it(text, text) STABLE",
            "ALTER FUNCTION own_~.set_it(text, text) VOLATILE",
            "CREATE OR REPLACE TRIGGER late AFTER INSERT ON own_~.t FOR EACH ROW EXECUTE FUNCTION own_~.late()",
            "DROP TRIGGER IF EXISTS late ON own_~.t",
            "REVOKE SELECT ON own_~.t FROM app",
            "GRANT SELECT ON own_~.t TO app",
        ]
    )
