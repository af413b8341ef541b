"""Schedules of two clients: transactions interleaved statement by statement, locks and all, beside direct twins."""

from __future__ import annotations

import contextlib
import time
from typing import NamedTuple

import psycopg
from hypothesis import strategies as st

from tests.behaviour import frames
from tests.behaviour.beams import Direct
from tests.behaviour.clusters import DATABASE, Cluster
from tests.behaviour.wireclient import Frame, WireClient, error_fields

TWIN = "twin"
"""The second database, with the same tables: what happens there is right."""
CACHED = "/* @pgbeam:cache maxAge=600 */ "
SECONDS = 20.0
"""How long a statement may take that waits for nobody."""

_DEFINITIONS = """
SET client_min_messages = error;
DROP SCHEMA IF EXISTS turn CASCADE;
CREATE SCHEMA turn AUTHORIZATION app;
SET ROLE app;
CREATE TABLE turn.account (id int PRIMARY KEY, n int NOT NULL);
CREATE TABLE turn.entry (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, account int, n int);
CREATE TABLE turn.total (id int PRIMARY KEY, n int NOT NULL);
CREATE VIEW turn.sums AS
    SELECT account, sum(n) AS n FROM turn.entry GROUP BY account;
CREATE FUNCTION turn.bump(int) RETURNS int LANGUAGE sql AS
    'UPDATE turn.account SET n = n + 100 WHERE id = $1 RETURNING n';
CREATE FUNCTION turn.seen(int) RETURNS bigint LANGUAGE sql STABLE AS
    'SELECT count(*) FROM turn.entry WHERE account = $1';
CREATE PROCEDURE turn.settle(int) LANGUAGE plpgsql AS
    'BEGIN UPDATE turn.account SET n = 0 WHERE id = $1; INSERT INTO turn.entry (account, n) VALUES ($1, 0); END';
CREATE FUNCTION turn.count() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN UPDATE turn.total SET n = n + 1 WHERE id = NEW.account; RETURN NULL; END';
CREATE TRIGGER counted AFTER INSERT ON turn.entry FOR EACH ROW EXECUTE FUNCTION turn.count();
"""
_FRESH = """
DO $$ BEGIN
    DELETE FROM turn.entry; DELETE FROM turn.account; DELETE FROM turn.total;
    INSERT INTO turn.account SELECT id, id * 10 FROM generate_series(1, 3) AS id;
    INSERT INTO turn.total SELECT id, 0 FROM generate_series(1, 4) AS id;
END $$
"""
_WAIT = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND cardinality(pg_blocking_pids(pid)) > 0"
_FINAL = (
    "SELECT * FROM turn.account ORDER BY id",
    "SELECT account, n FROM turn.entry ORDER BY account, n",
    "SELECT * FROM turn.total ORDER BY id",
)

READS = (
    "SELECT n FROM turn.account WHERE id = {}",
    "SELECT n FROM turn.account WHERE id = {}",
    "SELECT id, n FROM turn.account ORDER BY id",
    "SELECT sum(n), count(*) FROM turn.account",
    "SELECT count(*) FROM turn.entry",
    "SELECT account, n FROM turn.sums ORDER BY account",
    "SELECT n FROM turn.total WHERE id = {}",
    "SELECT a.id, (SELECT count(*) FROM turn.entry e WHERE e.account = a.id) FROM turn.account a ORDER BY 1",
)
_OTHER_READS = (
    "SELECT turn.seen({})",
    "SELECT 1 / (n - n) FROM turn.account WHERE id = {}",
    "SELECT no_such_column FROM turn.account",
    "SELECT n FROM turn.account WHERE id = {} FOR UPDATE",
    "SELECT n FROM turn.account WHERE id = {} FOR SHARE",
    "SELECT n FROM turn.account WHERE id = {} FOR UPDATE NOWAIT",
    "SELECT id FROM turn.account WHERE id < 4 ORDER BY id FOR UPDATE SKIP LOCKED",
    "SHOW transaction_isolation",
)
_WRITES = (
    "UPDATE turn.account SET n = n + 1 WHERE id = {}",
    "UPDATE turn.account SET n = n + 1 WHERE id = {} AND n % 2 = 0",
    "INSERT INTO turn.account VALUES ({}, 5) ON CONFLICT (id) DO UPDATE SET n = turn.account.n + 5",
    "INSERT INTO turn.account VALUES ({}, 7)",
    "DELETE FROM turn.account WHERE id = {}",
    "INSERT INTO turn.entry (account, n) VALUES ({}, 3)",
    "WITH gone AS (DELETE FROM turn.entry WHERE account = {} RETURNING n) SELECT count(*) FROM gone",
    "SELECT turn.bump({})",
    "CALL turn.settle({})",
)
_BEGINS = (
    "BEGIN",
    "BEGIN",
    "BEGIN",
    "START TRANSACTION ISOLATION LEVEL READ COMMITTED",
    "BEGIN READ ONLY",
    "BEGIN ISOLATION LEVEL REPEATABLE READ",
)
_ENDS = ("COMMIT", "COMMIT", "ROLLBACK", "COMMIT AND CHAIN", "ROLLBACK AND CHAIN")
_POINTS = ("SAVEPOINT a", "ROLLBACK TO a", "RELEASE a", "SAVEPOINT b", "ROLLBACK TO b")
ELSEWHERE = (
    "UPDATE turn.account SET n = n + 1000 WHERE id = 4",
    "INSERT INTO turn.account VALUES (4, 40) ON CONFLICT DO NOTHING",
)
"""What a third party does past PgBeam, to a row that nobody else writes: so it waits for nobody."""


class Turn(NamedTuple):
    """Client `who` (2: a third party, directly on the server) says this; `way`: simple, extended, or behind BEGIN."""

    who: int
    sql: str
    way: str = "simple"

    @property
    def request(self) -> bytes:
        """The bytes of it."""
        if self.way == "simple":
            return frames.query(self.sql)
        begin = frames.extended("BEGIN") if self.way == "begun" else b""
        return begin + frames.extended(self.sql) + frames.sync()


def turns(*, cached: bool) -> st.SearchStrategy[list[Turn]]:
    """Schedules. With cached reads nobody writes past PgBeam, so remembered rows are as new as any."""
    row = st.sampled_from("123")
    reads = st.sampled_from(READS).map(lambda sql: CACHED + sql) if cached else st.sampled_from(READS)
    rows = st.one_of(reads, reads, st.sampled_from(_OTHER_READS), st.sampled_from(_WRITES), st.sampled_from(_WRITES))
    text = st.builds(str.format, rows, row)
    bounds = st.one_of([st.sampled_from(kind) for kind in (_BEGINS, _BEGINS, _ENDS, _ENDS, _POINTS)])
    who, way = st.sampled_from([0, 1]), st.sampled_from(["simple", "extended"])
    one = st.one_of(
        st.builds(Turn, who, text, way),
        st.builds(Turn, who, text, way),
        st.builds(Turn, who, bounds, way),
        st.builds(Turn, who, text, st.just("begun")),
    )
    if not cached:
        one |= st.builds(Turn, st.just(2), st.sampled_from(ELSEWHERE), st.just("simple"))
    return st.lists(one, min_size=20, max_size=50)


def prepare(cluster: Cluster) -> None:
    """Make the twins' database, and the same tables in both."""
    with cluster.connect(database="postgres") as boss:
        boss.execute(f"CREATE DATABASE {TWIN} TEMPLATE template0 OWNER app")
    for database in (DATABASE, TWIN):
        with cluster.connect(database=database) as boss:
            boss.execute(f"ALTER DATABASE {database} SET deadlock_timeout = '50ms'")
            boss.execute(_DEFINITIONS)


def tidy(cluster: Cluster) -> None:
    """Take them away again."""
    with cluster.connect() as boss:
        boss.execute(f"DROP DATABASE {TWIN} WITH (FORCE)")
        boss.execute(f"ALTER DATABASE {DATABASE} RESET ALL")
        boss.execute("DROP SCHEMA turn CASCADE")


class Side:
    """Both clients in one of the two databases; `waits` has those whose statement waits for a lock of the other."""

    def __init__(self, place: Direct, database: str, **parameters: str) -> None:
        self.database = database
        self.clients: list[WireClient] = [place.wire("app", database, parameters=parameters) for _ in range(2)]
        self.waits: set[int] = set()
        self._begun: list[list[Frame]] = [[], []]
        with place.wire("boss", database) as boss:
            assert not [each for each in boss.ask(frames.query(_FRESH)) if each.tag == b"E"]
        self.boss = place.cluster.connect(database=database)
        self.boss.execute("SET lock_timeout = '10s'")

    def close(self) -> None:
        """Hang up."""
        self.boss.close()
        for client in self.clients:
            client.close()

    def send(self, turn: Turn) -> None:
        """Have the client of this turn say it."""
        self.clients[turn.who].send(turn.request)
        self.waits.add(turn.who)

    def settle(self) -> dict[int, list[Frame]]:
        """The replies of all that do not wait for a lock any more, once it is clear who does."""
        said: dict[int, list[Frame]] = {}
        deadline = time.monotonic() + SECONDS
        while self.waits:
            for who in sorted(self.waits):
                if self._hear(who):
                    said[who], self._begun[who] = self._begun[who], []
                    self.waits.discard(who)
            # Two that wait for each other are ended by the server.
            if len(self.waits) == 1 and self._blocked() == 1:
                break
            assert time.monotonic() < deadline, f"{self.database}: {self.waits} neither answered nor waiting for a lock"
        return said

    def _hear(self, who: int) -> bool:
        """Take what has come for that client: a part may come before the statement waits. Whether it is all."""
        got = self._begun[who]
        with contextlib.suppress(TimeoutError):
            while not got or got[-1].tag != b"Z":
                got.append(self.clients[who].frame(0.002))
            return True
        return False

    def _blocked(self) -> int:
        return int((self.boss.execute(_WAIT, [self.database]).fetchone() or (0,))[0])

    def elsewhere(self, sql: str) -> str:
        """A third party says this; what came of it."""
        try:
            return self.boss.execute(sql.encode()).statusmessage or ""
        except psycopg.Error as problem:
            return problem.sqlstate or "no answer"

    def rows(self) -> list[object]:
        """What the tables have in the end."""
        return [self.boss.execute(sql.encode()).fetchall() for sql in _FINAL]


class Schedule:
    """One run of a schedule on both sides; `notices` counts what PgBeam said of the client's statements."""

    def __init__(self, place: Direct) -> None:
        self.right = Side(Direct(place.cluster), TWIN)
        self.beam = Side(place, DATABASE, options="-c pgbeam.debug=on")
        self.over = False
        self.status = [b"I", b"I"]
        self.notices = {b"cache=hit": 0, b"transaction=lazy": 0, b"waited": 0}

    def close(self) -> None:
        """Send everybody away."""
        self.right.close()
        self.beam.close()

    def play(self, turns: list[Turn]) -> None:
        """Take the turns, but for those of a client that waits; then end what is open and compare the tables."""
        for number, turn in enumerate(turns):
            if not self.over:
                self.take(turn, f"turn {number}: {turn}")
        for _ in range(2):
            for who in (0, 1):
                if not self.over:
                    self.take(Turn(who, "ROLLBACK"), f"the end of {who}")
        if not self.over:
            assert self.beam.rows() == self.right.rows()

    def take(self, turn: Turn, where: str) -> None:
        """One turn on both sides."""
        if turn.who == 2:
            assert self.beam.elsewhere(turn.sql) == self.right.elsewhere(turn.sql), where
            return
        if turn.who in self.right.waits:
            return
        if turn.way == "begun" and self.status[turn.who] != b"I":
            return
        self.right.send(turn)
        right = self.right.settle()
        self.beam.send(turn)
        said = self.beam.settle()
        self.notices[b"waited"] += bool(self.right.waits)
        if any(state == "40P01" for each in right.values() for state in _states(each)) and _victims(said) != _victims(
            right
        ):
            self.over = True  # the server chose the other one: both are right, and nothing can be compared from here on
            return
        assert {who: told(each) for who, each in said.items()} == {who: told(each) for who, each in right.items()}, (
            where
        )
        assert self.beam.waits == self.right.waits, where
        for who, each in said.items():
            self.status[who] = each[-1].body
            for word in self.notices:
                self.notices[word] += any(frame.tag == b"N" and word in frame.body for frame in each)


def _states(said: list[Frame]) -> list[str]:
    return [error_fields(frame.body)["C"] for frame in said if frame.tag == b"E"]


def _victims(said: dict[int, list[Frame]]) -> set[int]:
    return {who for who, each in said.items() if "40P01" in _states(each)}


def told(said: list[Frame]) -> list[tuple[bytes, bytes | str]]:
    """Rows, tags, status, and errors by SQLSTATE and message, in their order. Details of deadlocks have process ids."""
    kept: list[tuple[bytes, bytes | str]] = []
    for frame in said:
        if frame.tag in (b"D", b"C", b"Z"):
            kept.append((frame.tag, frame.body))
        elif frame.tag == b"E":
            fields = error_fields(frame.body)
            kept.append((b"E", f"{fields['S']} {fields['C']} {fields['M']}"))
    return kept
