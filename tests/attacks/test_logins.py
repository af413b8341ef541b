"""Clients that begin a login and go no further, and clients that leave in the middle of what they say."""

from __future__ import annotations

import resource
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import psycopg
import pytest

from tests.attacks.conftest import Fort
from tests.attacks.siege import AT_LENGTH, MB, besiege
from tests.behaviour import frames
from tests.behaviour.beams import Beam
from tests.behaviour.clusters import PASSWORD
from tests.behaviour.wireclient import error_fields

pytestmark = pytest.mark.pg

KNOCKING = 30_000 if AT_LENGTH else 2_000


def hello(user: str) -> bytes:
    """A startup packet."""
    body = b"\0\x03\0\0user\0" + user.encode() + b"\0database\0shop\0\0"
    return struct.pack("!I", len(body) + 4) + body


@contextmanager
def knocking(beam: Beam, count: int, said: bytes) -> Iterator[None]:
    """So many clients, from ten addresses, that say that much and no more; fewer where there are no descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    count = count if hard == resource.RLIM_INFINITY else min(count, hard - 500)
    with ExitStack() as stack:
        for place in range(count):
            client = stack.enter_context(socket.socket())
            client.bind((f"127.0.1.{1 + place % 10}", 0))
            client.settimeout(10)
            client.connect(("127.0.0.1", beam.port))
            client.sendall(said)
        yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def log_in(beam: Beam) -> float:
    """An honest login with a password, from an address of its own. Gives the seconds it took."""
    start = time.monotonic()
    with psycopg.connect(beam.url("with_scram", password=PASSWORD), connect_timeout=25) as client:
        client.execute("SELECT 1")
    return time.monotonic() - start


def logging_in(beam: Beam) -> int:
    """Servers that PostgreSQL is asking for a password."""
    with beam.cluster.connect() as boss:
        sql = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND state IS NULL"
        row = boss.execute(sql).fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize("said", [b"", b"\0", hello("with_scram")], ids=["nothing", "a byte", "no password"])
def test_half_open_logins_hold_nobody_up(fort: Fort, said: bytes) -> None:
    """Three hundred clients that do not go on, and others are served and let in as ever."""
    beam = fort()

    def attack(beam: Beam) -> None:
        with knocking(beam, 300, said):
            for _ in range(3):
                log_in(beam)

    besiege(beam, attack).check(grown=64 * MB)


def test_thousands_may_knock(fort: Fort) -> None:
    """However many connect, there are descriptors and memory for those who log in."""

    def attack(beam: Beam) -> None:
        with knocking(beam, KNOCKING, b"\0"):
            log_in(beam)

    # At length, thousands leave in one turn of the loop.
    besiege(fort(), attack).check(grown=128 * MB, held_s=0.25 if AT_LENGTH else 0.05)


def test_abandoned_logins_leave_nothing_at_postgresql(fort: Fort) -> None:
    """Clients that leave right after their startup packet: no server waits for their passwords."""
    beam = fort()
    for place in range(200):
        with socket.create_connection(("127.0.0.1", beam.port)) as client:
            client.sendall(hello("with_scram"))
            time.sleep(0.003 * (place % 10) / 10)
    deadline = time.monotonic() + 5
    while logging_in(beam) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert logging_in(beam) == 0


@pytest.mark.parametrize("tag", [b"Q", b"P", b"d"])
def test_what_a_client_that_left_had_sent_is_not_kept(fort: Fort, tag: bytes) -> None:
    """Seven clients leave in the middle of 32 MB each."""

    def attack(beam: Beam) -> None:
        with ExitStack() as stack:
            clients = [stack.enter_context(beam.wire()) for _ in range(7)]
            for client in clients:
                client.socket.sendall(tag + struct.pack("!I", 40 * MB) + bytes(32 * MB))

    besiege(fort(), attack).check(grown=400 * MB, left=32 * MB, held_s=0.2)


def test_large_messages_of_many_clients_get_through_one_after_another(fort: Fort) -> None:
    """Ten clients with 48 MB each: there is a bound for what is not all there yet, and nobody is left out."""
    lengths: list[bytes] = []

    def ask(beam: Beam) -> None:
        with beam.wire() as client:
            client.timeout = 60
            client.socket.settimeout(60)
            reply = client.ask(frames.query("SELECT length('" + "x" * (48 * MB) + "')"))
            lengths.append(next(frame.body[6:] for frame in reply if frame.tag == b"D"))

    def attack(beam: Beam) -> None:
        threads = [threading.Thread(target=ask, args=(beam,)) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    # What is all there is on its way to PostgreSQL, in a copy or two. The allocator keeps some of it for the next ones.
    besiege(fort(), attack).check(grown=900 * MB, left=300 * MB, held_s=0.5)
    assert lengths == [str(48 * MB).encode()] * 10


def test_closed_statements_give_back_their_text(fort: Fort) -> None:
    """Ten statements of 4 MB, prepared, run and closed, by ten clients."""

    def attack(beam: Beam) -> None:
        for place in range(10):
            sql = f"SELECT {place} /* {'x' * (4 * MB)} */"
            with beam.wire() as client:
                client.timeout = 60
                client.ask(frames.parse(sql, "s") + frames.bind(statement="s") + frames.execute() + frames.sync())
                client.ask(frames.close("s") + frames.sync())

    besiege(fort(), attack).check(left=64 * MB, held_s=0.5)


def test_an_unknown_message_type_is_refused_at_once(fort: Fort) -> None:
    """Not after what it announces has come."""
    with fort().wire() as client:
        client.socket.sendall(b"!")
        assert error_fields(client.frame(5).body)["M"] == "invalid frontend message type 33"
