"""Servers are not trusted with PgBeam's memory: what one says while nobody listens is bounded."""

from __future__ import annotations

import pytest

from tests.net.floods import FLOODS, server_in_service


@pytest.mark.parametrize("name", ["notices", "parameters"])
def test_a_server_that_talks_on_while_nobody_listens_is_lost(name: str) -> None:
    """It serves nobody, and is worth neither memory nor lines of the log."""
    server = server_in_service()
    assert server.alive
    place = 0
    while server.alive and place < 100_000:
        server.dataReceived(FLOODS[name](place))
        place += 1
    assert not server.alive
    assert len(server.parameters) <= 1_001
