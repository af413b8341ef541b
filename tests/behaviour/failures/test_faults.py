"""Servers that die, clients that vanish and readers that stall: the rest goes on, and nothing is left behind."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.behaviour import frames
from tests.behaviour.beams import Beam
from tests.behaviour.clusters import Cluster
from tests.behaviour.conftest import BeamFactory
from tests.behaviour.quickly import SHARING
from tests.behaviour.wireclient import Closed, Frame, LoginRefused, WireClient, error_fields

pytestmark = pytest.mark.newest

MODES = ("session", "transaction")
WAYS = ("session", "transaction", pytest.param("not sharing", marks=pytest.mark.slow))
SERVERS = 3
LARGE = "SELECT repeat('x', 1000) FROM generate_series(1, 60000)"
BREAKER_OPEN = "upstream unavailable (circuit breaker open)"
LOST = {"57P01", "08006"}
KILL = (
    "SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app' AND state = %s AND query LIKE %s"
)


@pytest.fixture(params=WAYS)
def mine(request: pytest.FixtureRequest, cluster: Cluster, fresh_shop: None, shared_beam: BeamFactory) -> Beam:
    """PgBeam with three servers, in session mode and in transaction mode, sharing servers and not."""
    mode = "session" if request.param == "session" else "transaction"
    return small(shared_beam, cluster, mode, share=request.param != "not sharing")


@pytest.fixture(params=SHARING)
def few(request: pytest.FixtureRequest, cluster: Cluster, fresh_shop: None, shared_beam: BeamFactory) -> Beam:
    """PgBeam with three servers, in transaction mode."""
    return small(shared_beam, cluster, "transaction", share=request.param)


def small(make: BeamFactory, cluster: Cluster, mode: str, *, share: bool) -> Beam:
    """PgBeam with three servers and little patience."""
    pool = {"max_active": SERVERS, "wait_timeout_s": 5, "share": share}
    return make(cluster, mode, settings={"plugins": {"pool": pool}}, witnessed=True)


def kill(cluster: Cluster, state: str, query: str = "%") -> None:
    """Terminate the application's servers in that state and wait until they are gone; there must be one.

    query: what it looks like, where PgBeam may be asking the server something of its own first.
    """
    deadline = time.monotonic() + 5
    with cluster.connect() as boss:
        while not (killed := boss.execute(KILL, [state, query]).fetchall()):
            assert time.monotonic() < deadline, f"no server is {state}"
            time.sleep(0.01)
        pids = [pid for pid, _ in killed]
        while boss.execute("SELECT FROM pg_stat_activity WHERE pid = ANY(%s)", [pids]).fetchall():
            assert time.monotonic() < deadline, "a killed server lives on"
            time.sleep(0.01)


def value(reply: list[Frame]) -> bytes:
    """The only value of the only row."""
    return next(frame.body for frame in reply if frame.tag == b"D")[6:]


def ending(client: WireClient) -> list[Frame]:
    """What comes up to ReadyForQuery or the end of the connection, which is the tag `!`."""
    got: list[Frame] = []
    while not got or got[-1].tag != b"Z":
        try:
            got.append(client.frame())
        except Closed as closed:
            return [*got, Frame(b"!", closed.rest)]
        except ConnectionResetError:
            return [*got, Frame(b"!", b"")]
    return got


def code(reply: list[Frame]) -> str:
    """The SQLSTATE of the only error."""
    (error,) = [frame for frame in reply if frame.tag == b"E"]
    return error_fields(error.body)["C"]


def is_whole(place: Beam, servers: int = SERVERS) -> None:
    """All servers of the pool can be had at once, and none is at work before that."""
    place.wait_until_idle()
    clients = [place.wire() for _ in range(servers)]
    for client in clients:
        assert client.ask(frames.query("BEGIN; SELECT 1"))[-1].body == b"T"
    for client in clients:
        assert client.ask(frames.query("COMMIT"))[-1].body == b"I"
        client.send(frames.terminate())
        client.close()


# The server dies.


def test_an_idle_client_notices_nothing(few: Beam) -> None:
    """All servers are killed while a client is idle between transactions: its next query works."""
    with few.wire() as client:
        client.ask(frames.query("SET work_mem = '123kB'"))
        client.ask(frames.parse("SELECT current_setting('work_mem')", "kept") + frames.sync())
        kill(few.cluster, "idle")
        time.sleep(0.3)  # a query that is sent before PgBeam can know gets the server's goodbye
        reply = client.ask(frames.bind(statement="kept") + frames.execute() + frames.sync())
        assert value(reply) == b"123kB"


def test_killed_in_a_transaction(mine: Beam) -> None:
    """A client whose server is killed in its transaction is told 57P01 and disconnected, as by PostgreSQL."""
    with mine.wire() as client:
        client.ask(frames.query("BEGIN; DELETE FROM orders"))
        kill(mine.cluster, "idle in transaction")
        reply = ending(client)
        assert (code(reply), reply[-1].tag) == ("57P01", b"!")
    with mine.wire() as again:
        assert value(again.ask(frames.query("SELECT count(*) FROM orders"))) == b"50"
    is_whole(mine)


@pytest.mark.parametrize("how", ["simple", "extended"])
def test_killed_in_a_query(mine: Beam, how: str) -> None:
    """A query whose server is killed ends with 57P01; in transaction mode the client goes on."""
    sleep = "SELECT pg_sleep(30)"
    with mine.wire() as client:
        client.send(frames.query(sleep) if how == "simple" else frames.extended(sleep) + frames.sync())
        kill(mine.cluster, "active", sleep)
        reply = ending(client)
        assert code(reply) == "57P01"
        if mine.pool_mode == "transaction":
            assert reply[-1] == (b"Z", b"I")
            assert value(client.ask(frames.query("SELECT 'on'"))) == b"on"
    is_whole(mine)


def test_killed_in_a_large_reply(mine: Beam) -> None:
    """Half a result is followed by an error or the end, never by silence nor by anything that looks whole."""
    with mine.wire() as client:
        client.send(frames.query(LARGE))
        client.frame()
        kill(mine.cluster, "active")
        reply = ending(client)
        assert not any(frame.tag == b"C" for frame in reply)
        assert reply[-1].tag == b"!" or code(reply) in LOST
    is_whole(mine)


def test_killed_in_a_copy_in(mine: Beam) -> None:
    """COPY FROM STDIN whose server is killed ends with an error, and leaves no row."""
    with mine.wire() as client:
        client.send(frames.query("COPY categories FROM STDIN"))
        assert client.frame().tag == b"G"
        client.send(frames.copy_data(b"900\tlost\n"))
        kill(mine.cluster, "active")
        assert code(ending(client)) in LOST
    with mine.wire() as again:
        assert value(again.ask(frames.query("SELECT count(*) FROM categories"))) == b"5"
    is_whole(mine)


def test_killed_in_a_copy_out(mine: Beam) -> None:
    """COPY TO STDOUT whose server is killed never ends as if it were complete."""
    with mine.wire() as client:
        client.send(frames.query(f"COPY ({LARGE}) TO STDOUT"))
        assert client.frame().tag == b"H"
        kill(mine.cluster, "active")
        reply = ending(client)
        assert not any(frame.tag in (b"c", b"C") for frame in reply)
        assert reply[-1].tag == b"!" or code(reply) in LOST
    is_whole(mine)


@pytest.mark.slow
def test_restart_under_a_hundred_clients(cluster: Cluster, fresh_shop: None, beam: BeamFactory) -> None:
    """A server restart: idle clients notice nothing, busy ones are told and can go on, open transactions end."""
    place = beam(cluster, "transaction", settings={"plugins": {"pool": {"max_active": 20}}})
    clients = [place.wire() for _ in range(100)]
    idle, busy, open_ = clients[:85], clients[85:95], clients[95:]
    for number, client in enumerate(idle):
        client.ask(frames.query(f"SET work_mem = '{100 + number}kB'"))
    for client in busy:
        client.send(frames.query("SELECT pg_sleep(30)"))
    for client in open_:
        assert client.ask(frames.query("BEGIN; INSERT INTO orders (quantity) VALUES (7)"))[-1].body == b"T"
    cluster.restart()
    for client in busy:
        reply = ending(client)
        assert code(reply) in LOST
        if reply[-1].tag == b"Z":
            idle.append(client)
    for client in open_:
        reply = ending(client)
        assert (code(reply) in LOST, reply[-1].tag) == (True, b"!")
    wait_until_it_answers(place)
    for number, client in enumerate(idle):
        reply = client.ask(frames.query("SHOW work_mem"))
        if number < 85:
            assert value(reply) == b"%dkB" % (100 + number)
    for client in clients:
        client.close()
    with cluster.connect() as boss:
        assert boss.execute("SELECT count(*) FROM orders").fetchone() == (50,)


def wait_until_it_answers(place: Beam) -> None:
    """Wait until a new client is served: the breaker may have opened meanwhile."""
    deadline = time.monotonic() + 12
    while True:
        try:
            with place.wire() as client:
                if client.ask(frames.query("SELECT 1"))[-2].tag == b"C":
                    return
        except LoginRefused:
            pass
        assert time.monotonic() < deadline, place.log[-2000:]
        time.sleep(0.1)


# The client dies.


def in_a_transaction(client: WireClient) -> None:
    """In an open transaction that has written."""
    client.ask(frames.query("BEGIN; DELETE FROM orders"))


def in_copy_in(client: WireClient) -> None:
    """In the middle of COPY FROM STDIN."""
    client.ask(frames.query("BEGIN; DELETE FROM orders"))
    client.send(frames.query("COPY categories FROM STDIN") + frames.copy_data(b"900\tlost\n") * 100)
    assert client.until(b"G")


def in_copy_out(client: WireClient) -> None:
    """In the middle of COPY TO STDOUT, much of it unread."""
    client.send(frames.query(f"COPY ({LARGE}) TO STDOUT"))
    assert client.until(b"d")


def in_a_pipeline(client: WireClient) -> None:
    """In a pipeline without its Sync."""
    client.send(frames.extended("DELETE FROM orders") + frames.flush())
    assert client.until(b"C")
    client.send(frames.extended("SELECT pg_sleep(0.05)") + frames.flush())


def in_a_large_reply(client: WireClient) -> None:
    """In the middle of a large result."""
    client.send(frames.query(LARGE))
    assert client.until(b"D")


@pytest.mark.parametrize("doing", [in_a_transaction, in_copy_in, in_copy_out, in_a_pipeline, in_a_large_reply])
@pytest.mark.parametrize("how", ["reset", "close"])
def test_a_client_that_vanishes(mine: Beam, doing: Callable[[WireClient], None], how: str) -> None:
    """A client that dies in the middle is rolled back, and its server's place can be had again, time after time."""
    for _ in range(SERVERS + 1):
        client = mine.wire()
        doing(client)
        client.reset() if how == "reset" else client.close()
    is_whole(mine)
    with mine.wire() as other:
        assert value(other.ask(frames.query("SELECT count(*) FROM orders"))) == b"50"
        assert value(other.ask(frames.query("SELECT count(*) FROM categories"))) == b"5"


def test_a_client_that_leaves_the_queue(few: Beam) -> None:
    """A client that vanishes while it waits for a server is not served, and takes nobody's place."""
    last, *everybody = [few.wire() for _ in range(1 + SERVERS + 5)]
    holders, gone = everybody[:SERVERS], everybody[SERVERS:]
    for holder in holders:
        holder.ask(frames.query("BEGIN; LOCK TABLE users IN ACCESS SHARE MODE"))
    for client in gone:
        client.send(frames.query("DELETE FROM orders"))
        time.sleep(0.02)
        client.reset()
    with last:
        last.send(frames.query("SELECT count(*) FROM orders"))
        for holder in holders:
            holder.ask(frames.query("COMMIT"))
            holder.close()
        assert value(last.until(b"Z")) == b"50"
    is_whole(few)


# Slow and stalled readers.


def test_stalled_readers_disturb_nobody(few: Beam) -> None:
    """Two clients ask for much and read nothing: a third is served as ever, and they get all of it later."""
    shared_before = few.shared_turns()
    stalled = [few.wire() for _ in range(2)]
    for client in stalled:
        client.send(frames.query(LARGE))
    with few.wire() as quick:
        started = time.monotonic()
        for number in range(100):
            assert value(quick.ask(frames.query(f"SELECT '{number}'"))) == b"%d" % number
        assert time.monotonic() - started < 3
    for client in stalled:
        assert sum(frame.tag == b"D" for frame in client.until(b"Z")) == 60_000
        client.close()
    assert (few.shared_turns() > shared_before) is few.shares
    is_whole(few)


# The end, and the beginning again.


@pytest.mark.parametrize("mode", MODES)
def test_sigterm_drains(cluster: Cluster, fresh_shop: None, tmp_path: Path, mode: str) -> None:
    """SIGTERM lets a running transaction end, takes no new client, and then the process ends with 0."""
    place = Beam(cluster, mode, tmp_path)
    try:
        drain(place)
    finally:
        place.process.kill()
        place.process.wait()


def drain(place: Beam) -> None:
    """One client is idle, one in a transaction, when the signal comes."""
    client, idle = place.wire(), place.wire()
    client.ask(frames.query("BEGIN; INSERT INTO categories VALUES (77, 'last')"))
    place.process.send_signal(signal.SIGTERM)
    reply = ending(idle)
    assert (code(reply), reply[-1].tag) == ("57P01", b"!")
    with pytest.raises((OSError, Closed, LoginRefused)):
        place.wire()
    assert value(client.ask(frames.query("SELECT name FROM categories WHERE id = 77"))) == b"last"
    assert client.ask(frames.query("COMMIT"))[-1].body == b"I"
    assert place.process.wait(10) == 0
    client.close()
    idle.close()
    with place.cluster.connect() as boss:
        assert boss.execute("SELECT name FROM categories WHERE id = 77").fetchone() == ("last",)


@pytest.mark.slow
def test_the_breaker(cluster: Cluster, beam: BeamFactory) -> None:
    """While the server is down clients are told 08006 at once; when it is back they are served again."""
    place = beam(cluster, "transaction")
    with place.wire() as client:
        assert value(client.ask(frames.query("SELECT 'up'"))) == b"up"
        cluster.crash()
        try:
            said = [error_of(client.ask(frames.query("SELECT 'down'"))) for _ in range(6)]
            assert {each["C"] for each in said} == {"08006"}
            assert [each["M"] == BREAKER_OPEN for each in said[-3:]] == [True, True, True]
            assert said[0]["M"] != BREAKER_OPEN
            with pytest.raises(LoginRefused) as refused:
                place.wire()
            fields = error_fields(refused.value.frames[-1].body)
            assert (fields["S"], fields["C"], fields["M"]) == ("FATAL", "08006", BREAKER_OPEN)
        finally:
            cluster.revive()
        back = time.monotonic()
        while client.ask(frames.query("SELECT 'up'"))[0].tag == b"E":
            assert time.monotonic() - back < 8
            time.sleep(0.1)
        assert value(client.ask(frames.query("SELECT 'up'"))) == b"up"


def error_of(reply: list[Frame]) -> dict[str, str]:
    """The fields of the reply's error."""
    return error_fields(next(frame.body for frame in reply if frame.tag == b"E"))
