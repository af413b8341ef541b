"""A state machine of two clients that share one or two servers, each compared with a connection of its own."""

from __future__ import annotations

import time
from typing import ClassVar

import psycopg
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.behaviour import frames
from tests.behaviour.beams import Direct
from tests.behaviour.clusters import DATABASE, Cluster
from tests.behaviour.differential.running import Transcript, difference
from tests.behaviour.wireclient import Closed, Frame, WireClient

from . import in_transactions, operations, own_code
from .op import ME, Op, simple

TWIN = "twin"
"""The second database, with the same tables: what happens there is right."""
ROLE = "two_clients"
WHO = st.sampled_from([0, 1])
_STALE = b"Mcached plan must not change result type\0"
_TABLES = """
SET client_min_messages = error;
DROP SCHEMA IF EXISTS own_{me} CASCADE;
CREATE SCHEMA own_{me} AUTHORIZATION app;
SET ROLE app;
CREATE TABLE own_{me}.t (id serial PRIMARY KEY, n int);
INSERT INTO own_{me}.t (n) VALUES (1), (2), (3);
CREATE FUNCTION own_{me}.set_it(text, text) RETURNS text LANGUAGE sql AS 'SELECT set_config($1, $2, false)';
{code}
RESET ROLE;
"""
_RUNNING = "SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND query = %s"
_PREPARED = "SELECT gid FROM pg_prepared_xacts WHERE database = current_database()"
_SIDES = (b"x", b"y")
_CLOSED = Frame(b"-", b"the connection is closed")
"""Stands behind an error that ends a session. PostgreSQL ends it where EXECUTE runs, outside of a transaction, what the
protocol has prepared as SAVEPOINT."""
_NAMED_IN_CONTEXT = r"PL/pgSQL function (own_[ab]\.)?"
"""With its schema or without: as it was when the server first ran it, one of the known limits."""

_NO_TEMPORARY_TABLE = (
    r'(C3F000\x00Mschema "pg_temp"|C42P01\x00Mtable "t") does not exist\x00Ftablecmds\.c\x00L[0-9]+\x00RDropErrorMsgNon'
)
"""What DROP TABLE pg_temp.t says depends on whether the server has ever had a temporary object: another of them."""


def prepare(cluster: Cluster) -> None:
    """Make the second database and the role that clients may change to.

    A parameter of one's own is there from the start: whether it reads as empty or as null once anybody has set it on a
    server is one of the known limits.
    """
    with cluster.connect() as boss:
        boss.execute(f"CREATE ROLE {ROLE}")
        boss.execute(f"GRANT {ROLE} TO app")
        boss.execute(f"CREATE DATABASE {TWIN} TEMPLATE template0 OWNER app")
        for database in (DATABASE, TWIN):
            boss.execute(f"ALTER DATABASE {database} SET my.own = ''")


def tidy(cluster: Cluster) -> None:
    """Take them away again."""
    with cluster.connect() as boss:
        boss.execute(f"ALTER DATABASE {DATABASE} RESET my.own")
        boss.execute(f"DROP DATABASE {TWIN} WITH (FORCE)")
        boss.execute(b"DROP SCHEMA IF EXISTS own_a, own_b CASCADE")
        boss.execute(f"DROP ROLE {ROLE}")


class Pair:
    """One client through PgBeam and its twin, direct; each gets the same and has to be told the same."""

    def __init__(self, place: Direct, letter: bytes) -> None:
        self.place, self.letter = place, letter
        self.status = b"I"
        self.keeps = False
        """It may have state on its server."""
        self.client, self.twin = self._connect()
        self.said: Transcript = [self.client.greeting]
        self.right: Transcript = [self.twin.greeting]

    def _connect(self) -> tuple[WireClient, WireClient]:
        name = {"application_name": f"client {self.letter.decode()}"}
        return self.place.wire(parameters=name), Direct(self.place.cluster).wire(database=TWIN, parameters=name)

    def send(self, op: Op) -> None:
        """Ask both."""
        self.keeps |= op.keeps
        for one, side in zip((self.client, self.twin), _SIDES, strict=True):
            one.send(op.of(self.letter).replace(b"@'", side + b"'"))

    def receive(self, op: Op) -> None:
        """Read what both say and compare."""
        right, said = (_reply(one, op, self.letter) for one in (self.twin, self.client))
        if any(_STALE in frame.body for frame in right) and self.status == b"I":
            # A new plan is made behind the client's back: better than the twin, so its answer is the measure.
            right = [frame for frame in said if frame.tag in b"12nTDCsIZENS"]
        self.said.append(said)
        self.right.append(right)
        problem = difference(self.right, self.said, [in_transactions.ANY_GID, _NAMED_IN_CONTEXT, _NO_TEMPORARY_TABLE])
        assert not problem, f"client {self.letter.decode()}: {op.say}\n{problem}"
        if said[-1] == _CLOSED:
            self.come_again(politely=False)
        else:
            self.status = said[-1].body

    def do(self, op: Op) -> None:
        """Ask, read, compare."""
        self.send(op)
        self.receive(op)

    def cancel(self) -> None:
        """Cancel what runs, or nothing if nothing does."""
        for one in (self.client, self.twin):
            one.cancel()

    def be_cancelled(self, op: Op) -> None:
        """Run something that takes long, on both, and cancel it once it does."""
        self.send(op)
        self._wait_until_both_run(op.say.removeprefix("extended ").replace("~", self.letter.decode()))
        self.cancel()
        self.receive(op)
        # Else it is run again by whoever binds the unnamed statement next, and nobody cancels that.
        self.do(Op("close the unnamed statement", frames.close() + frames.sync()))

    def _wait_until_both_run(self, text: str) -> None:
        deadline = time.monotonic() + 10
        with self.place.cluster.connect() as boss:
            while len(boss.execute(_RUNNING, [text]).fetchall()) < 2:
                if time.monotonic() > deadline:
                    now = boss.execute("SELECT datname, state, wait_event, query FROM pg_stat_activity").fetchall()
                    raise AssertionError(f"{text} does not run on both: {now}")
                time.sleep(0.005)

    def release(self) -> None:
        """End the transaction and give up all state."""
        if self.status != b"I":
            self.do(simple("ROLLBACK"))
        if self.keeps:
            self.do(simple("DISCARD ALL"))
            self.keeps = False

    def come_again(self, *, politely: bool) -> None:
        """Leave and connect anew."""
        for one in (self.client, self.twin):
            if politely:
                one.send(frames.terminate())
            one.close()
        self.client, self.twin = self._connect()
        self.said, self.right = [self.client.greeting], [self.twin.greeting]
        self.status, self.keeps = b"I", False

    def close(self) -> None:
        """Hang up."""
        self.client.close()
        self.twin.close()


def _reply(client: WireClient, op: Op, letter: bytes) -> list[Frame]:
    got: list[Frame] = []
    left = op.ready
    while left:
        try:
            got.append(client.frame())
        except (Closed, TimeoutError, ConnectionError) as end:
            if isinstance(end, Closed) and got and got[-1].tag == b"E" and b"VFATAL\0" in got[-1].body:
                return [*got, _CLOSED]
            raise AssertionError(f"{op.say}: {end!r} after {got[-3:]}, {left} ReadyForQuery missing") from end
        if got[-1].tag == b"G":
            client.send(op.then.replace(ME, letter))
        left -= got[-1].tag == b"Z"
    return got


class TwoClients(RuleBasedStateMachine):
    """Set `place` in a subclass, and `servers`, PgBeam's max_active: with 1, who has the server gives it up first."""

    place: ClassVar[Direct]
    servers: ClassVar[int]

    @initialize()
    def arrive(self) -> None:
        """Two clients with fresh tables."""
        for database in (DATABASE, TWIN):
            with self.place.cluster.connect(database=database) as boss:
                for letter in "ab":
                    boss.execute(_TABLES.format(me=letter, code=own_code.CODE.format(me=letter)).encode())
        self.pairs = [Pair(self.place, letter) for letter in (b"a", b"b")]
        self.read_on(0)

    @rule(who=WHO, ops=st.lists(operations.anything(), min_size=1, max_size=3))
    def ask(self, who: int, ops: list[Op]) -> None:
        """One of them asks something, or several things one after the other."""
        self._make_room(who)
        for op in ops:
            self.pairs[who].do(op)

    @rule(who=WHO)
    def read_on(self, who: int) -> None:
        """One of them reads the same again and again, as applications do: PgBeam gets to know what it reads."""
        self._make_room(who)
        for _ in range(6):
            self.pairs[who].do(simple("SELECT id, n FROM own_~.t WHERE id < 3 ORDER BY id"))
            time.sleep(0.01)

    @rule(ops=st.tuples(operations.following(), operations.following()))
    def ask_together(self, ops: tuple[Op, Op]) -> None:
        """Both ask at the same moment."""
        if self.servers == 1:
            return
        for pair, op in zip(self.pairs, ops, strict=True):
            pair.send(op)
        for pair, op in zip(self.pairs, ops, strict=True):
            pair.receive(op)

    @rule(who=WHO, begin=in_transactions.begins(), ops=in_transactions.inside(), end=in_transactions.ends())
    def transact(self, who: int, begin: Op, ops: list[Op], end: Op) -> None:
        """One of them has a whole transaction, or what becomes one."""
        self._make_room(who)
        if in_transactions.SAFE_SNAPSHOT in begin.say and self.pairs[1 - who].status != b"I":
            return
        for op in (begin, *ops, end):
            self.pairs[who].do(op)

    @rule(who=WHO, op=in_transactions.at_once())
    def transact_at_once(self, who: int, op: Op) -> None:
        """One of them sends a whole transaction in one go."""
        self._make_room(who)
        self.pairs[who].do(op)

    @rule(who=WHO, begin=in_transactions.begins(), ops=in_transactions.inside(), end=in_transactions.second_phase())
    def commit_in_two_phases(self, who: int, begin: Op, ops: list[Op], end: Op) -> None:
        """One of them prepares a transaction, whatever is in it, and ends it thereafter."""
        self.transact(who, begin, [*ops, in_transactions.PREPARE], end)

    @rule(who=WHO, late=st.booleans(), begun=st.booleans(), op=in_transactions.long_ones())
    def cancel(self, who: int, late: bool, begun: bool, op: Op) -> None:
        """A cancel of what runs for long ends it; one of what is over hits nothing, now or later."""
        if late:
            self.pairs[who].cancel()
            return
        self._make_room(who)
        if begun:
            self.pairs[who].do(simple("BEGIN"))
        if self.pairs[who].status != b"E":
            self.pairs[who].be_cancelled(op)

    @rule(who=WHO, change=own_code.third_party())
    def change_elsewhere(self, who: int, change: str) -> None:
        """A third party changes what one of them uses while that is in no transaction."""
        pair = self.pairs[who]
        if pair.status != b"I":
            return
        said = [self._third_party(database, change.encode().replace(ME, pair.letter)) for database in (DATABASE, TWIN)]
        assert said[0] == said[1], f"{change}: {said}"

    def _third_party(self, database: str, change: bytes) -> str:
        with self.place.cluster.connect(database=database) as boss:
            boss.execute("SET lock_timeout = '5s'")
            try:
                boss.execute(change)
            except psycopg.Error as problem:
                return problem.sqlstate or "no answer"
        return ""

    @rule(who=WHO, politely=st.booleans())
    def come_again(self, who: int, politely: bool) -> None:
        """One of them leaves, whatever it is in the middle of, and comes back."""
        self._make_room(who)
        self.pairs[who].come_again(politely=politely)

    def _make_room(self, who: int) -> None:
        if self.servers == 1:
            self.pairs[1 - who].release()

    def teardown(self) -> None:
        """Both leave."""
        for pair in getattr(self, "pairs", []):
            pair.close()
        end_prepared(self.place.cluster)


def end_prepared(cluster: Cluster) -> None:
    """Take back what was prepared and not ended, in either database."""
    for database in (DATABASE, TWIN):
        with cluster.connect(database=database) as boss:
            for (name,) in boss.execute(_PREPARED).fetchall():
                boss.execute(f"ROLLBACK PREPARED '{name}'".encode())
