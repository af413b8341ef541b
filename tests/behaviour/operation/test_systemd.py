"""A whole PgBeam as systemd sees it."""

from __future__ import annotations

import signal
import socket
import time
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from tests.behaviour.beams import Beam
from tests.behaviour.clusters import Cluster

pytestmark = [pytest.mark.pg, pytest.mark.newest]


@pytest.mark.parametrize("workers", [1, 2])
def test_systemd_hears_of_start_reload_and_stop(cluster: Cluster, tmp_path: Path, workers: int) -> None:
    """Ready once clients are served, again after a reload; alive meanwhile; stopping before it drains."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        path = str(tmp_path / "notify")
        manager.bind(path)
        manager.settimeout(20)
        environment = {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "500000"}
        running = Beam(cluster, "transaction", tmp_path, settings={"workers": workers}, environment=environment)
        with running.wire():
            heard = [manager.recv(4096).decode() for _ in range(4)]
        assert heard == ["READY=1", *["WATCHDOG=1"] * 3]
        running.process.send_signal(signal.SIGHUP)
        heard = []
        deadline = time.monotonic() + 20
        while "READY=1" not in heard:
            assert time.monotonic() < deadline
            heard.append(manager.recv(4096).decode())
        assert any(word.startswith("RELOADING=1\nMONOTONIC_USEC=") for word in heard)
        running.stop()
        manager.settimeout(0)
        heard = []
        while True:
            try:
                heard.append(manager.recv(4096).decode())
            except BlockingIOError:
                break
        assert "STOPPING=1" in heard
        assert "READY=1" not in heard


def test_systemd_hears_which_process_is_pgbeam_after_a_restart(cluster: Cluster, tmp_path: Path) -> None:
    """The old process names the new one as the main one; from then on only that one speaks, and is watched."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        path = str(tmp_path / "notify")
        manager.bind(path)
        manager.settimeout(30)
        environment = {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "500000"}
        running = Beam(cluster, "transaction", tmp_path, environment=environment)
        newest = None
        try:
            with running.wire():
                running.process.send_signal(signal.SIGUSR2)
                heard: list[str] = []
                while not heard or not heard[-1].startswith("MAINPID="):
                    heard.append(manager.recv(4096).decode())
                newest = psutil.Process(int(heard[-1].partition("=")[2].partition("\n")[0]))
                assert heard[-1].endswith("\nREADY=1")
                assert any(word.startswith("RELOADING=1\n") for word in heard)
            assert running.process.wait(10) == 0
            heard = [manager.recv(4096).decode() for _ in range(3)]
            assert "WATCHDOG=1" in heard
            assert "STOPPING=1" not in heard
            newest.terminate()
            while manager.recv(4096) != b"STOPPING=1":
                pass
        finally:
            running.process.kill()
            if newest is not None and newest.is_running():
                newest.kill()
