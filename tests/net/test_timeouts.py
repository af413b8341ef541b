"""What PgBeam does of its own is not cut short by what clients have set, however often the machine is busy."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.task import Clock

from pgbeam_core.api.pool import Identity
from pgbeam_core.net import timeouts
from pgbeam_core.net.server import ServerProtocol
from pgbeam_core.session.settings import difference
from pgbeam_core.wire import backend, frontend
from pgbeam_core.wire.authentication import AuthenticationOk
from tests.session.stage import TARGET, Wire

CANCELED = backend.error_response("ERROR", "57014", "canceling statement due to statement timeout")
DONE = backend.command_complete("SELECT 1")


def logged_in(parameters: tuple[tuple[str, str], ...] = ()) -> Any:
    """A server that is ready, and what is written to it."""
    clock = Clock()
    cancel: Any = None
    server = ServerProtocol(
        TARGET,
        Identity("app", "shop", parameters),
        None,
        now=clock.seconds,
        later=lambda call: clock.callLater(0, call),
        cancel=cancel,
        prepared_limit=10,
        relay=None,
    )
    server.makeConnection(Wire())
    server.dataReceived(AuthenticationOk().to_bytes() + backend.READY_IDLE)
    server.transport.clear()
    server.gone = lambda *_: None
    return server


@pytest.mark.parametrize("failures", range(timeouts.TRIES))
def test_a_timeout_of_a_millisecond_costs_no_server(failures: int) -> None:
    """Lifting it may fail, all but the last time; then DISCARD ALL takes as long as it takes."""
    server = logged_in()
    server.settings = {"statement_timeout": "1ms"}
    done = server.reset()
    assert server.transport.value().count(frontend.Query(timeouts.lifting(["statement_timeout"])).to_bytes()) == 3
    server.dataReceived((CANCELED + backend.READY_IDLE) * failures)
    server.dataReceived((DONE + backend.READY_IDLE) * (timeouts.TRIES - failures))
    assert server.alive
    assert not done.called
    server.dataReceived(backend.command_complete("DISCARD ALL") + backend.READY_IDLE)
    assert done.called
    assert server.alive


def test_a_timeout_that_cannot_be_lifted_costs_the_server() -> None:
    """Nobody gets one of which it is not known how long its statements may take."""
    server = logged_in()
    server.settings = {"statement_timeout": "1"}
    server.lift_timeouts()
    server.dataReceived((CANCELED + backend.READY_IDLE) * timeouts.TRIES)
    assert not server.alive


def test_what_was_lifted_is_set_anew() -> None:
    """The next client with the same timeout gets it."""
    server = logged_in()
    wanted = {"statement_timeout": "5ms", "lock_timeout": "10s"}
    server.settings = dict(wanted)
    server.lift_timeouts()
    assert server.settings == {"statement_timeout": "0", "lock_timeout": "10s"}
    assert difference(server.settings, wanted) == b"SELECT pg_catalog.set_config('statement_timeout', '5ms', false)"


@pytest.mark.parametrize(
    ("settings", "at_login", "short"),
    [
        ({}, {}, ()),
        ({"statement_timeout": "30s"}, {}, ()),
        ({"statement_timeout": "0"}, {}, ()),
        ({"statement_timeout": "1000"}, {}, ()),
        ({"statement_timeout": "999"}, {}, ("statement_timeout",)),
        ({"statement_timeout": " 1 ms "}, {}, ("statement_timeout",)),
        ({"statement_timeout": "0.5s"}, {}, ("statement_timeout",)),
        ({"statement_timeout": "800us"}, {}, ("statement_timeout",)),
        ({"lock_timeout": "0x10"}, {}, ("lock_timeout",)),
        ({"transaction_timeout": "5ms"}, {}, ("transaction_timeout",)),
        ({}, {"statement_timeout": "20"}, ("statement_timeout",)),
        ({"statement_timeout": "1min"}, {"statement_timeout": "20"}, ()),
        ({}, {"options": "-c search_path=b"}, ()),
        ({"lock_timeout": "1d"}, {"options": "-c statement_timeout=1"}, ("statement_timeout",)),
        ({}, {"options": "--Lock-Timeout=1 -c transaction_timeout=1"}, ("lock_timeout", "transaction_timeout")),
        ({"statement_timeout": "1min"}, {"options": "-c statement_timeout=1"}, ()),
    ],
)
def test_short_timeouts_are_told_from_long_ones(
    settings: dict[str, str], at_login: dict[str, str], short: tuple[str, ...]
) -> None:
    """Those of seconds cost no request; what does not read as a time counts as short."""
    assert timeouts.short_ones(settings, at_login) == short


def test_no_timeout_is_left_when_a_server_is_reset() -> None:
    """DISCARD ALL runs under none of a client's, short or long."""
    server = logged_in()
    server.settings = {"statement_timeout": "5s"}
    server.reset()
    assert server.transport.value().startswith(frontend.Query(timeouts.lifting(["statement_timeout"])).to_bytes())


def test_timeouts_are_told_last() -> None:
    """What else a server is told need not fit into them."""
    sql = difference({}, {"statement_timeout": "1ms", "role": "a", "work_mem": "4MB"})
    assert sql is not None
    places = [sql.index(name) for name in (b"work_mem", b"role", b"statement_timeout")]
    assert places == sorted(places)
