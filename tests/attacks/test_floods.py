"""Servers that never stop talking, at a login or later: memory stays bounded, and others are served meanwhile."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.attacks.conftest import Fort
from tests.attacks.flooding import FLOOD_S, LATER, LOGIN, FloodingServer, flooding
from tests.attacks.siege import MB, besiege
from tests.behaviour import frames
from tests.behaviour.beams import Beam
from tests.behaviour.clusters import Cluster
from tests.behaviour.wireclient import Closed, LoginRefused, WireClient

pytestmark = pytest.mark.pg

CLIENTS = 3
"""More than the failures in a row after which a target counts as unreachable."""


@pytest.fixture(scope="module")
def server(cluster: Cluster) -> Iterator[FloodingServer]:
    """It lies to users of other names than that of the honest client."""
    with flooding(cluster.port) as started:
        yield started


@pytest.fixture
def beam(fort: Fort, server: FloodingServer) -> Beam:
    """A PgBeam in front of it."""
    return fort(project={"upstream": f"postgresql://127.0.0.1:{server.port}"})


@pytest.mark.parametrize("user", LOGIN)
def test_a_flood_at_a_login_is_cut_off(beam: Beam, server: FloodingServer, user: str) -> None:
    """Of what a server says at a login a megabyte is taken; its clients are told, others are served as ever."""

    def attack(beam: Beam) -> None:
        for _ in range(CLIENTS):
            with pytest.raises((LoginRefused, Closed)):
                beam.wire(user)

    report = besiege(beam, attack)
    report.check(grown=32 * MB, left=16 * MB)
    assert server.sent.get(user, 0) < CLIENTS * 8 * MB, "it was not cut off"


@pytest.mark.parametrize("user", LATER)
def test_a_flood_later_does_not_stay(beam: Beam, server: FloodingServer, user: str) -> None:
    """What a server says after the login goes to its client, as fast as that reads, or ends the server."""

    def attack(beam: Beam) -> None:
        with beam.wire(user) as deaf, beam.wire(user) as hearing:
            for client in (deaf, hearing):
                client.send(frames.query("SELECT 1"))
            with suppress(OSError):
                listen(hearing)

    report = besiege(beam, attack)
    report.check(grown=64 * MB, left=16 * MB)


def listen(client: WireClient) -> None:
    """Read for as long as the flood lasts."""
    until = time.monotonic() + FLOOD_S
    client.socket.settimeout(FLOOD_S)
    while time.monotonic() < until and client.socket.recv(1 << 18):
        pass
