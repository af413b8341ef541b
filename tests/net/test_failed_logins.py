"""Operators see how many logins fail, and why."""

# mypy: disallow-untyped-calls=False
from __future__ import annotations

from typing import Any

import pytest

from pgbeam_core.net.failed_logins import reason_of
from pgbeam_core.net.handshakes import MOST_REASONS, FailedHandshakes
from pgbeam_core.testing import FakePostgres, Rehearsal, startup
from pgbeam_core.wire.startup import StartupMessage
from tests.net.auth.callers import Caller

USERS = {"users": {"app": "sesame"}}


def counted(rehearsal: Rehearsal) -> dict[tuple[str, str], int]:
    """By project and reason, as Prometheus is told."""
    beam = rehearsal.beam
    found = {("", reason): count for reason, count in beam.entrance.failed_logins.items()}
    for project, stats in beam.project_stats.items():
        found |= {(project, reason): count for reason, count in stats.logins_failed.items()}
    return found


@pytest.mark.parametrize("wrong", ["password", "left", "timeout", "protocol", "rejected", "bytes"])
def test_each_failure_counts_once_by_its_reason(wrong: str) -> None:
    """Whatever ends a login, and whoever does; a client that gets in counts nowhere."""
    with Rehearsal({}, project={"auth": "scram", **USERS}, servers={"primary:5432": FakePostgres()}) as rehearsal:
        project = next(iter(rehearsal.beam.settings.projects))
        assert Caller(rehearsal).log_in() == ""
        caller: Any = Caller(rehearsal)
        expected = project, wrong
        if wrong == "password":
            caller.log_in(password="wrong")
        elif wrong == "bytes":
            caller.send(b"GET / HTTP/1.1\r\n\r\n")
            expected = "", "protocol"
        elif wrong == "rejected":
            caller.send(StartupMessage(3, 0, {"user": "app", "options": "project=nope"}).to_bytes())
            expected = "", "rejected"
        else:
            caller.send(startup("app", "shop"))
            if wrong == "protocol":
                caller.send(b"Q\0\0\0\x05\0")
            elif wrong == "timeout":
                rehearsal.advance(61, step=10)
            else:
                caller.vanish()
        assert counted(rehearsal) == {expected: 1}


def test_leaving_the_console_is_no_failed_login() -> None:
    """An operator who was let in has logged in, however they go afterwards."""
    with Rehearsal({}, top={"admin_users": ["boss"]}, project={"auth": "trust"}) as rehearsal:
        for parting in (b"", b"Q\0\0\0\x01"):
            caller: Any = Caller(rehearsal)
            assert caller.log_in("boss", database="pgbeam") == ""
            caller.send(parting)
            caller.vanish()
        assert counted(rehearsal) == {}


@pytest.mark.parametrize(
    ("sqlstate", "reason"),
    [("28000", "authorization"), ("53300", "limit"), ("3D000", "database"), ("08006", "server"), ("XX000", "other")],
)
def test_reasons_are_few(sqlstate: str, reason: str) -> None:
    """Labels of a metric, so no SQLSTATE that some server makes up is one."""
    assert reason_of(sqlstate) == reason


def test_clients_cannot_make_up_reasons() -> None:
    """However many alerts somebody thinks of, there are only so many series."""
    failed = FailedHandshakes(lambda: 0.0)
    for number in range(1000):
        failed.failed("192.0.2.7", f"ALERT_{number}")
    failed.failed("192.0.2.7", "no such thing, 192.0.2.7")
    assert len(failed.reasons) <= MOST_REASONS + 1
    assert failed.reasons.total() == 1001
