"""Cancel requests with the clients' own keys: they hit the query that they were meant for, or none."""

from __future__ import annotations

import os
import random
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.behaviour import frames
from tests.behaviour.beams import Beam, Direct
from tests.behaviour.clusters import Cluster
from tests.behaviour.conftest import BeamFactory
from tests.behaviour.wireclient import Frame, WireClient, error_fields

pytestmark = pytest.mark.newest

SECONDS = float(os.environ.get("SOAK_SECONDS", "8")) / 8
SEED = 20240229
CLIENTS = 20
CANCELLED = "57014"
WAYS = {
    "session": ("session", True, CLIENTS + 2),
    "sharing": ("transaction", True, 3),
    "not sharing": ("transaction", False, 3),
    "statement": ("statement", True, 3),
}


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, cluster: Cluster, shared_beam: BeamFactory) -> Beam:
    """PgBeam in each mode, with three servers where servers can be shared."""
    mode, share, servers = WAYS[request.param]
    pool = {"max_active": servers, "share": share}
    return shared_beam(cluster, mode, settings={"plugins": {"pool": pool}}, witnessed=True)


def said(reply: list[Frame]) -> bytes | str:
    """The first value of the last row, or the SQLSTATE of the error."""
    for frame in reversed(reply):
        if frame.tag == b"E":
            return error_fields(frame.body)["C"]
        if frame.tag == b"D":
            size = struct.unpack_from("!i", frame.body, 2)[0]
            return frame.body[6 : 6 + size]
    return b""


class Asker:
    """One client that asks for its own tokens; every second one is cancelled now and then."""

    def __init__(self, place: Direct, number: int) -> None:
        long_key = number % 3 == 0
        self.client = place.wire(protocol=frames.PROTOCOL_3_2 if long_key else frames.PROTOCOL_3_0)
        assert (len(self.client.key) > 4) is (long_key and (place.pool_mode != "direct" or place.cluster.version >= 18))
        self.number = number
        self.cancels = number % 2 == 0
        self.random = random.Random(SEED + number)
        self.answered = self.cancelled = 0
        self.wrong: list[str] = []

    def ask(self, until: float) -> None:
        """Ask until that moment of the monotonic clock."""
        serial = 0
        while time.monotonic() < until:
            serial += 1
            token = f"<{self.number}:{serial}>"
            got = said(self.client.ask(self._request(token)))
            if got == CANCELLED and self.cancels:
                self.cancelled += 1
            elif got == token.encode():
                self.answered += 1
            else:
                self.wrong.append(f"client {self.number} asked for {token} and got {got!r}")

    def _request(self, token: str) -> bytes:
        kind = self.random.randrange(4)
        if kind == 0:
            return frames.query(f"SELECT '{token}', pg_sleep({self.random.random() * 0.01:.4f})")
        if kind == 1:
            return frames.extended("SELECT $1::text", token.encode()) + frames.sync()
        if kind == 2:
            return frames.query(f"SELECT '{token}', count(*) FROM generate_series(1, {self.random.randint(1, 3000)})")
        return frames.query(f"SELECT '{token}'")


def cancel_at_random(askers: list[Asker], until: float) -> None:
    """Cancel those who agreed to it, as they work."""
    chance = random.Random(SEED)
    cancelling = [asker for asker in askers if asker.cancels]
    while time.monotonic() < until:
        chance.choice(cancelling).client.cancel()
        time.sleep(chance.random() * 0.004)


@pytest.fixture
def crowd() -> Iterator[Callable[[Direct], list[Asker]]]:
    """Gives all clients of a place, which hang up after the test."""
    there: list[Asker] = []

    def come(place: Direct) -> list[Asker]:
        there.extend(Asker(place, number) for number in range(CLIENTS))
        return there

    yield come
    for asker in there:
        asker.client.close()


def storm(askers: list[Asker]) -> None:
    """Everybody asks, and half of them are cancelled again and again."""
    until = time.monotonic() + SECONDS
    with ThreadPoolExecutor(CLIENTS + 2) as threads:
        doing = [threads.submit(asker.ask, until) for asker in askers]
        doing += [threads.submit(cancel_at_random, askers, until) for _ in range(2)]
        for one in doing:
            one.result()
    assert [wrong for asker in askers for wrong in asker.wrong] == []
    assert sum(asker.cancelled for asker in askers) > 0
    assert all(asker.answered > 0 for asker in askers)


def test_only_those_who_cancel_are_cancelled(way: Beam, crowd: Callable[[Direct], list[Asker]]) -> None:
    """Cancels race with queries: each query ends with its own answer, or with 57014 if its client cancelled."""
    before = way.shared_turns()
    storm(crowd(way))
    assert (way.shared_turns() > before) is way.shares


@pytest.mark.slow
def test_the_storm_itself(cluster: Cluster, crowd: Callable[[Direct], list[Asker]]) -> None:
    """The same direct: the test has no mistake of its own."""
    storm(crowd(Direct(cluster)))


def test_a_wrong_key_cancels_nothing(way: Beam) -> None:
    """A guessed secret, a cut one and somebody else's process id are met with silence, and the query runs on."""
    with way.wire() as client, way.wire(protocol=frames.PROTOCOL_3_2) as other:
        client.send(frames.query("SELECT 'mine', pg_sleep(0.4)"))
        wrong = bytes(byte ^ 1 for byte in client.key)
        for pid, key in [
            (client.pid, wrong),
            (client.pid, other.key),
            (other.pid, client.key),
            (other.pid, other.key[:4]),
        ]:
            with WireClient(way.port) as stranger:
                stranger.send(frames.cancel_request(pid, key))
                stranger.socket.settimeout(5)
                assert stranger.socket.recv(1) == b""
        assert said(client.until(b"Z")) == b"mine"


def test_a_cancel_ends_a_running_query(way: Beam) -> None:
    """A long query ends with 57014 at once, and the client goes on."""
    with way.wire() as client:
        client.send(frames.query("SELECT pg_sleep(30)"))
        time.sleep(0.15)
        started = time.monotonic()
        client.cancel()
        assert said(client.until(b"Z")) == CANCELLED
        assert time.monotonic() - started < 2
        assert said(client.ask(frames.query("SELECT 'and on'"))) == b"and on"


def test_a_cancel_while_idle_hits_nothing(way: Beam) -> None:
    """A cancel that comes too late does nothing to this client's next query, nor to another's."""
    with way.wire() as client, way.wire() as other:
        for number in range(30):
            assert said(client.ask(frames.query(f"SELECT '{number}'"))) == b"%d" % number
            canceller = threading.Thread(target=client.cancel)
            canceller.start()
            assert said(other.ask(frames.query("SELECT 'other', pg_sleep(0.002)"))) == b"other"
            canceller.join()
        assert said(client.ask(frames.query("SELECT 'well', pg_sleep(0.01)"))) == b"well"


@pytest.mark.parametrize("again", ["cancelled", "served"])
def test_a_cancel_in_the_queue(cluster: Cluster, beam: BeamFactory, again: str) -> None:
    """Who waits for a server and cancels is told 57014 at once, and may wait again; who holds the server is not hit."""
    mine = beam(cluster, "transaction", settings={"plugins": {"pool": {"max_active": 1}}})
    with mine.wire() as holder, mine.wire() as waiter:
        assert said(holder.ask(frames.query("BEGIN; SELECT 'held'"))) == b"held"
        holder.send(frames.query("SELECT 'still held', pg_sleep(0.5)"))
        waiter.send(frames.query("SELECT 'first'"))
        time.sleep(0.1)
        started = time.monotonic()
        waiter.cancel()
        assert said(waiter.until(b"Z")) == CANCELLED
        assert time.monotonic() - started < 0.3
        waiter.send(frames.extended("SELECT 'second'") + frames.sync())
        time.sleep(0.1)
        if again == "cancelled":
            waiter.cancel()
            assert said(waiter.until(b"Z")) == CANCELLED
        assert said(holder.until(b"Z")) == b"still held"
        holder.ask(frames.query("COMMIT"))
        if again == "served":
            assert said(waiter.until(b"Z")) == b"second"
        assert said(waiter.ask(frames.query("SELECT 'third'"))) == b"third"
