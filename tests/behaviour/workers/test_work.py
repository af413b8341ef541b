"""Several workers do the work of one PgBeam: clients, cancels, limits, statistics, the cache."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

import pytest

from pgbeam_core import PgBeamError

from .. import frames
from ..beams import Beam
from ..wireclient import LoginRefused, WireClient, error_fields
from .several import Crowd, Two, ask, control, said, until, worker_of

pytestmark = pytest.mark.newest


def test_clients_are_spread_evenly(two: Two, crowd: Crowd) -> None:
    """Each worker gets half of the clients; when those of one have left, it gets the next ones."""
    mine = two()
    clients = crowd(mine, 16)
    assert [each["clients"] for each in control(mine, "workers")] == [8, 8]
    first = worker_of(mine, clients[0])
    leaving = [client for client in clients if worker_of(mine, client) == first]
    for client in leaving:
        client.close()
    until(lambda: sorted(each["clients"] for each in control(mine, "workers")) == [0, 8])
    assert {worker_of(mine, client) for client in crowd(mine, 8)} == {first}


@pytest.mark.parametrize("protocol", [frames.PROTOCOL_3_0, frames.PROTOCOL_3_2], ids=["3.0", "3.2"])
@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_a_cancel_finds_its_worker(pair: Callable[[str], Beam], crowd: Crowd, mode: str, protocol: int) -> None:
    """A cancel request comes on a connection of its own, to any worker; it hits its own client's query and no other."""
    mine = pair(mode)
    clients = crowd(mine, 4, protocol=protocol)
    for round_ in range(3):  # the connections that cancel go to one worker and the other in turn
        for client in clients:
            client.send(frames.query("SELECT pg_sleep(30)"))
        time.sleep(0.2)
        for client in clients[round_ % 2 :: 2]:
            client.cancel()
            assert said(client.until(b"Z")) == "57014"
        for client in clients[(round_ + 1) % 2 :: 2]:
            client.socket.settimeout(0.1)
            with pytest.raises(TimeoutError):
                client.socket.recv(1)
            client.cancel()
            assert said(client.until(b"Z")) == "57014"
        assert [ask(client, "SELECT 'and on'") for client in clients] == ["and on"] * 4


def test_a_wrong_key_cancels_nothing(pair: Callable[[str], Beam], crowd: Crowd) -> None:
    """A guessed secret is met with silence, whichever worker it comes to, and the query runs on."""
    mine = pair("transaction")
    client, other = crowd(mine, 2)
    client.send(frames.query("SELECT 'mine', pg_sleep(0.6)"))
    for pid, key in [(client.pid, bytes(byte ^ 1 for byte in client.key)), (other.pid, client.key)] * 2:
        with WireClient(mine.port) as stranger:
            stranger.send(frames.cancel_request(pid, key))
            stranger.socket.settimeout(5)
            assert stranger.socket.recv(1) == b""
    assert said(client.until(b"Z")).startswith("mine")


def test_stats_are_those_of_all_workers(two: Two, crowd: Crowd) -> None:
    """Counters add up; a quantile is that of all latencies together."""
    mine = two()
    for client in crowd(mine, 4):
        for _ in range(5):
            ask(client, "SELECT 1")
        ask(client, "SELECT pg_sleep(0.02)")
    stats = control(mine, "stats")
    shop = stats["projects"]["shop"]
    assert (shop["clients"], shop["queries"]) == (4, 24)
    assert shop["latency_p50_ms"] < 20 < shop["latency_p99_ms"] < 100
    assert stats["pool"]["pool"]["shop"]["servers"] >= 4


def test_the_control_socket_speaks_for_all(two: Two, crowd: Crowd) -> None:
    """A shape's calls are those of all workers, a rule holds in all of them, and what nobody answers is an error."""
    mine = two()
    clients = crowd(mine, 4)
    query = "SELECT id FROM products WHERE id = 7"
    for client in clients:
        for _ in range(3):
            ask(client, query)
    (shape,) = [row for row in control(mine, "cache-rules.list") if row["query"].endswith("WHERE id = $1")]
    assert shape["calls"] == 12
    control(mine, "cache-rules.set", query_hash=shape["query_hash"], ttl=60)
    time.sleep(1.1)
    for client in clients:
        ask(client, "SET pgbeam.debug = on")
        for _ in range(2):
            reply = client.ask(frames.query(query))
    notices = [error_fields(frame.body)["M"] for frame in reply if frame.tag == b"N"]
    assert notices[0].startswith("pgbeam: cache=hit")
    assert control(mine, "stats")["cache"]["hits"] + control(mine, "stats")["cache"]["coalesced"] >= 6
    assert {"ping", "workers", "stats", "cache-rules.list"} <= set(control(mine, "list"))
    with pytest.raises(PgBeamError, match="nobody answers"):
        control(mine, "no.such")


def test_a_write_is_seen_by_the_other_worker(two: Two, crowd: Crowd) -> None:
    """When the writer hears of its commit, no worker serves what was there before."""
    mine = two(settings={"plugins": {"cache": {"enabled": True, "ttl_s": 300}}})
    writer, reader = crowd(mine, 2)
    assert worker_of(mine, writer) != worker_of(mine, reader)
    read = "SELECT price FROM products WHERE id = 8"
    ask(writer, "SELECT 1")
    stale = []
    for price in range(100, 160):
        assert ask(writer, f"UPDATE products SET price = {price} WHERE id = 8") == ""
        got = [ask(reader, read) for _ in range(3)]
        if got != [f"{price}.00"] * 3:
            stale.append((price, got))
    assert stale == []
    assert control(mine, "stats")["cache"]["hits"] > 50


def test_failed_logins_count_wherever_they_fail(two: Two) -> None:
    """Four attempts are four, not four for each worker."""
    mine = two(settings={"plugins": {"limits": {"auth_attempts": 4}}})
    for _ in range(4):
        with pytest.raises(LoginRefused, match="password authentication failed"):
            mine.wire("with_scram", password="wrong")
    time.sleep(0.2)
    for _ in range(2):
        with pytest.raises(LoginRefused, match="too many authentication attempts"):
            mine.wire()


def test_max_active_is_for_all_workers(two: Two, crowd: Crowd) -> None:
    """The servers of a project are as many as set, however many workers share them."""
    mine = two(settings={"plugins": {"pool": {"max_active": 5, "share": False}}})
    clients = crowd(mine, 12)
    for client in clients:
        client.send(frames.query("SELECT pg_sleep(0.2)"))
    most = 0
    for _ in range(10):
        most = max(most, len(mine.servers()))
        time.sleep(0.03)
    for client in clients:
        client.until(b"Z")
    assert most == 5


def test_many_connections_come_and_go(pair: Callable[[str], Beam]) -> None:
    """Connections that say nothing, or leave at once, do not spoil the count of clients."""
    mine = pair("transaction")
    for _ in range(300):
        socket.create_connection(("127.0.0.1", mine.port)).close()
    until(lambda: [each["clients"] for each in control(mine, "workers")] == [0, 0])
    with mine.wire() as client:
        assert ask(client, "SELECT 'well'") == "well"
