"""Which server a session keeps, how long, and what follows it."""

from __future__ import annotations

import pytest

from pgbeam_core.errors import PoolExhausted, ServerUnavailable
from pgbeam_core.session.state import Phase
from pgbeam_core.wire import frontend
from tests.session.plugins import code, staged
from tests.session.stage import (
    FLUSH,
    IN_TRANSACTION,
    ONE,
    READY,
    TWO,
    Stage,
    done,
    error,
    messages,
    pbe,
    query,
    tags,
)

# Waiting for a server.


def test_a_late_lease_is_used() -> None:
    """A client that waits for a server gets its reply when one comes free."""
    stage = Stage(servers=0)
    stage.send(query("SELECT 1"))
    assert stage.conversation.phase is Phase.WAITING
    server = stage.server()
    stage.pools.serve(server)
    stage.say(done() + READY, server)
    assert stage.client.take() == done() + READY
    assert stage.pools.idle == [server]


@pytest.mark.parametrize(
    ("failure", "sqlstate"),
    [(PoolExhausted("timed out waiting for a server connection"), "53300"), (ServerUnavailable("down"), "08006")],
)
def test_a_lease_that_fails_is_an_error_of_the_query(failure: Exception, sqlstate: str) -> None:
    """No server to be had costs the query, not the session."""
    stage, plugin = staged(servers=0)
    stage.send(query("SELECT 1") + query("SELECT 2"))
    stage.pools.waiting.pop().errback(failure)
    got = stage.client.take()
    assert tags(got) == "EZ"
    assert code(messages(got)[0]) == sqlstate
    assert len(stage.pools.waiting) == 1, "the next query asks for a server of its own"
    assert len(plugin.results) == 1


def test_a_client_that_leaves_gives_its_place_up() -> None:
    """Nobody waits for a server in a dead client's name."""
    stage = Stage(servers=0)
    stage.send(query("SELECT 1"))
    (waiter,) = stage.pools.waiting
    stage.client.hang_up("left")
    assert waiter.called
    assert stage.client.got == b""


def test_terminate_behind_a_query_ends_the_session_after_it() -> None:
    """A client that says goodbye in the same packet still has its query run."""
    stage = Stage()
    stage.send(query("INSERT INTO t VALUES (1)") + frontend.TERMINATE)
    assert stage.client.gone is None
    stage.say(done("INSERT 0 1") + READY)
    assert stage.client.gone is not None
    assert stage.pools.idle == stage.servers


def test_terminate_while_waiting_is_read_when_the_wait_is_over() -> None:
    """The query before it is not lost."""
    stage = Stage(servers=0)
    stage.send(query("SELECT 1") + frontend.TERMINATE)
    server = stage.server()
    stage.pools.serve(server)
    assert stage.sent(server) == query("SELECT 1")
    stage.say(done() + READY, server)
    assert stage.client.gone is not None


# Transactions and modes.


def test_a_transaction_keeps_its_server_and_its_end_gives_it_back() -> None:
    """In transaction mode a server is held from BEGIN to COMMIT."""
    stage, plugin = staged()
    stage.turn(query("BEGIN"), done("BEGIN") + IN_TRANSACTION)
    assert stage.pools.idle == []
    stage.turn(query("COMMIT"), done("COMMIT") + READY)
    assert stage.pools.idle == stage.servers
    assert plugin.over == [True]


@pytest.mark.parametrize(
    ("statement", "tag", "ready", "over"),
    [
        ("COMMIT", "COMMIT", READY, [True]),
        ("COMMIT", "ROLLBACK", READY, [False]),
        ("ROLLBACK", "ROLLBACK", READY, [False]),
        ("COMMIT AND CHAIN", "COMMIT", IN_TRANSACTION, [True]),
        ("ROLLBACK AND CHAIN", "ROLLBACK", IN_TRANSACTION, [False]),
    ],
)
def test_the_end_of_a_transaction_is_told_as_the_server_saw_it(
    statement: str, tag: str, ready: bytes, over: list[bool]
) -> None:
    """A COMMIT of a failed transaction is a ROLLBACK; AND CHAIN ends one and begins the next."""
    stage, plugin = staged()
    stage.turn(query("BEGIN"), done("BEGIN") + IN_TRANSACTION)
    stage.turn(query(statement), done(tag) + ready)
    assert plugin.over == over
    assert stage.conversation.session.in_transaction is (ready == IN_TRANSACTION)


def test_a_commit_that_fails_is_a_rollback() -> None:
    """A deferred constraint breaks at COMMIT: settings of the transaction go with it."""
    stage, plugin = staged()
    stage.turn(query("BEGIN"), done("BEGIN") + IN_TRANSACTION)
    stage.turn(query("SET search_path = x"), done("SET") + IN_TRANSACTION)
    stage.turn(query("COMMIT"), error("23503") + READY)
    assert plugin.over == [False]
    assert stage.conversation.session.settings.now == {}


def test_session_mode_keeps_the_server() -> None:
    """In session mode nobody else gets the server until the client leaves."""
    stage = Stage(pool_mode="session")
    stage.turn(query("SELECT 1"), done() + READY)
    assert stage.pools.idle == []
    stage.client.hang_up("left")
    stage.inspect()
    assert stage.pools.idle == stage.servers


@pytest.mark.parametrize("text", ["BEGIN", "START TRANSACTION", "BEGIN; SELECT 1; COMMIT"])
def test_statement_mode_refuses_transactions(text: str) -> None:
    """0A000, also for a BEGIN among other statements."""
    stage = Stage(pool_mode="statement")
    got = stage.send(query(text))
    assert tags(got) == "EZ"
    assert code(messages(got)[0]) == "0A000"


def test_settings_follow_their_client() -> None:
    """What one client has set another does not see, and it finds it again on any server."""
    stage = Stage()
    stage.turn(query("SET search_path = mine"), done("SET") + READY)
    stage.sent()
    other, _ = stage.join()
    stage.send(query("SELECT 1"), other)
    assert stage.sent() == query('RESET "search_path"') + query("SELECT 1")
    stage.say(done("RESET") + READY + done() + READY)
    assert other.take() == done() + READY
    stage.send(query("SELECT 2"))
    assert [frame[:1] for frame in messages(stage.sent())] == [b"Q", b"Q"]


@pytest.mark.parametrize(("way_back", "said"), [("ROLLBACK", "ROLLBACK"), ("ROLLBACK TO s", "ROLLBACK")])
def test_what_is_rolled_back_is_not_set_on_the_server(way_back: str, said: str) -> None:
    """Whoever wants that setting next must get it, though the server had it for a while."""
    stage = Stage()
    (server,) = stage.servers
    before = dict(server.settings)
    opened, left = READY[:-1] + b"T", READY if way_back == "ROLLBACK" else READY[:-1] + b"T"
    stage.turn(query("BEGIN"), done("BEGIN") + opened)
    stage.turn(query("SAVEPOINT s"), done("SAVEPOINT") + opened)
    stage.turn(query("SET role = boss"), done("SET") + opened)
    stage.turn(query("SHOW work_mem"), done("SHOW") + opened)
    stage.turn(query(way_back), done(said) + left)
    stage.turn(query("COMMIT"), done("COMMIT") + READY)
    assert server.settings == before


def test_the_server_of_a_login_is_not_taken_for_one_with_the_clients_settings() -> None:
    """A pooled login opens a server without the client's application_name: the first query brings it."""
    stage = Stage(application_name="report")
    (server,) = stage.servers
    stage.conversation.accept_lease(stage.pools._lease(stage.pools.idle.pop()))
    stage.conversation.login_is_over()
    assert server.settings == {}
    stage.send(query("SHOW application_name"))
    assert b"report" in messages(stage.sent())[0]


def test_a_pin_keeps_the_server_and_its_end_gives_it_back() -> None:
    """LISTEN pins, UNLISTEN * lets go."""
    stage = Stage()
    stage.turn(query("LISTEN news"), done("LISTEN") + READY)
    stage.inspect("listen")
    assert stage.conversation.session.pins == {"listen"}
    assert stage.pools.idle == []
    stage.turn(query("UNLISTEN *"), done("UNLISTEN") + READY)
    stage.inspect()
    assert stage.pools.idle == stage.servers


def test_a_pin_of_a_rolled_back_transaction_is_none() -> None:
    """A temporary table whose CREATE was rolled back keeps nobody."""
    stage = Stage()
    stage.turn(query("BEGIN"), done("BEGIN") + IN_TRANSACTION)
    stage.turn(query("CREATE TEMP TABLE t (a int)"), done("CREATE TABLE") + IN_TRANSACTION)
    stage.turn(query("ROLLBACK"), done("ROLLBACK") + READY)
    stage.inspect()
    assert stage.conversation.session.pins == set()
    assert stage.pools.idle == stage.servers


def test_a_pin_of_a_savepoint_that_is_rolled_back_to_is_asked_for() -> None:
    """LISTEN behind the savepoint is gone, and one before it is not: only the server knows."""
    stage = Stage()
    stage.turn(query("BEGIN; SAVEPOINT s"), done("BEGIN") + done("SAVEPOINT") + IN_TRANSACTION)
    stage.turn(query("LISTEN news"), done("LISTEN") + IN_TRANSACTION)
    stage.turn(query("ROLLBACK TO s"), done("ROLLBACK") + IN_TRANSACTION)
    stage.turn(query("COMMIT"), done("COMMIT") + READY)
    assert stage.servers[0].owed
    stage.inspect()
    assert stage.conversation.session.pins == set()
    assert stage.pools.idle == stage.servers


def test_discard_all_ends_every_pin() -> None:
    """Whatever it was."""
    stage = Stage()
    stage.turn(query("CREATE TEMP TABLE t (a int)"), done("CREATE TABLE") + READY)
    stage.inspect("temp_table")
    stage.turn(query("DISCARD ALL"), done("DISCARD ALL") + READY)
    stage.inspect()
    assert stage.pools.idle == stage.servers


def test_a_query_behind_a_pipeline_has_its_effects() -> None:
    """SET and LISTEN in a Query behind Parse, Bind, Execute and Flush count as anywhere else."""
    stage = Stage()
    stage.turn(pbe("SELECT 1") + FLUSH + query("SET search_path = x"), ONE + TWO + done() + done("SET") + READY)
    assert stage.conversation.session.settings.now == {"search_path": "x"}
    stage.turn(pbe("SELECT 1") + FLUSH + query("LISTEN a"), ONE + TWO + done() + done("LISTEN") + READY)
    assert stage.conversation.session.pins == {"listen"}


def test_a_released_savepoint_is_gone() -> None:
    """ROLLBACK TO a name that was released and reused goes back to the older one."""
    stage = Stage()
    for text in ("BEGIN", "SAVEPOINT a", "SET search_path = x", "SAVEPOINT a", "RELEASE a", "ROLLBACK TO a"):
        stage.turn(query(text), done(text.split()[0]) + IN_TRANSACTION)
    stage.turn(query("COMMIT"), done("COMMIT") + READY)
    assert stage.conversation.session.settings.now == {}
