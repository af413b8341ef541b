"""PgBeam as users run it: a process of its own with settings in a file, watched until it has ended well."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import psutil  # type: ignore[import-untyped]

from . import frames, witness
from .clusters import DATABASE, Cluster, die_with_parent, free_port
from .wireclient import WireClient

PROJECT = "shop"
PGBEAM = Path(sys.executable).with_name("pgbeam")
START_SECONDS = 30.0
STOP_SECONDS = 15.0
SOCKET_PORT = 6432
"""Of the socket in `folder_of_sockets`."""
_TAKEN = re.compile(r"process (\d+) has taken over")
MAX_ACTIVE = 60
"""Servers a PgBeam may have: several of them stand in front of one cluster at a time."""


class Direct:
    """The server itself behind the same face as Beam: what fails here is a mistake in the test."""

    pool_mode = "direct"

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.port = cluster.port

    def url(self, user: str = "app", database: str = DATABASE, password: str = "", **parameters: str) -> str:
        """The URL for an application."""
        secret = f":{quote(password, safe='')}" if password else ""
        query = f"?{urlencode(parameters, quote_via=quote)}" if parameters else ""
        return f"postgresql://{user}{secret}@127.0.0.1:{self.port}/{database}{query}"

    def wire(self, user: str = "app", database: str = DATABASE, password: str = "", **login: Any) -> WireClient:
        """A raw client, logged in; keywords are WireClient.login's."""
        return WireClient.login(self.port, user, database, password, **login)


class Beam(Direct):
    """A running `pgbeam run` in front of one cluster. `settings` are nested tables, as in settings.toml.

    prefix: what runs the command. witnessed: it shares plain reads sooner than usual, and counts them, see
    `shared_turns`.
    """

    def __init__(
        self,
        cluster: Cluster,
        pool_mode: str,
        folder: Path,
        *,
        plugins: str = "",
        name: str = PROJECT,
        settings: Mapping[str, Any] | None = None,
        project: Mapping[str, Any] | None = None,
        more_projects: Mapping[str, Mapping[str, Any]] | None = None,
        witnessed: bool = False,
        environment: Mapping[str, str] | None = None,
        folder_of_sockets: str | None = None,
        prefix: Sequence[str] = (),
    ) -> None:
        super().__init__(cluster)
        self.folder_of_sockets = folder_of_sockets
        self.pool_mode = pool_mode
        self.port = free_port()
        self.log_path = folder / f"pgbeam-{self.port}.log"
        self._read_up_to = 0
        upstream = f"postgresql://127.0.0.1:{cluster.port}"
        mine = {"upstream": upstream, "pool_mode": pool_mode, **(project or {})}
        if more_projects:
            mine["default"] = True
        config = folder / f"settings-{self.port}.toml"
        # These tests fail to log in more often in a minute than anybody is allowed to.
        limits = {"auth_attempts": 0}
        wanted = (settings or {}).get("plugins", {})
        pool = {"max_active": MAX_ACTIVE, **wanted.get("pool", {})}
        self.shares = pool_mode != "session" and pool.get("share", True)
        plugin_settings = {"limits": limits, **wanted, "pool": pool}
        projects = {**(settings or {}).get("projects", {}), name: mine, **(more_projects or {})}
        tables = {**(settings or {}), "plugins": plugin_settings, "projects": projects}
        config.write_text("".join(_lines(tables)))
        listen = f"127.0.0.1:{self.port}" + (f",{folder_of_sockets}:{SOCKET_PORT}" if folder_of_sockets else "")
        self.command = [*prefix, str(PGBEAM), "run", "--listen", listen, "--config", str(config)]
        if plugins or witnessed:
            self.command += ["--plugins", plugins or witness.PLUGINS]
        more = witness.importable(folder) if witnessed else {}
        self._folder, self._environment = folder, {**more, **(environment or {})}
        self._former: list[subprocess.Popen[bytes] | Heir] = []
        self.process: subprocess.Popen[bytes] | Heir = self._launch("wb")

    @property
    def log(self) -> str:
        """What it has logged so far, both streams."""
        return self.log_path.read_text(errors="replace")

    @property
    def peak_memory(self) -> int:
        """The most memory it ever had resident, in bytes (VmHWM)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024

    def workers(self) -> list[psutil.Process]:
        """Its worker processes, if it has several."""
        return [child for child in psutil.Process(self.process.pid).children() if _is_worker(child)]

    def complaints(self) -> list[str]:
        """The tracebacks, each with what they raised, that it has logged since this was last asked."""
        start, self._read_up_to = self._read_up_to, self.log_path.stat().st_size
        fresh = self.log_path.read_bytes()[start : self._read_up_to].decode(errors="replace")
        return re.findall(r"^.*Traceback.*\n(?:[ \t].*\n)*.*$", fresh, re.MULTILINE)

    def descriptors(self) -> int:
        """How many file descriptors it has open."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def servers(self) -> list[tuple[int, str]]:
        """(process id, state) of each server connection that it has now, as PostgreSQL sees them."""
        ports = self._server_ports()
        with self.cluster.connect() as boss:
            rows = boss.execute("SELECT pid, state, client_port FROM pg_stat_activity WHERE client_port > 0").fetchall()
        return [(pid, state) for pid, state, port in rows if port in ports]

    def busy_servers(self) -> list[tuple[int, str]]:
        """Its servers that are not idle outside a transaction."""
        return [server for server in self.servers() if server[1] != "idle"]

    def shared_turns(self) -> int:
        """How many turns have been on a shared server so far. Only where it is witnessed."""
        return self._witnessed("shared_turns")

    def short_turns(self) -> int:
        """How many plain statements had the reply that was hoped for. Only where it is witnessed."""
        return self._witnessed("short_turns")

    def _witnessed(self, count: str) -> int:
        with self.wire() as client:
            row = next(frame for frame in client.ask(frames.query(f"SHOW pgbeam.{count}")) if frame.tag == b"D")
            return int(row.body[6:])

    def wait_until_idle(self, seconds: float = 5.0) -> None:
        """Wait until no server of it is busy or in a transaction; an AssertionError tells which still are."""
        deadline = time.monotonic() + seconds
        while busy := self.busy_servers():
            assert time.monotonic() < deadline, f"servers left behind: {busy}\n{self.log[-2000:]}"
            time.sleep(0.05)

    def wait_for_catalog(self, user: str = "app", seconds: float = 20.0) -> None:
        """Wait until a plain read is cached: before the catalog is known, anything may run code of users."""
        deadline = time.monotonic() + seconds
        with self.wire(user) as client:
            client.ask(frames.query("SET pgbeam.debug = on"))
            while True:
                said = client.ask(frames.query("/* @pgbeam:cache */ SELECT 0 FROM users LIMIT 1"))
                if any(frame.tag == b"N" and b"cache=hit" in frame.body for frame in said):
                    return
                assert time.monotonic() < deadline, self.log[-2000:]

    def stop(self) -> None:
        """SIGTERM; assert that it leaves no server at work, exits with 0 and logged no traceback."""
        if (code := self.process.poll()) is not None:
            raise AssertionError(f"PgBeam had ended by itself with {code}:\n{self.log[-4000:]}")
        try:
            self.wait_until_idle()
        finally:
            code = self._end()
        assert code == 0, f"exit code {code} on SIGTERM:\n{self.log[-4000:]}"
        assert not (found := self.complaints()), "\n".join(found[:5])

    def hand_over(self) -> None:
        """SIGUSR2; returns when the next process has taken over. The one before stays until its clients have left."""
        before = len(_TAKEN.findall(self.log))
        self.process.send_signal(signal.SIGUSR2)
        deadline = time.monotonic() + 3 * START_SECONDS
        while len(taken := _TAKEN.findall(self.log)) == before:
            assert time.monotonic() < deadline, f"nobody took over:\n{self.log[-4000:]}"
            time.sleep(0.05)
        self._former.append(self.process)
        self.process = Heir(int(taken[-1]))

    def restart(self, *, kill: bool = False) -> None:
        """End it, politely or with SIGKILL, and start it again at the same port, with the same settings."""
        if kill:
            # The oldest first: a process whose heir is gone takes its place back.
            for process in (*self._former, self.process):
                process.kill()
                process.wait()
            self._former.clear()
        else:
            code = self._end()
            assert code == 0, f"exit code {code} on SIGTERM:\n{self.log[-4000:]}"
        self.process = self._launch("ab")

    def _server_ports(self) -> set[int]:
        return {
            each.laddr.port
            for process in (psutil.Process(self.process.pid), *self.workers())
            for each in process.net_connections("tcp")
            if each.raddr and each.raddr.port == self.cluster.port
        }

    def _end(self) -> int:
        everybody = [*self._former, self.process]
        self._former.clear()
        for process in everybody:
            process.send_signal(signal.SIGTERM)
        try:
            return max(process.wait(STOP_SECONDS) for process in everybody)
        except subprocess.TimeoutExpired:
            for process in everybody:
                process.kill()
                process.wait()
            raise AssertionError(f"PgBeam did not stop on SIGTERM:\n{self.log[-4000:]}") from None

    def _launch(self, log_mode: str) -> subprocess.Popen[bytes]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "PGBEAM_"))}
        with self.log_path.open(log_mode) as log:
            process = subprocess.Popen(
                self.command,
                cwd=self._folder,
                env={**kept, **self._environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent(signal.SIGKILL),  # noqa: PLW1509 - it makes one system call
            )
        deadline = time.monotonic() + START_SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            try:
                WireClient(self.port).close()
            except OSError:
                time.sleep(0.05)
            else:
                return process
        process.kill()
        process.wait()
        raise AssertionError(f"PgBeam did not start ({' '.join(self.command)}):\n{self.log[-4000:]}")


class Heir:
    """A process that has taken over: another one's child, so how it ended is not to be known here."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._process = psutil.Process(pid)

    def poll(self) -> int | None:
        """0 once it has ended."""
        over = not self._process.is_running() or self._process.status() == psutil.STATUS_ZOMBIE
        return 0 if over else None

    def wait(self, timeout: float | None = None) -> int:
        """Until it has ended. Raises subprocess.TimeoutExpired."""
        deadline = time.monotonic() + (timeout or STOP_SECONDS)
        while self.poll() is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("pgbeam", timeout or STOP_SECONDS)
            time.sleep(0.02)
        return 0

    def send_signal(self, number: int) -> None:
        """As Popen's: nothing if it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """At once."""
        self.send_signal(signal.SIGKILL)


def _is_worker(process: psutil.Process) -> bool:
    try:
        return "pgbeam_core.workers" in process.cmdline()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return False


def _lines(tables: Mapping[str, Any], path: str = "") -> list[str]:
    """TOML lines of nested tables, each value under its full dotted key."""
    lines: list[str] = []
    for name, value in tables.items():
        word = name if name.replace("_", "").replace("-", "").isalnum() and name.isascii() else json.dumps(name)
        key = f"{path}.{word}" if path else word
        lines += _lines(value, key) if isinstance(value, Mapping) else [f"{key} = {json.dumps(value)}\n"]
    return lines
