"""Clients that take too long, or say nothing, are ended as PostgreSQL would."""

from __future__ import annotations

import pytest

from pgbeam_core import Refusal, hookimpl
from pgbeam_core.testing import FakePostgres, table

pytest_plugins = ["pgbeam_core.testing.fixtures"]

NUMBERS = table(["n"], [("1",)])
IN_TRANSACTION = ("25P03", "terminating connection due to idle-in-transaction timeout")
TOO_LONG = ("25P04", "terminating connection due to transaction timeout")
IDLE = ("57P05", "terminating connection due to idle-session timeout")
LAZINESS = ("reads", "begin", "off")


@pytest.fixture
def beam(rehearse):
    """beam(client_idle_timeout_s=5, …) gives a PgBeam whose project is set so."""

    def beam(plugins=None, **project):
        answers = {"SELECT 1": NUMBERS, "INSERT INTO t VALUES (1)": b"C\0\0\0\x0fINSERT 0 1\0"}
        return rehearse(plugins or {}, project=project, servers={"primary:5432": FakePostgres(answers)})

    return beam


def ended(client):
    """With what a client was ended; None if it is still there."""
    error = client.collect().error
    assert client.closed is (error is not None)
    return error


def test_nobody_is_ended_by_default(beam):
    """Without settings a client may sit in a transaction for a day."""
    rehearsal = beam()
    idle, inside = rehearsal.login(), rehearsal.login()
    inside.query("BEGIN")
    rehearsal.advance(86_400, step=3600)
    assert ended(idle) is None
    assert ended(inside) is None


@pytest.mark.parametrize("lazy", LAZINESS)
def test_an_idle_transaction_is_ended(beam, lazy):
    """Kept back or real, once the client has owed its next statement for that long; its server rolls back."""
    rehearsal = beam(idle_transaction_timeout_ms=1000, lazy_transactions=lazy)
    client = rehearsal.login()
    client.query("BEGIN")
    for _ in range(3):
        rehearsal.advance(0.9, step=0.1)
        assert client.query("INSERT INTO t VALUES (1)").error is None
    rehearsal.advance(0.9, step=0.1)
    assert ended(client) is None
    rehearsal.advance(0.2, step=0.1)
    assert ended(client) == IN_TRANSACTION
    assert rehearsal.beam.sessions == {}


@pytest.mark.parametrize("lazy", LAZINESS)
def test_a_transaction_that_was_never_real_is_ended_too(beam, lazy):
    """BEGIN alone is a transaction, whether any server has heard of it or not."""
    rehearsal = beam(idle_transaction_timeout_ms=1000, lazy_transactions=lazy)
    client = rehearsal.login()
    client.query("BEGIN")
    rehearsal.advance(1.1, step=0.1)
    assert ended(client) == IN_TRANSACTION


def test_a_failed_transaction_is_ended_too(beam):
    """It holds its locks as well."""
    rehearsal = beam(idle_transaction_timeout_ms=1000)
    client = rehearsal.login()
    client.query("BEGIN")
    assert client.query("INSERT INTO nowhere VALUES (1)").error is not None
    rehearsal.advance(1.1, step=0.1)
    assert ended(client) == IN_TRANSACTION


def test_outside_of_a_transaction_only_the_time_for_idle_clients_counts(beam):
    """A client in a pool of its application is not ended by the bound for transactions."""
    rehearsal = beam(idle_transaction_timeout_ms=1000, transaction_timeout_ms=1000, client_idle_timeout_s=10)
    client = rehearsal.login()
    for _ in range(3):
        rehearsal.advance(9)
        assert client.query("SELECT 1").error is None
    client.query("BEGIN")
    client.query("COMMIT")
    rehearsal.advance(9)
    assert ended(client) is None
    rehearsal.advance(2)
    assert ended(client) == IDLE


@pytest.mark.parametrize("lazy", LAZINESS)
def test_a_transaction_may_take_only_so_long(beam, lazy):
    """However busy its client is; the next transaction has all of the time again."""
    rehearsal = beam(transaction_timeout_ms=1000, lazy_transactions=lazy)
    client = rehearsal.login()
    for _ in range(3):
        client.query("BEGIN")
        for _ in range(4):
            rehearsal.advance(0.2, step=0.1)
            assert client.query("INSERT INTO t VALUES (1)").error is None
        assert client.query("COMMIT").error is None
        rehearsal.advance(2, step=0.1)
    client.query("BEGIN")
    for _ in range(4):
        rehearsal.advance(0.2, step=0.1)
        client.query("INSERT INTO t VALUES (1)")
    rehearsal.advance(0.3, step=0.1)
    assert ended(client) == TOO_LONG


def test_a_statement_of_its_own_is_a_transaction(beam):
    """A query that takes too long is cancelled on its server, and its client ended."""
    rehearsal = beam(transaction_timeout_ms=1000)
    client = rehearsal.login()
    client.query("SELECT 1")
    rehearsal.primary.silent = True
    client.query("INSERT INTO t VALUES (1)")
    rehearsal.advance(0.9, step=0.1)
    assert ended(client) is None
    rehearsal.advance(0.2, step=0.1)
    assert ended(client) == TOO_LONG


def test_a_query_that_runs_is_not_idle(beam):
    """The time of idle clients does not run while a server owes the reply."""
    rehearsal = beam(client_idle_timeout_s=1, idle_transaction_timeout_ms=1000)
    client = rehearsal.login()
    client.query("BEGIN")
    rehearsal.primary.silent = True
    client.query("INSERT INTO t VALUES (1)")
    rehearsal.advance(30)
    assert ended(client) is None


def test_a_reload_holds_for_clients_that_are_there(beam):
    """Another time counts from when the client was heard of last; none is dropped for the reload itself."""
    rehearsal = beam()
    client, busy = rehearsal.login(), rehearsal.login()
    rehearsal.advance(4)
    busy.query("SELECT 1")
    rehearsal.reload(project={"client_idle_timeout_s": 5})
    assert ended(client) is None
    rehearsal.advance(1.5)
    assert ended(client) == IDLE
    assert ended(busy) is None
    rehearsal.reload(project={})
    rehearsal.advance(60)
    assert ended(busy) is None


def test_what_is_looked_at_stays_in_bounds(beam):
    """Thousands of clients that come and go leave nothing that waits for its time."""
    rehearsal = beam(client_idle_timeout_s=3600)
    stayer = rehearsal.login()
    for _ in range(1200):
        rehearsal.login().vanish()
    overtime = rehearsal.beam.overtime
    assert len(overtime) == 1
    assert len(overtime._due) <= 1100
    stayer.leave()
    assert len(overtime) == len(overtime._due) == 0


# Long texts.


def test_a_long_text_is_refused_and_the_session_goes_on(beam):
    """By either protocol, whether the text would ever be executed or not."""
    rehearsal = beam()
    rehearsal.reload(top={"max_query_bytes": 20})
    client = rehearsal.login()
    long = "SELECT 1 -- " + "x" * 20
    wanted = ("54000", "query is too long (32 bytes, max 20 bytes)")
    assert client.query(long).error == wanted
    assert client.execute(long).error == wanted
    assert client.query("SELECT 1").rows == client.execute("SELECT 1").rows == (("1",),)
    rehearsal.reload(top={"max_query_bytes": 32})
    assert client.query(long).error != wanted
    rehearsal.reload(top={"max_query_bytes": 31})
    assert client.query(long).error == ("54000", "query is too long (32 bytes, max 31 bytes)")


@pytest.mark.parametrize("lazy", LAZINESS)
def test_a_long_text_fails_the_transaction(beam, lazy):
    """As any error does."""
    rehearsal = beam(lazy_transactions=lazy)
    rehearsal.reload(top={"max_query_bytes": 30}, project={"lazy_transactions": lazy})
    client = rehearsal.login()
    client.query("BEGIN")
    assert client.query("SELECT 1 -- " + "x" * 20).error[0] == "54000"
    assert client.query("ROLLBACK").tags == ("ROLLBACK",)
    assert client.query("SELECT 1").error is None


# Everything changes at a reload.


def test_the_time_to_log_in_changes_for_those_who_are_logging_in(beam):
    """They have the new time from then on, be it longer or shorter."""
    rehearsal = beam()
    waiting = rehearsal.call()
    rehearsal.advance(10)
    rehearsal.reload(top={"login_timeout_s": 60})
    rehearsal.advance(30)
    assert not waiting.closed
    rehearsal.reload(top={"login_timeout_s": 5})
    rehearsal.advance(4)
    assert not waiting.closed
    later = rehearsal.call()
    rehearsal.advance(2)
    assert waiting.closed
    assert not later.closed
    rehearsal.advance(4)
    assert later.closed


def test_the_number_of_those_who_have_not_logged_in_changes(beam):
    """The oldest of those who are too many go."""
    rehearsal = beam()
    waiting = [rehearsal.call() for _ in range(5)]
    rehearsal.reload(top={"max_unauthenticated": 2})
    assert [client.closed for client in waiting] == [True, True, True, False, False]


def test_the_length_of_messages_changes_for_clients_that_are_there(beam):
    """The next message is judged by what holds then."""
    rehearsal = beam()
    client = rehearsal.login()
    rehearsal.reload(top={"max_message_bytes": 65_536})
    assert client.query("SELECT 1").error is None
    assert client.query("SELECT 1 -- " + "x" * 70_000).error[0] == "54000"
    assert client.closed


# Refusing who has logged in.


class Doorkeeper:
    """Refuses one user, once it is known that it is who it says."""

    @hookimpl
    def authenticated(self, session):
        """Says so."""
        return Refusal("53300", "not today") if session.user == "eve" else None


def test_a_plugin_may_turn_away_who_has_logged_in(beam):
    """The client is told before it may ask anything, and its server serves others."""
    rehearsal = beam({"door": Doorkeeper()})
    eve = rehearsal.login("eve")
    assert eve.refusal == ("53300", "not today")
    assert eve.closed
    assert not [frame for frame in eve.greeting.frames if frame[:1] == b"Z"]
    assert rehearsal.login("adam").query("SELECT 1").error is None
    assert len(rehearsal.beam.sessions) == 1


GONE = ("08006", "server connection was lost: it has said nothing for longer than query_timeout_ms")


def test_a_server_that_does_not_keep_the_time_of_a_statement_is_given_up(beam):
    """It has stopped, or its network has: PgBeam waits for `query_timeout_ms` and five seconds more, and no longer."""
    rehearsal = beam(query_timeout_ms=1000)
    client = rehearsal.login()
    client.query("SELECT 1")
    rehearsal.advance(30, step=0.5)
    rehearsal.primary.silent = True
    client.query("INSERT INTO t VALUES (1)")
    rehearsal.advance(5.9, step=0.1)
    assert ended(client) is None
    rehearsal.advance(0.2, step=0.1)
    assert ended(client) == GONE


def test_a_server_that_stops_under_several_clients_keeps_none_of_them(beam):
    """Plain reads stand behind each other on one server: all of them come to an end."""
    rehearsal = beam(query_timeout_ms=1000)
    clients = [rehearsal.login() for _ in range(3)]
    for client in clients:
        client.query("SELECT 1")
    rehearsal.primary.silent = True
    for client in clients:
        client.query("SELECT 1")
    rehearsal.advance(40, step=0.1)
    assert [client.collect().error is not None or client.closed for client in clients] == [True] * 3


@pytest.mark.parametrize("own", ["SET statement_timeout = 0", "BEGIN"])
def test_a_time_of_the_clients_own_is_the_servers_business(beam, own):
    """Whoever has set another time, or may have in a transaction, is not ended by PgBeam's."""
    rehearsal = beam(query_timeout_ms=1000, lazy_transactions="off")
    client = rehearsal.login()
    client.query(own)
    rehearsal.primary.silent = True
    client.query("INSERT INTO t VALUES (1)")
    rehearsal.advance(60, step=1)
    assert ended(client) is None
