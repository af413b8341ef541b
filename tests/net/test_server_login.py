"""Servers are not trusted with PgBeam's memory: what one says during its login is bounded."""

from __future__ import annotations

from typing import Any

import pytest

from pgbeam_core.errors import ServerUnavailable
from pgbeam_core.net.server_login import LOGIN_MESSAGES
from tests.net.floods import FLOODS, MB, server_at_login


@pytest.mark.parametrize("name", FLOODS)
def test_a_server_that_talks_on_during_the_login_is_lost(name: str) -> None:
    """Before it has said 1.1 MB or 2,000 messages; whoever waits for it is told 08006."""
    server = server_at_login()
    failed: list[Any] = []
    server.ready.addErrback(failed.append)
    said = place = 0
    while not failed and said < 2 * MB:
        data = FLOODS[name](place)
        if name == "one long parameter":
            data = data[:5] + data[5:].replace(b"search_path", b"path%07d" % place)
        server.dataReceived(data)
        said, place = said + len(data), place + 1
    assert failed, "it was listened to for ever"
    assert failed[0].check(ServerUnavailable)
    assert said < 1.6 * MB
    assert place <= LOGIN_MESSAGES + 1
    assert server.transport.disconnecting
