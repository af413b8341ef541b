"""Limits, as clients meet them."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred

from pgbeam_core import Answer, SettingsError, hookimpl
from pgbeam_core.testing import FakePostgres, answer, done, table
from pgbeam_core.testing.frames import bound_query
from pgbeam_core.wire.frontend import SYNC, PasswordMessage
from pgbeam_limits import Limits

pytest_plugins = ["pgbeam_core.testing.fixtures"]

NUMBERS = table(["n"], [("1",)])
CACHED = "SELECT n FROM cached"


class Cache:
    """Answers one query."""

    @hookimpl
    def execute(self, query) -> Answer | None:
        """As a cache with that one entry would."""
        return answer(["n"], [("1",)]) if query.statement.text == CACHED.encode() else None


@pytest.fixture
def limited(rehearse):
    """limited(max_connections=2, …) gives a PgBeam with limits first and a cache second, as by default."""

    def limited(project=None, **settings):
        answers = {"SELECT 1": NUMBERS, CACHED: NUMBERS, "INSERT INTO t VALUES (1)": done("INSERT 0 1")}
        server = FakePostgres(answers, passwords={"app": "right"})
        plugins = {"limits": Limits(), "cache": Cache()}
        servers = {"primary:5432": server}
        return rehearse(plugins, settings={"limits": settings}, project=project, servers=servers)

    return limited


def enter(rehearsal, peer="192.0.2.1", password="right"):
    return rehearsal.login("app", peer=peer, password=password)


def test_nothing_is_limited_by_default(limited):
    """Without settings any number of clients asks any number of queries."""
    rehearsal = limited()
    clients = [enter(rehearsal) for _ in range(50)]
    assert all(client.query("SELECT 1").error is None for client in clients for _ in range(20))


# The allowlist.


def test_an_address_outside_the_allowlist_is_rejected_before_authentication(limited):
    """Who is not in a listed network gets 08004 and never sees a password prompt."""
    rehearsal = limited(allowed_cidrs=["10.0.0.0/8 office", "2001:db8::/32"])
    assert enter(rehearsal, "192.0.2.1").refusal == ("08004", "connection rejected: IP not in allowlist")
    assert not rehearsal.primary.connections
    assert enter(rehearsal, "10.1.2.3").refusal is None
    assert enter(rehearsal, "2001:db8::7").refusal is None


def test_ipv4_over_ipv6_is_ipv4(limited):
    """A listener for both families sees IPv4 clients as ::ffff:a.b.c.d; the allowlist knows them."""
    rehearsal = limited(allowed_cidrs=["10.0.0.0/8"])
    assert enter(rehearsal, "::ffff:10.1.2.3").refusal is None
    assert enter(rehearsal, "::ffff:192.0.2.1").refusal[0] == "08004"


def test_a_rejected_address_counts_for_nothing_else(limited):
    """Rejections use up neither connections nor authentication attempts."""
    rehearsal = limited(allowed_cidrs=["10.0.0.0/8"], max_connections=1, auth_attempts=1)
    for _ in range(5):
        enter(rehearsal, "192.0.2.1", "wrong")
    assert enter(rehearsal, "10.0.0.1").refusal is None
    counts = rehearsal.stats()["limits"]["shop"]
    assert (counts["refused_by_allowlist"], counts["logins_failed"], counts["connections"]) == (5, 0, 1)


@pytest.mark.parametrize("entry", ["10.0.0.0/33", "10.0.0.1/8 office", "office", "", "10.0.0"])
def test_a_bad_network_is_an_error_of_the_settings(limited, entry):
    """What is no network stops the start with a message that names it."""
    with pytest.raises(SettingsError, match="allowed_cidrs"):
        limited(allowed_cidrs=[entry])


def test_there_are_at_most_50_networks(limited):
    """A longer allowlist is refused at start."""
    networks = [f"10.0.{number}.0/24" for number in range(51)]
    limited(allowed_cidrs=networks[:50])
    with pytest.raises(SettingsError, match="at most 50 entries"):
        limited(allowed_cidrs=networks)


# Failed logins.


def test_after_ten_failed_logins_an_address_has_to_wait(limited):
    """The eleventh attempt within a minute is refused, the right password notwithstanding; others are not affected."""
    rehearsal = limited()
    for _ in range(10):
        assert enter(rehearsal, password="wrong").refusal[0] == "28P01"
        rehearsal.advance(1, step=1)
    assert enter(rehearsal).refusal == ("08004", "too many authentication attempts")
    assert enter(rehearsal, "192.0.2.2").refusal is None
    rehearsal.advance(51, step=1)
    assert enter(rehearsal).refusal is None


def test_the_window_can_be_set(limited):
    """Failures are forgotten after it."""
    rehearsal = limited(auth_attempts=1, auth_window_s=300)
    enter(rehearsal, password="wrong")
    rehearsal.advance(299, step=60)
    assert enter(rehearsal).refusal == ("08004", "too many authentication attempts")
    rehearsal.advance(2)
    assert enter(rehearsal).refusal is None


def test_failures_that_other_workers_saw_count_too(limited):
    """With several workers nobody has so many times the attempts."""
    told = []
    rehearsal = limited(auth_attempts=3)
    rehearsal.beam.broadcast.send = lambda *news: told.append(news)
    enter(rehearsal, "192.0.2.1", "wrong")
    assert told == [("limits.login_failed", "192.0.2.1")]
    for _ in range(2):
        rehearsal.beam.broadcast.received(*told[0])
    assert enter(rehearsal, "192.0.2.1").refusal == ("08004", "too many authentication attempts")
    assert enter(rehearsal, "192.0.2.2").refusal is None


def test_successes_scans_and_clients_that_leave_do_not_count(limited):
    """Only a refusal of the credentials is a failed login."""
    rehearsal = limited(auth_attempts=1)
    for _ in range(3):
        rehearsal.call().vanish()
        rehearsal.login("app").vanish()
        rehearsal.login("app").leave()
        enter(rehearsal).leave()
    rehearsal.primary.down = True
    assert enter(rehearsal).refusal[0] == "08006"
    rehearsal.primary.down = False
    assert enter(rehearsal).refusal is None


def test_neighbours_in_an_ipv6_network_count_as_one(limited):
    """Who has a /64 does not get an attempt for each of its addresses."""
    rehearsal = limited(auth_attempts=2)
    for last in (1, 2):
        enter(rehearsal, f"2001:db8:0:1::{last}", "wrong")
    assert enter(rehearsal, "2001:db8:0:1::3").refusal == ("08004", "too many authentication attempts")
    assert enter(rehearsal, "2001:db8:0:2::3").refusal is None


# Connections.


def test_one_client_too_many_is_refused_until_another_leaves(limited):
    """`max_connections` clients get in; the next gets 53300; a place that was left is free, however it was left."""
    rehearsal = limited(max_connections=3)
    clients = [enter(rehearsal) for _ in range(3)]
    assert enter(rehearsal).refusal == ("53300", "too many connections for project")
    clients[0].leave()
    clients[1].vanish()
    assert [enter(rehearsal).refusal is None for _ in range(3)] == [True, True, False]
    counts = rehearsal.stats()["limits"]["shop"]
    assert (counts["connections"], counts["refused_by_max_connections"]) == (3, 2)


def test_users_and_databases_have_numbers_of_their_own(limited):
    """The one too many is told whose number it is, as PostgreSQL would; others come in."""
    rehearsal = limited(max_connections_per_user=2, max_connections_per_database=3)
    first = [rehearsal.login("eve") for _ in range(2)]
    assert rehearsal.login("eve").refusal == ("53300", 'too many connections for role "eve"')
    assert rehearsal.login("adam").refusal is None
    assert rehearsal.login("abel").refusal == ("53300", 'too many connections for database "shop"')
    assert rehearsal.login("abel", "other").refusal is None
    first[0].vanish()
    assert rehearsal.login("eve").refusal is None


def test_the_console_is_open_when_everything_is_full(limited):
    """Whoever comes to make room gets in, under the rules for addresses and failed logins, and takes nobody's place."""
    rehearsal = limited(max_connections=1, auth_attempts=2)
    rehearsal.reload(settings={"limits": {"max_connections": 1, "auth_attempts": 2}}, top={"admin_users": ["app"]})
    assert enter(rehearsal).refusal is None
    console = rehearsal.login("app", "pgbeam", password="right")
    assert console.refusal is None
    assert rehearsal.stats()["limits"]["shop"]["connections"] == 1
    for _ in range(2):
        assert rehearsal.login("app", "pgbeam", password="wrong").refusal[0] == "28P01"
    assert rehearsal.login("app", "pgbeam", password="right").refusal == ("08004", "too many authentication attempts")


def test_who_knocks_takes_nobodys_place(limited):
    """Clients that are at the password prompt do not count: anybody can come so far."""
    rehearsal = limited(max_connections=1, max_connections_per_user=1)
    waiting = [enter(rehearsal, password=None) for _ in range(5)]
    client = enter(rehearsal)
    assert client.refusal is None
    for late in waiting:  # all have found room when they came: there is none for them now
        assert late.send(PasswordMessage(b"right").to_bytes()).error == ("53300", "too many connections for project")
        assert late.closed
    assert rehearsal.stats()["limits"]["shop"]["connections"] == 1
    client.leave()
    assert enter(rehearsal).refusal is None


def test_a_failed_login_gives_its_place_back(limited):
    """Places are for clients that are there, not for those that were."""
    rehearsal = limited(max_connections=1)
    enter(rehearsal, password="wrong")
    rehearsal.call().vanish()
    assert enter(rehearsal).refusal is None


# Queries per second.


def test_queries_above_the_rate_are_refused_and_the_session_goes_on(limited):
    """An empty bucket gives 53400; time fills it again."""
    rehearsal = limited(queries_per_second=2, burst=3)
    client = enter(rehearsal)
    assert [client.query("SELECT 1").error for _ in range(4)] == [None] * 3 + [("53400", "query rate limit exceeded")]
    assert client.execute("SELECT 1").error == ("53400", "query rate limit exceeded")
    rehearsal.advance(0.5)
    assert client.execute("SELECT 1").rows == (("1",),)
    assert client.query("SELECT 1").error is not None
    assert rehearsal.stats()["limits"]["shop"]["refused_by_queries_per_second"] == 3


def test_the_bucket_is_the_projects_and_holds_one_second_unless_told_otherwise(limited):
    """All clients of a project draw on one bucket; it does not fill beyond its size."""
    rehearsal = limited(queries_per_second=2)
    clients = [enter(rehearsal) for _ in range(2)]
    rehearsal.advance(60, step=30)
    refused = [clients[turn % 2].query("SELECT 1").error is not None for turn in range(4)]
    assert refused == [False, False, True, True]


def test_cache_hits_are_free_at_an_empty_bucket(limited):
    """What another plugin answers takes no token and needs none, though limits stand first in the order."""
    rehearsal = limited(queries_per_second=1)
    client = enter(rehearsal)
    assert all(client.query(CACHED).rows == (("1",),) for _ in range(20))
    assert client.query("SELECT 1").error is None
    assert client.query("SELECT 1").error is not None
    assert client.execute(CACHED).rows == (("1",),)


def test_a_plugin_that_thinks_first_does_not_lift_the_limit(rehearse):
    """A query that another plugin looked up in vain, taking its time, is limited like any other."""

    class Slow:
        """Finds nothing, after a while."""

        def __init__(self) -> None:
            self.waiting: list[Deferred[None]] = []

        @hookimpl
        def execute(self) -> Deferred[None]:
            """Wait."""
            self.waiting.append(Deferred())
            return self.waiting[-1]

    slow = Slow()
    server = FakePostgres({"SELECT 1": NUMBERS})
    plugins = {"limits": Limits(), "slow": slow}
    rehearsal = rehearse(plugins, settings={"limits": {"queries_per_second": 1}}, servers={"primary:5432": server})
    client = rehearsal.login()
    replies = []
    for _ in range(2):
        assert client.query("SELECT 1").frames == ()
        slow.waiting.pop().callback(None)
        rehearsal.pump()
        replies.append(client.collect().error)
    assert replies == [None, ("53400", "query rate limit exceeded")]


@pytest.mark.parametrize("lazy", ["reads", "off"])
def test_a_transaction_may_always_end(limited, lazy):
    """At an empty bucket COMMIT goes through, so that locks and server come free; others fail the transaction."""
    rehearsal = limited(project={"lazy_transactions": lazy}, queries_per_second=1, burst=2)
    client = enter(rehearsal)
    client.query("BEGIN")
    client.query("INSERT INTO t VALUES (1)")
    while client.query("SELECT 1").error is None:
        pass
    assert client.query("ROLLBACK").error is None
    assert client.query("ROLLBACK").error is not None  # there is no transaction to end
    rehearsal.advance(2)
    client.query("BEGIN")
    client.query("INSERT INTO t VALUES (1)")
    assert client.query("COMMIT").tags == ("COMMIT",)


def test_what_no_server_hears_of_is_free(limited):
    """BEGIN and COMMIT of a transaction that was never real cost nothing, as what is between them may."""
    rehearsal = limited(queries_per_second=1)
    client = enter(rehearsal)
    for _ in range(20):
        assert client.query("BEGIN").error is None
        assert client.query("COMMIT").error is None
    assert client.query("SELECT 1").error is None


def test_a_user_has_a_rate_of_its_own(limited):
    """One user's flood leaves the others theirs; together they have no more than the project; a refusal by the project
    costs the user nothing."""
    rehearsal = limited(queries_per_second=3, queries_per_second_per_user=2)
    eve, adam = rehearsal.login("eve"), rehearsal.login("adam")
    assert [eve.query("SELECT 1").error is None for _ in range(4)] == [True, True, False, False]
    assert [adam.query("SELECT 1").error is None for _ in range(3)] == [True, False, False]
    rehearsal.advance(0.34)
    assert adam.query("SELECT 1").error is None


def test_a_new_connection_brings_no_new_burst(limited):
    """Who hangs up and connects again has what was left."""
    rehearsal = limited(queries_per_second_per_user=1, burst_per_user=3)
    for number in range(5):
        client = rehearsal.login("eve")
        assert (client.query("SELECT 1").error is None) is (number < 3)
        client.leave()


@pytest.mark.parametrize("lazy", ["reads", "begin", "off"])
def test_a_refusal_leaves_a_transaction_as_an_error_does(limited, lazy):
    """Be it kept back or real: it has failed, and goes on at a savepoint."""
    rehearsal = limited(project={"lazy_transactions": lazy}, queries_per_second=1, burst=5)
    client = enter(rehearsal)
    client.query("BEGIN")
    client.query("SAVEPOINT here")
    while client.query("SELECT 1").error is None:
        pass
    assert rehearsal.results[-1][1].error == ("53400", "query rate limit exceeded")
    session = next(iter(rehearsal.beam.sessions.values()))
    assert session.status == b"E"
    rehearsal.advance(5)
    assert client.query("ROLLBACK TO here").error is None


def test_a_pipeline_ends_at_the_refusal(limited):
    """What is behind it is passed over up to Sync; the next request is had again."""
    rehearsal = limited(queries_per_second=1)
    client = enter(rehearsal)
    reply = client.send(bound_query("SELECT 1", ())[: -len(SYNC)] * 2 + SYNC)
    assert reply.error == ("53400", "query rate limit exceeded")
    assert reply.frames[-1][:1] == b"Z"
    rehearsal.advance(1)
    assert client.execute("SELECT 1").rows == (("1",),)


# Queries at a time.


def test_only_so_many_clients_have_queries_running(limited):
    """The next is refused, and is served once another is through, or has left."""
    rehearsal = limited(max_concurrent_queries=2)
    clients = [enter(rehearsal) for _ in range(3)]
    assert clients[0].query("SELECT 1").error is None
    rehearsal.primary.silent = True
    for client in clients[:2]:
        client.query("INSERT INTO t VALUES (1)")
    assert clients[2].query("SELECT 1").error == ("53400", "concurrent query limit exceeded")
    assert clients[2].query(CACHED).rows == (("1",),)
    clients[0].vanish()
    rehearsal.primary.silent = False
    assert clients[2].query("SELECT 1").error is None
    counts = rehearsal.stats()["limits"]["shop"]
    assert (counts["queries_running"], counts["refused_by_max_concurrent_queries"]) == (1, 1)
    clients[1].vanish()
    assert rehearsal.stats()["limits"]["shop"]["queries_running"] == 0


def test_only_so_many_clients_of_a_user_have_queries_running(limited):
    """Others are not hindered."""
    rehearsal = limited(max_concurrent_queries_per_user=1)
    first, second, other = rehearsal.login("eve"), rehearsal.login("eve"), rehearsal.login("adam")
    assert other.query("SELECT 1").error is None
    rehearsal.primary.silent = True
    first.query("INSERT INTO t VALUES (1)")
    assert second.query("SELECT 1").error == ("53400", "concurrent query limit exceeded")
    rehearsal.primary.silent = False
    assert other.query("SELECT 1").error is None


def test_a_pipeline_is_one_query_at_a_time(limited):
    """However many executions it has, they run one after another."""
    rehearsal = limited(max_concurrent_queries=1)
    client = enter(rehearsal)
    pipeline = bound_query("SELECT 1", ())[: -len(SYNC)] * 5 + SYNC
    for _ in range(3):
        assert client.send(pipeline).rows == (("1",),) * 5
    assert rehearsal.stats()["limits"]["shop"]["queries_running"] == 0


# Everything else.


def test_a_reload_holds_for_clients_that_are_there(limited):
    """Nobody is dropped for it; whatever is asked from then on is asked under the new limits."""
    rehearsal = limited()
    clients = [enter(rehearsal) for _ in range(3)]
    rehearsal.reload(settings={"limits": {"max_connections": 2, "queries_per_second": 1}})
    assert [client.query("SELECT 1").error is None for client in clients] == [True, False, False]
    assert enter(rehearsal).refusal == ("53300", "too many connections for project")
    rehearsal.reload(settings={"limits": {"max_connections": 4}})
    assert all(client.query("SELECT 1").error is None for client in clients)
    assert enter(rehearsal).refusal is None


def test_a_project_may_have_limits_of_its_own(limited):
    """What its table sets holds, the rest is as for all."""
    own = {"shop": {"max_connections": 1, "allowed_cidrs": ["192.0.2.0/24 lab"]}}
    rehearsal = limited(projects=own, max_connections=5, max_connections_per_user=1)
    assert enter(rehearsal, "10.0.0.1").refusal[0] == "08004"
    assert enter(rehearsal).refusal is None
    assert rehearsal.login("adam").refusal == ("53300", "too many connections for project")


def test_show_limits(limited):
    """One row for each limit that is set, and each of whom it is about: what is used of it, and what was refused."""
    rehearsal = limited(
        max_connections=5,
        max_connections_per_user=2,
        max_connections_per_database=4,
        queries_per_second=10,
        queries_per_second_per_user=5,
        max_concurrent_queries=3,
        max_concurrent_queries_per_user=2,
        allowed_cidrs=["192.0.2.0/24 lab"],
    )
    enter(rehearsal, password="wrong")
    client = enter(rehearsal)
    client.query("SELECT 1")
    table = rehearsal.beam.hooks.console()[0][1]["LIMITS"]
    assert table.columns == ("project", "limit", "whose", "used", "most", "refused")
    assert [tuple(row) for row in table.rows] == [
        ("shop", "max_connections", None, 1, 5, 0),
        ("shop", "queries_per_second", None, 1.0, 10.0, 0),
        ("shop", "max_concurrent_queries", None, 0, 3, 0),
        ("shop", "max_connections_per_user", "app", 1, 2, 0),
        ("shop", "queries_per_second_per_user", "app", 1.0, 5.0, 0),
        ("shop", "max_concurrent_queries_per_user", "app", 0, 2, 0),
        ("shop", "max_connections_per_database", "shop", 1, 4, 0),
        ("shop", "allowed_cidrs", "192.0.2.0/24 lab", 1, None, 0),
        (None, "auth_attempts", "192.0.2.1", 1, 10, 0),
    ]


def test_who_was_ended_for_taking_too_long_is_counted(limited):
    """By which time it was."""
    rehearsal = limited(project={"client_idle_timeout_s": 5})
    client = enter(rehearsal)
    rehearsal.advance(6)
    assert client.closed
    assert rehearsal.stats()["limits"]["shop"]["ended_by_client_idle_timeout"] == 1
    shown = rehearsal.beam.hooks.console()[0][1]["LIMITS"]
    assert list(shown.rows) == [("shop", "client_idle_timeout_s", None, None, 5.0, 1)]


def test_an_error_of_the_plugin_itself_refuses_the_query(limited):
    """A limit that cannot be checked is not a limit that is not there."""
    rehearsal = limited()
    client = enter(rehearsal)
    next(iter(rehearsal.beam.sessions.values())).notes["limits"] = object()
    assert client.query("SELECT 1").error[0] == "XX000"


def test_explain_says_which_limit_a_query_would_meet(limited):
    """Before it is sent: what is used of each limit of queries, and that the next one would be refused."""
    rehearsal = limited(queries_per_second=1, burst=2, max_concurrent_queries=5)
    client = enter(rehearsal)

    def explained():
        rows = client.query("/* @pgbeam:explain */ SELECT 1").rows
        return {row[0]: (row[1], row[2]) for row in rows if row[3] == "limits"}

    assert explained()["queries_per_second"] == ("pass", "0 of 2 are used")
    client.query("SELECT 1")
    client.query("SELECT 1")
    assert explained()["queries_per_second"] == ("refuse", "2 of 2 are used")
    assert explained()["max_concurrent_queries"] == ("pass", "0 of 5 are used")
    assert client.query("SELECT 1").error[0] == "53400"


def test_explain_says_that_there_are_no_limits(limited):
    """Silence would look like a limit that is not seen."""
    client = enter(limited())
    rows = client.query("/* @pgbeam:explain */ SELECT 1").rows
    assert ("limits", "pass", "no limit of queries is set for the project", "limits") in rows
