"""Mutated conversations over sockets, to a real PgBeam in front of a real PostgreSQL; and what is left of them."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from random import Random

import psutil  # type: ignore[import-untyped]
import pytest

from tests.attacks.conftest import Fort
from tests.attacks.siege import MB, besiege
from tests.behaviour import frames
from tests.behaviour.beams import Beam
from tests.fuzz.material import Messages, conversations
from tests.fuzz.mutations import mutated, pieces
from tests.fuzz.stage import FIRST, SECONDS

pytestmark = pytest.mark.pg

LIARS = 4
"""At a time."""
_FORBIDDEN = (b"pg_terminate", b"pg_cancel", b"DROP DATABASE", b"pg_sleep", b"generate_series", b"repeat(")
"""Not for this test: it would hit the honest client, or wait."""


def harmless() -> list[Messages]:
    """The conversations that do nothing to others when they are told the truth."""
    return [each for each in conversations() if not any(word in b"".join(each) for word in _FORBIDDEN)]


def lie(beam: Beam, number: int, others: list[Messages]) -> None:
    """One client with a mutated conversation; it reads what there is, or not, and leaves in one way or another."""
    rng = Random(number)
    with socket.create_connection(("127.0.0.1", beam.port), timeout=5) as sock:
        sock.settimeout(0.05)
        with contextlib.suppress(OSError):
            sock.sendall(frames.startup({"user": "app", "database": "shop", "application_name": "liar"}))
            _read(sock, rng)
            for piece in pieces(rng, mutated(rng, rng.choice(others), others)):
                sock.sendall(piece)
                if rng.random() < 0.5:
                    _read(sock, rng)
            if rng.random() < 0.5:
                _read(sock, rng)


def _read(sock: socket.socket, rng: Random) -> None:
    with contextlib.suppress(TimeoutError):
        while sock.recv(rng.choice((1, 100, 65536))) and rng.random() < 0.9:
            pass


def lies(beam: Beam) -> None:
    """Several at a time, until the time is over."""
    others = harmless()
    until = time.monotonic() + SECONDS

    def go_on(first: int) -> None:
        number = first
        while time.monotonic() < until:
            lie(beam, number, others)
            number += LIARS

    threads = [threading.Thread(target=go_on, args=(FIRST + place,)) for place in range(LIARS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def descriptors(beam: Beam) -> int:
    """Open files and sockets of all its processes."""
    return sum(process.num_fds() for process in (psutil.Process(beam.process.pid), *beam.workers()))


@pytest.mark.parametrize(
    ("mode", "workers"),
    [
        ("transaction", 1),
        pytest.param("session", 1, marks=pytest.mark.slow),
        pytest.param("transaction", 2, marks=pytest.mark.slow),
    ],
)
def test_liars_leave_nothing(fort: Fort, mode: str, workers: int) -> None:
    """The honest client is answered throughout, the log has no traceback; in the end no server is busy, and no
    client, server or descriptor of theirs is left."""
    beam = fort(mode, workers=workers, settings={"plugins": {"pool": {"max_active": 30}}})
    before = descriptors(beam)
    report = besiege(beam, lies)
    report.check(held_s=0.25, left=96 * MB)
    beam.wait_until_idle(20)
    assert descriptors(beam) <= before + 40, "descriptors are left"
    assert len(beam.servers()) <= 30
