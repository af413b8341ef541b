"""When CPU time counts, and for what."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from bench.figures import Sample
from bench.stage import price
from bench.window import connections, count_established

HEADER = "  sl  local_address rem_address   st tx_queue rx_queue\n"


def test_only_clients_that_are_connected_count() -> None:
    """Neither the listener, nor the server's end of the same connection, nor one that is closing."""
    rows = "0: 0100007F:1920 00000000:0000 0A\n1: 0100007F:1920 0100007F:D431 01\n2: 0100007F:D431 0100007F:1920 01\n"
    closing = "3: 0100007F:D432 0100007F:1920 06\n"
    assert count_established(HEADER + rows + closing, 0x1920) == 1


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="no /proc here")
def test_a_client_is_seen_once_it_is_connected() -> None:
    """The kernel's table tells it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert connections(port) == 0
        with socket.create_connection(("127.0.0.1", port)):
            assert connections(port) == 1


def test_costs_are_those_of_one_unit() -> None:
    """Microseconds each of proxy, PostgreSQL and client; without a proxy there is none to pay for."""
    sample = Sample()
    price(sample, (1.0, 10.0, 0.0), (1.5, 11.0, 0.25), 1000)
    assert (sample.proxy_us, sample.postgres_us, sample.client_us) == (500, 1000, 250)
    price(sample, (None, 10.0, 0.0), (None, 11.0, 0.25), 1000)
    assert sample.proxy_us is None
