"""Clients of PgBeam beside twins that are connected to the server: each gets the same statements, one after the other.

The twins work in a database of their own, with the same tables, so what they are told is right.
"""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import strategies as st

from tests.behaviour import frames
from tests.behaviour.beams import Direct
from tests.behaviour.clusters import Cluster
from tests.behaviour.wireclient import Frame, WireClient, error_fields

TWIN = "twin"
ROLE = "twins_other"
THIRD = "twins_third"
CACHE = "/* @pgbeam:cache */ "

_DEFINITIONS = f"""
DROP SCHEMA IF EXISTS b CASCADE;
CREATE SCHEMA b AUTHORIZATION app;
GRANT USAGE ON SCHEMA public, b TO {ROLE}, {THIRD};
SET ROLE app;
CREATE TABLE public.t (v text);
CREATE TABLE b.t (v text);
CREATE TABLE public.docs (owner text, body text);
ALTER TABLE docs ENABLE ROW LEVEL SECURITY;
ALTER TABLE docs FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON docs USING (owner = current_user OR owner = current_setting('app.tenant', true));
GRANT SELECT ON ALL TABLES IN SCHEMA public, b TO {ROLE};
GRANT SELECT ON docs TO {THIRD};
CREATE FUNCTION public.path() RETURNS text LANGUAGE sql AS $$SELECT set_config('search_path', 'b', false)$$;
CREATE PROCEDURE public.write() LANGUAGE sql AS $$INSERT INTO public.t VALUES ('by a procedure')$$;
CREATE FUNCTION public.writer() RETURNS text LANGUAGE sql AS $$
    UPDATE public.t SET v = 'by a function' RETURNING 'written' $$;
CREATE PROCEDURE public.fails() LANGUAGE plpgsql AS $$
    BEGIN UPDATE public.t SET v = 'before a commit'; COMMIT; PERFORM 1 / 0; END $$;
CREATE FUNCTION public.noted() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN UPDATE b.t SET v = 'by a trigger'; RETURN NULL; END $$;
CREATE TABLE public.watched (id int);
CREATE TABLE public.parent (id int PRIMARY KEY);
CREATE TABLE public.kids (id int REFERENCES public.parent ON DELETE CASCADE ON UPDATE CASCADE);
CREATE FUNCTION public.label(text) RETURNS text LANGUAGE sql IMMUTABLE AS $$SELECT 'a ' || $1$$;
CREATE VIEW public.labelled AS SELECT public.label(v) FROM public.t;
CREATE VIEW public.both_t AS SELECT v FROM public.t UNION ALL SELECT v FROM b.t;
RESET ROLE;
"""
_FRESH = f"""
DO $$ BEGIN
    DELETE FROM public.t; DELETE FROM b.t; DELETE FROM public.parent; DELETE FROM public.watched;
    INSERT INTO public.parent VALUES (1), (2); INSERT INTO public.kids VALUES (1), (2);
    DROP TRIGGER IF EXISTS noted ON public.watched; DROP RULE IF EXISTS other ON b.t;
    ALTER TABLE public.t DROP COLUMN IF EXISTS w;
    CREATE OR REPLACE VIEW public.both_t AS SELECT v FROM public.t UNION ALL SELECT v FROM b.t;
    ALTER POLICY own ON public.docs USING (owner = current_user OR owner = current_setting('app.tenant', true));
    INSERT INTO public.t VALUES ('public'); INSERT INTO b.t VALUES ('b');
    SET LOCAL row_security = off; DELETE FROM docs;
    INSERT INTO docs VALUES ('app', 'app''s café'), ('{ROLE}', 'others'), ('a', 'A'), ('b', 'B');
END $$
"""
READS = (
    "SELECT v FROM t ORDER BY v",
    "SELECT * FROM public.t ORDER BY v",
    "SELECT * FROM public.both_t ORDER BY v",
    "SELECT body FROM public.docs ORDER BY body",
    "SELECT id FROM public.kids ORDER BY id",
    "SELECT * FROM public.labelled",
    "SELECT timestamptz '2024-03-01 00:00+00', 0.1::float8 / 3, '\\x00ff'::bytea, interval '1 day 2 hours'",
)
_SETTINGS = (
    "SET search_path = b",
    "SET SCHEMA 'b'",
    "SET LOCAL search_path = b",
    "RESET search_path",
    "RESET ALL",
    "DISCARD ALL",
    "SELECT set_config('search_path', 'b', false)",
    "SELECT set_config('search_path', 'b', true)",
    "SELECT set_config(name, 'b', false) FROM (VALUES ('search_path')) AS x (name)",
    "SELECT public.path()",
    "DO $$ BEGIN PERFORM public.path(); END $$",
    f"SET ROLE {ROLE}",
    "RESET ROLE",
    "SET app.tenant = 'a'",
    "SET LOCAL app.tenant = 'b'",
    "SELECT set_config('app.tenant', 'b', false)",
    "SET TIME ZONE 'Asia/Tokyo'",
    "SET DateStyle = German",
    "SET extra_float_digits = 0",
    "SET bytea_output = escape",
    "SET IntervalStyle = iso_8601",
)
_TRANSACTIONS = (
    "BEGIN",
    "BEGIN",
    "START TRANSACTION READ ONLY",
    "BEGIN ISOLATION LEVEL REPEATABLE READ",
    "COMMIT",
    "ROLLBACK",
    "SAVEPOINT s",
    "ROLLBACK TO s",
    "COMMIT AND CHAIN",
    "ROLLBACK AND CHAIN",
)
_STATE = (
    "CREATE TEMP TABLE t (v text)",
    "DROP TABLE IF EXISTS pg_temp.t",
    "PREPARE p AS SELECT public.path()",
    "EXECUTE p",
)
_WRITES = (
    "UPDATE public.t SET v = 'updated'",
    "INSERT INTO b.t VALUES ('inserted')",
    "DELETE FROM public.t WHERE v = 'by a procedure'",
    "WITH w AS (UPDATE b.t SET v = 'by a query' RETURNING v) SELECT * FROM w",
    "MERGE INTO public.t USING (VALUES (1)) AS x ON true WHEN MATCHED THEN UPDATE SET v = 'merged'",
    "CALL public.write()",
    "UPDATE public.docs SET body = body || '!'",
    "SELECT public.writer()",
    "CALL public.fails()",
    "DO $$ BEGIN UPDATE b.t SET v = 'before a commit'; COMMIT; PERFORM 1 / 0; END $$",
    "DO $$ BEGIN UPDATE b.t SET v = 'in a block'; END $$",
    "INSERT INTO public.watched VALUES (1)",
    "DELETE FROM public.parent WHERE id = 1",
    "UPDATE public.parent SET id = id + 10",
    "PREPARE w AS UPDATE public.t SET v = 'by execute'",
    "EXECUTE w",
    "EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off, BUFFERS off) UPDATE b.t SET v = 'explained'",
)
# None locks a table that the other one reads: nobody here can wait.
_CHANGES = (
    "CREATE TRIGGER noted AFTER INSERT ON public.watched EXECUTE FUNCTION public.noted()",
    "DROP TRIGGER IF EXISTS noted ON public.watched",
    "CREATE OR REPLACE FUNCTION public.label(text) RETURNS text LANGUAGE sql IMMUTABLE AS $$SELECT 'b ' || $1$$",
    "CREATE OR REPLACE FUNCTION public.label(text) RETURNS text LANGUAGE sql IMMUTABLE AS $$SELECT 'a ' || $1$$",
    f"GRANT SELECT ON public.t TO {ROLE}",
    f"REVOKE SELECT ON public.t FROM {ROLE}",
    f"REVOKE SELECT ON public.docs FROM {ROLE}",
    f"GRANT SELECT ON public.docs TO {ROLE}",
    "CREATE TABLE public.passing (id int REFERENCES public.parent ON DELETE CASCADE)",
    "DROP TABLE IF EXISTS public.passing",
)
# These do: they are for a moment at which nobody is in a transaction.
_LOCKING = (
    "ALTER TABLE public.t ADD COLUMN IF NOT EXISTS w int DEFAULT 1",
    "BEGIN; ALTER TABLE public.t ADD COLUMN IF NOT EXISTS w int DEFAULT 2; UPDATE public.t SET v = 'grown'; COMMIT",
    "BEGIN; ALTER TABLE public.t ADD COLUMN IF NOT EXISTS w int DEFAULT 3; ROLLBACK",
    "ALTER TABLE public.t DROP COLUMN IF EXISTS w",
    "TRUNCATE public.kids",
    "CREATE OR REPLACE RULE other AS ON INSERT TO b.t DO ALSO UPDATE public.t SET v = 'by a rule'",
    "DROP RULE IF EXISTS other ON b.t",
    "CREATE OR REPLACE VIEW public.both_t AS SELECT v FROM public.t",
    "CREATE OR REPLACE VIEW public.both_t AS SELECT v FROM public.t UNION ALL SELECT v FROM b.t",
    "ALTER POLICY own ON public.docs USING (owner = current_user)",
    "ALTER POLICY own ON public.docs USING (owner = current_user OR owner = current_setting('app.tenant', true))",
    "DO $$ BEGIN ALTER TABLE public.t ADD COLUMN IF NOT EXISTS w int; COMMIT; PERFORM 1 / 0; END $$",
)
SWAP = "swap the names of two roles"
_SWAPPED = (
    f"ALTER ROLE {ROLE} RENAME TO twins_nobody; ALTER ROLE {THIRD} RENAME TO {ROLE};"
    f" ALTER ROLE twins_nobody RENAME TO {THIRD}"
)


class Step(NamedTuple):
    """`who` says this, by the simple protocol or the other one."""

    who: int
    sql: str
    simple: bool

    @property
    def request(self) -> bytes:
        """The bytes of it."""
        return frames.query(self.sql) if self.simple else frames.extended(self.sql) + frames.sync()


def _steps(who: int, *kinds: tuple[str, ...]) -> st.SearchStrategy[Step]:
    reads = tuple(CACHE + sql for sql in READS)
    text = st.one_of([st.sampled_from(kind) for kind in (reads, reads, reads, *kinds)])
    return st.builds(Step, st.just(who), text, st.booleans())


# One only reads: two that write would have to wait for each other, and nobody here can wait.
STEPS = st.lists(
    _steps(0, _SETTINGS, _TRANSACTIONS, _STATE, _WRITES, _CHANGES)
    | st.just(Step(0, SWAP, simple=True))
    | st.builds(Step, st.just(0), st.sampled_from(_LOCKING), st.just(True))
    | _steps(1, _SETTINGS, _TRANSACTIONS, _STATE),
    min_size=20,
    max_size=40,
)


def prepare(cluster: Cluster) -> None:
    """Make the twins' database, and the same tables in both."""
    with cluster.connect(database="postgres") as boss:
        boss.execute(f"CREATE ROLE {ROLE} LOGIN; CREATE ROLE {THIRD} LOGIN")
        boss.execute(f"GRANT {ROLE}, {THIRD} TO app")
        boss.execute(f"CREATE DATABASE {TWIN} TEMPLATE template0 OWNER app")
    for database in ("shop", TWIN):
        with cluster.connect(database=database) as boss:
            boss.execute("SET client_min_messages = error")
            boss.execute(_DEFINITIONS)


def tidy(cluster: Cluster) -> None:
    """Take them away again."""
    with cluster.connect() as boss:
        boss.execute(f"DROP DATABASE {TWIN} WITH (FORCE)")
        boss.execute("DROP SCHEMA b CASCADE")
        boss.execute(f"DROP OWNED BY {ROLE}, {THIRD}")
        boss.execute(f"DROP ROLE {ROLE}, {THIRD}")


def fill(place: Direct, database: str) -> None:
    """Give the tables the rows that they begin with."""
    with place.wire("boss", database) as boss:
        said = boss.ask(frames.query(_FRESH))
        assert not errors(said), said


class Pairs:
    """Two clients and their twins. `hits` counts replies that no server gave."""

    def __init__(self, place: Direct) -> None:
        direct = Direct(place.cluster)
        self._pairs = [
            (place.wire(parameters={"options": "-c pgbeam.debug=on"}), direct.wire(database=TWIN)) for _ in range(2)
        ]
        for each, database in ((place, "shop"), (direct, TWIN)):
            fill(each, database)
        self._status = [b"I", b"I"]
        self.hits = 0
        self._boss = place.wire("boss", "shop")

    def close(self) -> None:
        """Send them away."""
        self._boss.close()
        for pair in self._pairs:
            for one in pair:
                one.close()

    def both(self, step: Step) -> tuple[list[Frame], list[Frame]]:
        """What the client is told, and what its twin is."""
        if step.sql == SWAP:
            return self._swap()
        if step.sql in _LOCKING and any(each != b"I" for each in self._status):
            return [], []
        client, twin = self._pairs[step.who]
        said = _ask(client, step)
        self._status[step.who] = said[-1].body
        self.hits += any(frame.tag == b"N" and b"cache=hit" in frame.body for frame in said)
        return told(said), told(_ask(twin, step))

    def _swap(self) -> tuple[list[Frame], list[Frame]]:
        """Roles are the same in both databases. Nobody is one of them meanwhile: direct, whoever is one stays it."""
        self._status = [b"I", b"I"]
        for pair in self._pairs:
            for one in pair:
                for sql in ("ROLLBACK", "RESET SESSION AUTHORIZATION", "RESET ROLE"):
                    one.ask(frames.query(sql))
        assert not errors(self._boss.ask(frames.query(_SWAPPED)))
        return [], []


def _ask(one: WireClient, step: Step) -> list[Frame]:
    return one.ask(step.request)


def errors(said: list[Frame]) -> list[str]:
    """The SQLSTATEs of the errors among frames."""
    return [error_fields(frame.body)["C"] for frame in said if frame.tag == b"E"]


def told(said: list[Frame]) -> list[Frame]:
    """Rows, tags, status and errors by SQLSTATE. Descriptions name tables by numbers, which are each database's own."""
    kept = [frame for frame in said if frame.tag in (b"D", b"C", b"Z")]
    return kept + [Frame(b"E", state.encode()) for state in errors(said)]
