"""systemd is told when PgBeam is ready, reloads and stops, and that its loop turns."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.internet.task import Clock

from pgbeam_core.cli import systemd

ROOT = Path(__file__).parents[2]


class Manager:
    """systemd's end of the socket."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + path[1:] if path.startswith("@") else path)
        self._socket.setblocking(False)

    def heard(self) -> list[str]:
        """What it has been told since this was last asked."""
        told = []
        while True:
            try:
                told.append(self._socket.recv(4096).decode())
            except BlockingIOError:
                return told

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["file", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    """A socket of either kind."""
    path = str(tmp_path / "notify") if request.param == "file" else f"@pgbeam-test-{os.getpid()}-{id(request)}"
    made = Manager(path)
    yield made
    made.close()


def test_its_variables_are_taken_out_of_the_environment(manager: Manager) -> None:
    """What is started here, workers and the embedded server, must not speak to systemd in PgBeam's name."""
    environment = {"NOTIFY_SOCKET": manager.path, "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1", "OTHER": "x"}
    systemd.notifier(Clock(), environment)
    assert environment == {"OTHER": "x"}


def test_without_systemd_nobody_is_told() -> None:
    """And nothing is asked of the reactor."""
    clock = Clock()
    systemd.notifier(clock, {})(systemd.READY)
    assert not clock.getDelayedCalls()


def test_the_watchdog_is_told_from_ready_on(manager: Manager) -> None:
    """Twice in its time, once however often PgBeam becomes ready again."""
    clock = Clock()
    environment = {"NOTIFY_SOCKET": manager.path, "WATCHDOG_USEC": "2000000", "WATCHDOG_PID": str(os.getpid())}
    tell = systemd.notifier(clock, environment)
    clock.pump([1.0] * 3)
    assert manager.heard() == []
    tell(systemd.READY)
    tell(systemd.READY)
    assert manager.heard() == ["READY=1", "WATCHDOG=1", "READY=1"]
    clock.pump([1.0] * 3)
    assert manager.heard() == ["WATCHDOG=1"] * 3


@pytest.mark.parametrize("more", [{"WATCHDOG_USEC": "soon"}, {"WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}, {}])
def test_a_watchdog_that_is_not_for_pgbeam_is_not_told(manager: Manager, more: dict[str, str]) -> None:
    """Nor one whose time is no number."""
    clock = Clock()
    systemd.notifier(clock, {"NOTIFY_SOCKET": manager.path, **more})(systemd.READY)
    assert not clock.getDelayedCalls()
    assert manager.heard() == ["READY=1"]


def test_a_manager_that_is_gone_harms_nobody(manager: Manager) -> None:
    """PgBeam goes on."""
    tell = systemd.notifier(Clock(), {"NOTIFY_SOCKET": manager.path})
    manager.close()
    tell(systemd.READY)
    tell(systemd.STOPPING)


def test_a_reload_says_since_when() -> None:
    """As sd_notify(3) wants it for Type=notify-reload."""
    word, since = systemd.reloading().split("\n")
    assert word == "RELOADING=1"
    assert int(since.removeprefix("MONOTONIC_USEC=")) > 0


def test_the_unit_waits_for_longer_than_transactions_get() -> None:
    """deploy/pgbeam.service must not kill what PgBeam lets finish."""
    unit = (ROOT / "deploy/pgbeam.service").read_text("utf-8")
    assert "Type=notify\n" in unit
    stop_s = int(unit.partition("TimeoutStopSec=")[2].split()[0])
    assert stop_s > 30  # shutdown_grace
