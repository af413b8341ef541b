"""Servers that are being opened, and what becomes of who waits for one that cannot be."""

from __future__ import annotations

import pytest

from pgbeam_core import PgBeamError, PoolExhausted, ServerProtocolError, ServerRefused, ServerUnavailable
from tests.plugins.pool.machinery import ANNA, BOB, Machinery


def test_a_login_that_leaves_cancels_its_server() -> None:
    """Nobody else can finish somebody's login."""
    machinery = Machinery()
    asked = machinery.login()
    asked.deferred.cancel()  # type: ignore[union-attr]
    assert machinery.openings.pending == []
    machinery.check()


def test_a_login_that_takes_too_long_cancels_its_server() -> None:
    """Its place in the budget is free at once."""
    machinery = Machinery(max_active=1, wait_timeout_s=5)
    asked = machinery.login()
    machinery.clock.advance(5)
    assert isinstance(asked.error, PoolExhausted)
    assert machinery.openings.pending == []
    machinery.check()


@pytest.mark.parametrize(
    ("error", "opens"),
    [
        (ServerUnavailable("down"), True),
        (ServerRefused("no", b"E", sqlstate="28P01"), False),
        (PgBeamError("x"), False),
        (ServerProtocolError("server broke the protocol: it reports too many parameters"), False),
    ],
)
def test_a_failed_opening_is_its_waiters_error(error: PgBeamError, *, opens: bool) -> None:
    """The budget is free again; only a target that does not answer counts for the breaker."""
    machinery = Machinery(max_active=1)
    for _ in range(3):
        asked = machinery.lease()
        machinery.openings.fail(error)
        assert asked.error is error
        machinery.check()
    assert machinery.pool.reaching.breaker.open is opens
    assert machinery.pool.available is not opens


def test_an_open_breaker_refuses_at_once_and_probes_later() -> None:
    """Nobody waits for a target that does not answer."""
    machinery = Machinery()
    for _ in range(3):
        machinery.lease()
        machinery.openings.fail(ServerUnavailable("down"))
    assert machinery.lease().message == "upstream unavailable (circuit breaker open)"
    machinery.clock.advance(5)
    probe = machinery.lease()
    assert probe.waits
    assert machinery.lease().error is not None, "one probe at a time"
    machinery.openings.succeed()
    assert probe.lease is not None
    assert machinery.pool.available
    machinery.check()


def test_a_cancelled_probe_leaves_room_for_another() -> None:
    """A client that leaves while it probes must not keep the breaker open for ever."""
    machinery = Machinery()
    for _ in range(3):
        machinery.lease()
        machinery.openings.fail(ServerUnavailable("down"))
    machinery.clock.advance(5)
    machinery.login().deferred.cancel()  # type: ignore[union-attr]
    assert machinery.login().waits


def test_a_server_behind_a_password_is_opened_by_a_login_only() -> None:
    """Who has no server left whose password PgBeam does not know is told to connect again."""
    machinery = Machinery()
    machinery.openings.password = {ANNA}
    login = machinery.login()
    machinery.openings.succeed()
    waiter = machinery.lease()
    assert waiter.waits
    assert machinery.openings.pending == []
    login.lease.release()  # type: ignore[union-attr]
    assert waiter.server is login.server
    another = machinery.lease()
    waiter.server.die()
    assert "connect again" in str(getattr(another.error, "hint", "")).lower()
    machinery.check()


def test_a_server_without_room_makes_pgbeam_give_up_its_idle_ones() -> None:
    """PostgreSQL says 53300: what PgBeam holds and does not use is given back."""
    machinery = Machinery()
    machinery.leased(ANNA).lease.release()  # type: ignore[union-attr]
    machinery.login(BOB)
    machinery.openings.fail(ServerRefused("sorry, too many clients already", b"", sqlstate="53300"))
    assert not machinery.pool.servers
    machinery.check()
