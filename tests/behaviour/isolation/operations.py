"""What the two clients may do: Hypothesis strategies of requests, each valid or wrong by chance, as in real life."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.behaviour import frames

from .op import Op, one, simple
from .own_code import code, keeping_code

SETTINGS = {
    "work_mem": ["4MB", "64kB", "1234kB", "nonsense"],
    "timezone": ["UTC", "Europe/Berlin", "America/New_York"],
    "datestyle": ["ISO, MDY", "German", "SQL, DMY", "ISO"],
    "search_path": ["public", "own_~", '"$user", public, own_~', "pg_catalog"],
    "extra_float_digits": ["0", "3", "-5"],
    "bytea_output": ["escape", "hex"],
    "standard_conforming_strings": ["on", "off"],
    "client_min_messages": ["notice", "warning", "debug5x"],
    "enable_seqscan": ["on", "off"],
    "statement_timeout": ["0", "20s"],
    "default_transaction_isolation": ["serializable", "read committed"],
    "my.own": ["", "x", "it''s ~"],
}
_ALL_SET = (
    "SELECT string_agg(name || '=' || setting, '; ' ORDER BY name) FROM pg_settings"
    " WHERE source = 'session' AND name <> 'application_name' AND name NOT LIKE 'transaction%'"
)


@st.composite
def settings(draw: st.DrawFn) -> Op:
    """SET in all its forms, RESET, SHOW, set_config(), by the simple or the extended protocol."""
    name = draw(st.sampled_from(sorted(SETTINGS)))
    value = draw(st.sampled_from(SETTINGS[name]))
    given = value if name == "search_path" else f"'{value}'"
    forms = [f"SET {name} = {given}", f"SET LOCAL {name} TO {given}", f"SET SESSION {name} = {given}"]
    forms += [f"SET {name} TO DEFAULT", f"RESET {name}", "RESET ALL", f"SHOW {name}"]
    forms += [f"SELECT set_config('{name}', '{value}', {local})" for local in ("false", "true")]
    forms += [f"SELECT current_setting('{name}', true)", _ALL_SET, _ALL_SET]
    text = draw(st.sampled_from(forms))
    if draw(st.booleans()):
        return simple(text)
    return Op("extended " + text, frames.extended(text) + frames.sync())


def roles() -> st.SearchStrategy[Op]:
    """SET ROLE and its kin, whose effect every later query shows."""
    return one(
        "SET ROLE two_clients",
        "SET ROLE none",
        "RESET ROLE",
        "SET SESSION AUTHORIZATION DEFAULT",
        "SET LOCAL ROLE two_clients",
        "SELECT current_user, session_user",
    )


def transactions() -> st.SearchStrategy[Op]:
    """BEGIN, COMMIT and everything between, in and out of order."""
    begins = one("BEGIN", "BEGIN", "BEGIN ISOLATION LEVEL SERIALIZABLE", "START TRANSACTION READ ONLY")
    ends = one("COMMIT", "ROLLBACK", "COMMIT", "ROLLBACK", "COMMIT AND CHAIN", "END")
    points = one("SAVEPOINT s1", "SAVEPOINT s2", "ROLLBACK TO s1", "ROLLBACK TO s2", "RELEASE s1")
    kinds = one("SET TRANSACTION READ ONLY", "SHOW transaction_isolation", "SHOW transaction_read_only", "SELECT 1/0")
    several = one(
        "BEGIN; SET work_mem = '99kB'; COMMIT",
        "SET work_mem = '98kB'; SELECT 1/0; SELECT 2",
        "SELECT 1; BEGIN; SELECT 2",
        "INSERT INTO own_~.t (n) VALUES (7); ROLLBACK",
        "",
        "SELEC 1",
    )
    return st.one_of(begins, begins, ends, ends, points, points, kinds, several)


_TEXTS = [
    ("SELECT $1::int + 1", (b"41",)),
    ("SELECT id, n FROM own_~.t WHERE n > $1 ORDER BY id", (b"2",)),
    ("SELECT * FROM own_~.t ORDER BY id LIMIT 3", ()),
    ("INSERT INTO own_~.t (n) VALUES ($1) RETURNING id, n", (b"5",)),
    ("UPDATE own_~.t SET n = n + 1 WHERE id = $1", (b"1",)),
    ("SELECT n FROM t ORDER BY id", ()),
    ("SELECT generate_series(1, 7)", ()),
    ("SELECT $1::text, current_setting('TimeZone')", (b"~",)),
    ("SELECT 10 / (i - $1::int) FROM generate_series(1, 1) i", (b"1",)),
    ("SELECT $1::timestamptz, 0.1::float8 / 3", (b"2024-02-29 12:00:00+00",)),
    ("SELECT nothing FROM nowhere", ()),
    ("SET work_mem = '77kB'", ()),
    ("BEGIN", ()),
    ("BEGIN READ ONLY", ()),
    ("SAVEPOINT s1", ()),
    ("ROLLBACK TO s1", ()),
    ("COMMIT", ()),
    ("ROLLBACK", ()),
]
_NAMES = st.sampled_from(["", "p1", "p2", "p3"])


@st.composite
def messages(draw: st.DrawFn) -> tuple[str, bytes]:
    """A few messages of the extended protocol about one statement."""
    name, (text, values) = draw(_NAMES), draw(st.sampled_from(_TEXTS))
    formats = draw(st.sampled_from([(), (1,)]))
    parse = frames.parse(text, name, draw(st.sampled_from([(), (25,) if values else ()])))
    use = frames.bind(*values, statement=name, results=formats)
    portal = draw(st.sampled_from(["", "", "c1"]))
    if portal:
        use = frames.bind(*values, statement=name, portal=portal, results=formats)
    part = frames.execute(portal, draw(st.sampled_from([0, 0, 0, 2])))
    described = frames.describe(portal) if draw(st.booleans()) else b""
    whole = parse + use + described + part
    ways = {
        "all": whole,
        "again": frames.close(name) + whole,
        "parse": parse,
        "describe": frames.describe(name, b"S"),
        "use": use + described + part,
        "twice": use + part + use.replace(b"5", b"6") + part,
        "close": frames.close(name),
        "fetch": frames.execute("c1", 2),
        "close portal": frames.close("c1", b"P"),
        "too many values": frames.bind(b"1", b"2", statement=name) + part,
    }
    way = draw(st.sampled_from(sorted(ways)))
    return f"{way} {name!r} {portal} {text} {values}", ways[way]


@st.composite
def extended(draw: st.DrawFn) -> Op:
    """One to four of these, with a Sync at the end and perhaps some between."""
    say, data, syncs = [], b"", 1
    for number, (said, part) in enumerate(draw(st.lists(messages(), min_size=1, max_size=4))):
        if number and draw(st.integers(0, 3)) == 0:
            data, syncs = data + frames.sync(), syncs + 1
            say.append("sync")
        data += part
        say.append(said)
    return Op(" | ".join(say), data + frames.sync(), ready=syncs)


def prepared_by_sql() -> st.SearchStrategy[Op]:
    """PREPARE and EXECUTE; the names with p are those of the protocol's statements."""
    return one(
        "PREPARE p1 AS SELECT 'by SQL ~'",
        "PREPARE p2 (int) AS SELECT $1 + 100",
        "EXECUTE p1",
        "EXECUTE p2 (3)",
        "EXECUTE own1",
        "EXECUTE p3 (3)",
        "DEALLOCATE p1",
        "DEALLOCATE p2",
        "DEALLOCATE ALL",
        "SELECT name FROM pg_prepared_statements WHERE from_sql ORDER BY name",
        keeps=True,
    )


def temporary() -> st.SearchStrategy[Op]:
    """Temporary tables, one of which hides an own table."""
    return one(
        "CREATE TEMP TABLE mine (v text)",
        "CREATE TEMP TABLE mine (v text) ON COMMIT DROP",
        "CREATE TEMP TABLE t AS SELECT -1 AS id, -2 AS n",
        "INSERT INTO mine VALUES ('~')",
        "SELECT * FROM mine",
        "SELECT count(*) FROM t",
        "DROP TABLE mine",
        "DROP TABLE pg_temp.t",
        "DISCARD TEMP",
        "SELECT relname FROM pg_class WHERE relnamespace = pg_my_temp_schema() AND relkind = 'r' ORDER BY 1",
        keeps=True,
    )


def locks() -> st.SearchStrategy[Op]:
    """Advisory locks with keys of the client's own."""
    return one(
        "SELECT pg_advisory_lock(ascii('~'))",
        "SELECT pg_try_advisory_lock(ascii('~'), 2)",
        "SELECT pg_advisory_unlock(ascii('~'))",
        "SELECT pg_advisory_unlock_all()",
        "SELECT pg_advisory_xact_lock(ascii('~'), 3)",
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()",
        keeps=True,
    )


def cursors() -> st.SearchStrategy[Op]:
    """SQL cursors, some of which outlive their transaction."""
    return one(
        "DECLARE h CURSOR WITH HOLD FOR SELECT generate_series(1, 9), '~'",
        "DECLARE k CURSOR FOR SELECT id, n FROM own_~.t ORDER BY id",
        "FETCH 2 FROM h",
        "FETCH 2 FROM k",
        "MOVE BACKWARD 1 IN h",
        "CLOSE h",
        "CLOSE k",
        "CLOSE ALL",
        "SELECT name, is_holdable FROM pg_cursors WHERE name IN ('h', 'k') ORDER BY name",
        keeps=True,
    )


def notifications() -> st.SearchStrategy[Op]:
    """LISTEN and NOTIFY on the client's own channel."""
    return one(
        "LISTEN channel_~",
        "NOTIFY channel_~, 'hello'",
        "SELECT pg_notify('channel_~', 'and again')",
        "UNLISTEN channel_~",
        "UNLISTEN *",
        "SELECT pg_listening_channels()",
        keeps=True,
    )


def blocks() -> st.SearchStrategy[Op]:
    """What only the server knows the effect of."""
    return one(
        "DO $$ BEGIN PERFORM set_config('work_mem', '333kB', false); END $$",
        "DO $$ BEGIN PERFORM set_config('TimeZone', 'Asia/Tokyo', true); END $$",
        "DO $$ BEGIN RAISE NOTICE 'this is ~'; END $$",
        "DO $$ BEGIN PERFORM set_config('work_mem', '334kB', false); PERFORM 1/0; END $$",
        "DO $$ BEGIN EXECUTE 'SET extra_float_digits = 1'; EXECUTE 'RESET timezone'; END $$",
        "SELECT own_~.set_it('datestyle', 'Postgres, DMY')",
        "SELECT own_~.set_it('my.own', 'by a function')",
        "SELECT own_~.set_it('work_mem', '70kB'), 1/0",
    )


def keeping_blocks() -> st.SearchStrategy[Op]:
    """Likewise, where it may leave what cannot follow."""
    return one(
        "DO $$ BEGIN CREATE TEMP TABLE IF NOT EXISTS mine (v text); END $$",
        "DO $$ BEGIN PERFORM pg_advisory_lock(ascii('~'), 9); END $$",
        "DO $$ BEGIN EXECUTE 'LISTEN channel_~'; END $$",
        keeps=True,
    )


def tables() -> st.SearchStrategy[Op]:
    """Reading, writing and changing an own table."""
    rows = b"1001\t5\n1002\t6\n"
    copying = st.sampled_from(
        [
            simple("COPY own_~.t (id, n) FROM STDIN", then=frames.copy_data(rows) + frames.copy_done()),
            simple("COPY own_~.t (id, n) FROM STDIN", then=frames.copy_data(b"x\n") + frames.copy_done()),
            simple("COPY own_~.t (id, n) FROM STDIN", then=frames.copy_fail("no more")),
            simple("COPY (SELECT id, n FROM own_~.t ORDER BY id LIMIT 3) TO STDOUT"),
        ]
    )
    plain = one(
        "INSERT INTO own_~.t (n) SELECT generate_series(1, 3)",
        "SELECT id, n FROM own_~.t ORDER BY id LIMIT 5",
        "SELECT count(*) FROM own_~.t",
        "SELECT * FROM t ORDER BY 1 LIMIT 2",
        "DELETE FROM own_~.t WHERE n > 4",
        "SELECT '~'",
        "SELECT id FROM own_~.t ORDER BY id LIMIT 1 FOR UPDATE",
        "TRUNCATE own_~.t",
    )
    changing = one("ALTER TABLE own_~.t ADD COLUMN extra int DEFAULT 9", "ALTER TABLE own_~.t DROP COLUMN extra")
    return st.one_of(plain, plain, copying, changing)


def discarding() -> st.SearchStrategy[Op]:
    """Giving up what was left behind."""
    return one("DISCARD ALL", "DISCARD PLANS", "DISCARD SEQUENCES", "DISCARD ALL")


def following() -> st.SearchStrategy[Op]:
    """Everything that can follow a client from server to server."""
    return st.one_of(
        settings(), settings(), transactions(), transactions(), extended(), extended(), extended(), tables(), blocks(),
        roles(), discarding(), code(), code(),
    )  # fmt: skip


def anything() -> st.SearchStrategy[Op]:
    """Everything that a client may do."""
    keeping = st.one_of(
        prepared_by_sql(), temporary(), locks(), cursors(), notifications(), keeping_blocks(), keeping_code()
    )
    return st.one_of(following(), following(), keeping)
