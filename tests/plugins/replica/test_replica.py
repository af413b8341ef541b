"""Which queries go to a replica, as clients and servers see it."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from pgbeam_core.testing import FakePostgres, Rehearsal, bound_query, done, error, table
from pgbeam_core.wire import frontend
from pgbeam_replica import Replicas
from pgbeam_replica.watch import ASK_PRIMARY, ASK_REPLICA

pytest_plugins = ["pgbeam_core.testing.fixtures"]

ASKED = "/* @pgbeam:replica */ SELECT n FROM t"
PLAIN = "SELECT n FROM t"
NUMBERS = table(["n"], [("1",)])
INSERT = "INSERT INTO t VALUES (1)"


@dataclass
class Log:
    """Where a server is in the write-ahead log."""

    at: int = 0x1000

    def primary(self, _sql: str) -> bytes:
        """What the primary says to the probe."""
        return table(["flushed", "inserted"], [(self.text, self.text)])

    def replica(self, _sql: str) -> bytes:
        """What a replica says to the probe."""
        return table(["in_recovery", "replayed"], [("t", self.text)])

    @property
    def text(self) -> str:
        """As PostgreSQL writes it."""
        return f"{self.at >> 32:X}/{self.at & 0xFFFFFFFF:X}"


@dataclass
class Stage:
    """A primary with two replicas, and PgBeam before them."""

    rehearsal: Rehearsal
    primary: FakePostgres
    replicas: list[FakePostgres]
    written: Log
    replayed: list[Log] = field(default_factory=list)

    def counts(self) -> tuple[int, ...]:
        """How many client queries the primary and each replica got."""
        asked = [[sql for sql in server.asked if "t" in sql.split()] for server in (self.primary, *self.replicas)]
        return tuple(len(texts) for texts in asked)


@pytest.fixture
def stage(rehearse):
    """stage(settings={…}, auto_read_routing=True) gives a Stage."""

    def stage(settings=None, servers=None, **project) -> Stage:
        written, replayed = Log(), [Log(), Log()]
        said = {PLAIN: NUMBERS, INSERT: done("INSERT 0 1")}
        primary = FakePostgres({**said, ASK_PRIMARY.decode(): written.primary})
        replicas = [FakePostgres({**said, ASK_REPLICA.decode(): log.replica}) for log in replayed]
        urls = ["postgresql://r1:5432?sslmode=disable", "postgresql://r2:5432?sslmode=disable"]
        rehearsal = rehearse(
            {"replica": Replicas()},
            settings={"replica": settings or {}},
            project={"replicas": urls, **project},
            servers={"primary:5432": primary, "r1:5432": replicas[0], "r2:5432": replicas[1]},
        )
        return Stage(rehearsal, primary, replicas, written, replayed)

    return stage


def test_annotated_reads_take_turns_on_the_replicas(stage):
    """Each replica gets every other annotated read; the server does not see the annotation."""
    made = stage()
    client = made.rehearsal.login()
    assert [client.query(ASKED).rows for _ in range(4)] == [(("1",),)] * 4
    client.execute(ASKED)
    assert made.counts() == (0, 3, 2)


def test_without_the_annotation_reads_stay_on_the_primary(stage):
    """Replicas are used only by those who ask for them, unless the project routes all reads."""
    made = stage()
    made.rehearsal.login().query(PLAIN)
    assert made.counts() == (1, 0, 0)


def test_auto_read_routing_sends_plain_reads_to_replicas(stage):
    """With `auto_read_routing` the application need not ask."""
    made = stage(auto_read_routing=True)
    client = made.rehearsal.login()
    client.query(PLAIN)
    client.execute(PLAIN)
    assert made.counts() == (0, 1, 1)


def test_the_debug_notice_can_tell(stage):
    """The query's facts say that a replica was asked, and which."""
    made = stage()
    made.rehearsal.login().query(ASKED)
    assert made.rehearsal.results[-1][0].facts == {"replica": "true", "upstream": "r1:5432"}


@pytest.mark.parametrize(
    "sql",
    [
        INSERT,
        "/* @pgbeam:replica */ INSERT INTO t VALUES (1)",
        "/* @pgbeam:replica */ SELECT n FROM t FOR UPDATE",
        "/* @pgbeam:replica */ WITH gone AS (DELETE FROM t RETURNING n) SELECT n FROM gone",
        "/* @pgbeam:replica */ SELECT n INTO u FROM t",
        "/* @pgbeam:replica */ SELECT set_config('work_mem', '1MB', false) FROM t",
        "SELECT my_function(n) FROM t",
        "SELECT nextval('s') FROM t",
        "SELECT n FROM pg_catalog.pg_class t",
        "SELECT n FROM pg_stat_activity t",
        "SELECT pg_is_in_recovery() FROM t",
    ],
)
def test_what_writes_or_may_write_goes_to_the_primary(stage, sql):
    """Neither annotation nor auto routing sends a write, a lock, an unknown function or a catalog to a replica."""
    made = stage(auto_read_routing=True)
    made.rehearsal.login().query(sql)
    assert made.counts()[1:] == (0, 0)


def test_who_annotates_vouches_for_his_functions(stage):
    """A read of a user's own function goes to a replica when the user says so."""
    made = stage()
    made.rehearsal.login().query("/* @pgbeam:replica */ SELECT my_function(n) FROM t")
    assert sum(made.counts()[1:]) == 1


def test_everything_inside_a_transaction_goes_to_the_primary(stage):
    """A transaction stays on one server: the primary."""
    made = stage(auto_read_routing=True)
    client = made.rehearsal.login()
    client.query("BEGIN")
    client.query(ASKED)
    client.query(PLAIN)
    client.query("COMMIT")
    assert made.counts() == (2, 0, 0)


@pytest.mark.parametrize("sql", ["SELECT n FROM t", "CREATE TEMP TABLE x (n int)"])
def test_a_pinned_session_stays_where_it_is(stage, sql):
    """A session that made a temporary table keeps its server, and its reads go there."""
    made = stage(auto_read_routing=True)
    made.primary.answers["CREATE TEMP TABLE x (n int)"] = done("CREATE TABLE")
    client = made.rehearsal.login()
    client.query("CREATE TEMP TABLE x (n int)")
    client.query(ASKED)
    assert made.counts() == (1, 0, 0)


def test_serializable_sessions_stay_on_the_primary(stage):
    """A hot standby refuses serializable transactions, so they are not sent there."""
    made = stage(auto_read_routing=True)
    client = made.rehearsal.login(default_transaction_isolation="serializable")
    client.query(PLAIN)
    assert made.counts() == (1, 0, 0)


# Health.


def test_a_replica_that_fails_a_probe_is_out_until_two_in_a_row_succeed(stage):
    """Reads go to the other replica meanwhile; one good probe is not enough."""
    made = stage(settings={"probe_interval_s": 5})
    client = made.rehearsal.login()
    made.replicas[0].down = True
    made.rehearsal.advance(5)
    for _ in range(3):
        assert client.query(ASKED).error is None
    assert made.counts() == (0, 0, 3)
    made.replicas[0].down = False
    made.rehearsal.advance(5)
    client.query(ASKED)
    assert made.counts() == (0, 0, 4)
    made.rehearsal.advance(5)
    client.query(ASKED)
    client.query(ASKED)
    assert made.counts() == (0, 1, 5)


def test_with_all_replicas_out_the_primary_answers(stage):
    """No healthy replica is no error."""
    made = stage()
    for replica in made.replicas:
        replica.down = True
    made.rehearsal.advance(5)
    assert made.rehearsal.login().query(ASKED).rows == (("1",),)
    assert made.counts() == (1, 0, 0)
    assert made.rehearsal.stats()["replica"]["shop"]["replicas_up"] == 0


def test_a_replica_that_says_nothing_has_failed_when_the_time_is_up(stage):
    """A probe that hangs is a failure after `probe_timeout_s`."""
    made = stage(settings={"probe_timeout_s": 2})
    made.replicas[0].silent = made.replicas[1].silent = True
    made.rehearsal.advance(7.5)
    assert made.rehearsal.login().query(ASKED).rows == (("1",),)
    assert made.counts() == (1, 0, 0)


def test_a_replica_that_was_promoted_is_no_replica(stage):
    """What is not in recovery has a history of its own; its rows are not the primary's."""
    made = stage()
    made.replicas[0].answers[ASK_REPLICA.decode()] = table(["a", "b"], [("f", None)])
    made.rehearsal.advance(5)
    client = made.rehearsal.login()
    client.query(ASKED)
    client.query(ASKED)
    assert made.counts() == (0, 0, 2)


def test_a_replica_that_asks_for_a_password_is_there(stage):
    """Without a password of its own PgBeam can still tell that somebody answers."""
    made = stage()
    made.replicas[0].passwords["postgres"] = "unknown to PgBeam"
    made.rehearsal.advance(30)
    client = made.rehearsal.login()
    client.query(ASKED)
    client.query(ASKED)
    assert made.counts() == (0, 1, 1)


def test_a_password_in_the_settings_is_used(stage):
    """`health_user` and `health_password` let the probe in."""
    made = stage(settings={"health_user": "probe", "health_password": "s3kr it", "max_lag_s": 10})
    for server in (made.primary, *made.replicas):
        server.passwords["probe"] = "s3kr it"
    made.rehearsal.advance(30)
    client = made.rehearsal.login()
    client.query(ASKED)
    assert made.counts() == (0, 1, 0)


def test_a_connection_that_breaks_takes_the_replica_out(stage):
    """A replica that dies under a query is not asked again before it has answered probes; the primary answers."""
    made = stage()
    client = made.rehearsal.login()

    def crash(_sql: str) -> bytes:
        made.replicas[0].crash()
        return b""

    made.replicas[0].answers[PLAIN] = crash
    assert [client.query(ASKED).rows for _ in range(4)] == [(("1",),)] * 4
    assert made.counts() == (1, 1, 3)


def test_a_project_without_clients_is_not_probed(stage):
    """After `park_after_s` the probes stop; the next client starts them again."""
    made = stage(settings={"park_after_s": 20})
    made.rehearsal.advance(40)
    before = made.replicas[0].logins
    made.rehearsal.advance(60)
    assert made.replicas[0].logins == before
    client = made.rehearsal.login()
    client.query(ASKED)
    assert made.counts() == (0, 1, 0)


# Lag.


def test_an_idle_primary_makes_no_replica_late(stage):
    """A replica that has replayed everything is up to date, however long nothing was written."""
    made = stage(settings={"max_lag_s": 2})
    made.rehearsal.advance(120)
    made.rehearsal.login().query(ASKED)
    assert made.counts() == (0, 1, 0)


def test_a_replica_that_stays_behind_is_out_until_it_has_caught_up(stage):
    """A replica more than `max_lag_s` behind is not used; it is back as soon as a probe finds it in time."""
    made = stage(settings={"max_lag_s": 2})
    client = made.rehearsal.login()
    made.written.at += 1000
    made.replayed[1].at = made.written.at
    made.rehearsal.advance(1)
    client.query(ASKED)
    made.rehearsal.advance(4)
    for _ in range(3):
        client.query(ASKED)
    assert made.counts() == (0, 1, 3)
    made.replayed[0].at = made.written.at
    made.rehearsal.advance(1)
    client.query(ASKED)
    client.query(ASKED)
    assert made.counts() == (0, 2, 4)


def test_a_replica_whose_lag_cannot_be_told_is_not_used(stage):
    """Who asks for `max_lag_s` does not get rows of unknown age."""
    made = stage(settings={"max_lag_s": 2})
    for server in made.replicas:
        server.passwords["postgres"] = "unknown to PgBeam"
    made.rehearsal.advance(10)
    made.rehearsal.login().query(ASKED)
    assert made.counts() == (1, 0, 0)


# Reading one's own writes.


def test_a_session_reads_its_own_writes(stage):
    """After a write, reads go to the primary until a replica has replayed what the primary had written by then."""
    made = stage(auto_read_routing=True)
    client, other = made.rehearsal.login(), made.rehearsal.login()
    client.query(INSERT)
    made.written.at += 1000
    client.query(PLAIN)
    assert made.counts() == (2, 0, 0)
    other.query(PLAIN)
    assert made.counts() == (2, 1, 0)
    made.rehearsal.advance(6)
    client.query(PLAIN)
    assert made.counts() == (3, 1, 0)
    made.replayed[1].at = made.written.at
    made.rehearsal.advance(6)
    client.query(PLAIN)
    client.query(PLAIN)
    assert made.counts() == (3, 1, 2)


def test_a_session_reads_what_it_wrote_in_a_batch(stage):
    """`executemany` is many executions in one request: the next read sees them all."""
    made = stage(auto_read_routing=True)
    client = made.rehearsal.login()
    one = bound_query(INSERT).removesuffix(frontend.SYNC)
    assert client.send(one * 3 + frontend.SYNC).error is None
    client.query(PLAIN)
    assert made.counts() == (4, 0, 0)
    made.rehearsal.advance(6)
    client.query(PLAIN)
    assert made.counts() == (4, 1, 0)


def test_a_write_in_a_transaction_counts_from_its_commit(stage):
    """What was written between BEGIN and COMMIT is read back too, however long the transaction took."""
    made = stage(auto_read_routing=True)
    client = made.rehearsal.login()
    client.query("BEGIN")
    client.query(INSERT)
    made.rehearsal.advance(20)
    client.query("COMMIT")
    client.query(PLAIN)
    assert made.counts() == (2, 0, 0)
    made.rehearsal.advance(6)
    client.query(PLAIN)
    assert made.counts() == (2, 1, 0)


def test_a_transaction_that_only_read_costs_nothing(stage):
    """Frameworks that wrap reads in transactions keep their replicas for the reads outside."""
    made = stage(auto_read_routing=True)
    client = made.rehearsal.login()
    client.query("BEGIN")
    client.query(PLAIN)
    client.query("COMMIT")
    client.query(PLAIN)
    assert made.counts() == (1, 1, 0)


def test_a_function_that_may_write_counts_as_a_write(stage):
    """SELECT my_function() may have written; the next read sees it."""
    made = stage(auto_read_routing=True)
    made.primary.answers["SELECT my_function()"] = NUMBERS
    client = made.rehearsal.login()
    client.query("SELECT my_function()")
    client.query(PLAIN)
    assert made.counts() == (1, 0, 0)


def test_read_your_writes_can_be_turned_off(stage):
    """Who does not mind gets replicas at once."""
    made = stage(settings={"read_your_writes": False}, auto_read_routing=True)
    client = made.rehearsal.login()
    client.query(INSERT)
    client.query(PLAIN)
    assert made.counts() == (1, 1, 0)


@pytest.mark.parametrize("sqlstate", ["22012", "42601", "57014"])
def test_an_error_of_the_query_is_no_failure_of_the_replica(stage, sqlstate):
    """A query that fails of itself on a replica fails for its client, and the replica stays in use."""
    made = stage()
    made.replicas[0].answers[PLAIN] = error(sqlstate, "it is the statement")
    client = made.rehearsal.login()
    assert client.query(ASKED).error[0] == sqlstate
    client.query(ASKED)
    client.query(ASKED)
    assert made.counts() == (0, 2, 1)


@pytest.mark.parametrize("ask", ["query", "execute"])
@pytest.mark.parametrize(
    ("sqlstate", "message"),
    [
        ("25006", "cannot execute INSERT in a read-only transaction"),
        ("40001", "canceling statement due to conflict with recovery"),
        ("57014", "canceling statement due to conflict with recovery"),
        ("42P01", 'relation "t" does not exist'),
        ("55000", "recovery is in progress"),
    ],
)
def test_an_error_that_only_a_replica_gives_is_not_the_clients(stage, ask, sqlstate, message):
    """The primary is asked once; its answer is what the client gets, and the replica stays in use."""
    made = stage()
    made.replicas[0].answers[PLAIN] = error(sqlstate, message)
    client = made.rehearsal.login()
    assert [getattr(client, ask)(ASKED).rows for _ in range(3)] == [(("1",),)] * 3
    assert made.counts() == (2, 2, 1)
    counts = made.rehearsal.stats()["replica"]["shop"]
    assert (counts["queries_retried"], counts["queries_fell_back"], counts["replicas_up"]) == (2, 0, 2)


def test_an_error_of_the_primary_too_is_the_clients(stage):
    """There is one retry, not two: what the primary says goes."""
    made = stage()
    for server in (made.primary, made.replicas[0]):
        server.answers[PLAIN] = error("42P01", 'relation "t" does not exist')
    assert made.rehearsal.login().query(ASKED).error[0] == "42P01"
    assert made.counts() == (1, 1, 0)


def test_replicas_get_reads_by_their_weights(stage):
    """A machine that is twice as large gets twice as much, spread evenly."""
    made = stage(settings={"weights": {"r1:5432": 2}})
    client = made.rehearsal.login()
    for _ in range(6):
        client.query(ASKED)
    assert made.counts() == (0, 4, 2)
    upstreams = [query.facts["upstream"] for query, _ in made.rehearsal.results]
    assert upstreams == ["r1:5432", "r2:5432", "r1:5432"] * 2


def test_a_weight_of_nought_is_no_reads(stage):
    """A replica can be kept for other things, and is watched all the same."""
    made = stage(settings={"weights": {"r1:5432": 0, "r2:5432": 0}})
    made.rehearsal.login().query(ASKED)
    assert made.counts() == (1, 0, 0)


def test_the_least_busy_replica_is_asked(stage):
    """One that is held up by a long query gets no more of them than the other one has."""
    made = stage(settings={"choice": "least_busy"})
    first, second = made.rehearsal.login(), made.rehearsal.login()
    first.query(ASKED)
    made.replicas[1].silent = True
    first.send(frontend.Query(ASKED.encode()).to_bytes())
    for _ in range(4):
        second.query(ASKED)
    assert made.counts() == (0, 5, 0)
    first.vanish()
    made.rehearsal.pump()
    ((_, tables),) = made.rehearsal.hooks.console()
    assert [row[7] for row in tables["REPLICAS"].rows] == [0, 0]


def test_replicas_join_and_leave_at_reload(stage):
    """Those that stay are in use without a pause; those that come are probed first."""
    made = stage()
    client = made.rehearsal.login()
    client.query(ASKED)
    made.rehearsal.reload(project={"replicas": ["postgresql://r2:5432?sslmode=disable"]})
    fresh = made.rehearsal.login()
    for _ in range(3):
        fresh.query(ASKED)
    assert made.counts() == (0, 1, 3)
    urls = ["postgresql://r1:5432?sslmode=disable", "postgresql://r2:5432?sslmode=disable"]
    made.rehearsal.reload(project={"replicas": urls})
    again = made.rehearsal.login()
    for _ in range(4):
        again.query(ASKED)
    assert made.counts() == (0, 3, 5)


def test_a_promoted_replica_is_none_any_more(stage):
    """It would show what the primary never had."""
    made = stage()
    made.replicas[0].answers[ASK_REPLICA.decode()] = table(["a", "b", "c", "d"], [("f", None, "2", "f")])
    made.rehearsal.advance(6)
    client = made.rehearsal.login()
    for _ in range(3):
        client.query(ASKED)
    assert made.counts() == (0, 0, 3)


def test_a_replica_that_has_not_followed_a_promotion_is_out(stage):
    """It is on the timeline before, and may show what was lost with the old primary."""
    made = stage(auto_read_routing=True)
    made.primary.answers[ASK_PRIMARY.decode()] = table(["a", "b", "c"], [("0/2000", "0/2000", "00000002")])
    behind, follows = (table(["a", "b", "c", "d"], [("t", "0/3000", tli, "f")]) for tli in ("1", "2"))
    made.replicas[0].answers[ASK_REPLICA.decode()] = behind
    made.replicas[1].answers[ASK_REPLICA.decode()] = follows
    made.rehearsal.advance(12)
    client = made.rehearsal.login()
    for _ in range(3):
        client.query(PLAIN)
    assert made.counts() == (0, 0, 3)


def test_show_replicas(stage):
    """The console's table tells what state each replica is in, and why."""
    made = stage()
    made.replicas[1].down = True
    made.rehearsal.advance(5)
    (tables,) = [tables for name, tables in made.rehearsal.hooks.console() if name == "replica"]
    shown = [row[:3] for row in tables["REPLICAS"].rows]
    assert shown == [("shop", "r1:5432", "up"), ("shop", "r2:5432", "out")]


def test_a_reload_changes_what_is_watched(stage):
    """A replica that is new in the settings gets its share of reads, one that is gone gets none."""
    made = stage()
    client = made.rehearsal.login()
    one, other = ([f"postgresql://{name}:5432?sslmode=disable"] for name in ("r1", "r2"))
    made.rehearsal.reload(project={"replicas": one})
    made.rehearsal.advance(1)
    for _ in range(4):
        client.query(ASKED)
    assert made.counts() == (0, 4, 0)
    made.rehearsal.reload(project={"replicas": other})
    made.rehearsal.advance(1)
    for _ in range(4):
        client.query(ASKED)
    assert made.counts() == (0, 4, 4)
    assert made.rehearsal.stats()["replica"]["shop"]["queries_routed"] == 8


def test_a_reload_changes_how_it_is_watched(stage):
    """Another probe interval holds for replicas that are watched already; the same settings interrupt nothing."""
    made = stage({"probe_interval_s": 100.0})
    urls = [f"postgresql://{name}:5432?sslmode=disable" for name in ("r1", "r2")]
    made.rehearsal.advance(20)
    before = len(made.replicas[0].asked)
    made.rehearsal.reload(settings={"replica": {"probe_interval_s": 100.0}}, project={"replicas": urls})
    made.rehearsal.advance(20)
    assert len(made.replicas[0].asked) == before
    made.rehearsal.reload(settings={"replica": {"probe_interval_s": 1.0}}, project={"replicas": urls})
    made.rehearsal.advance(20)
    assert len(made.replicas[0].asked) >= before + 15
