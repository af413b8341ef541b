"""One PostgreSQL cluster with the life of its owner: made on first start, recovered, stopped."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import IO

from pgbeam_core.embedded import postmaster
from pgbeam_core.embedded.account import Account, identity, reachable, run_as, server_account
from pgbeam_core.embedded.binaries import EmbeddedError, find_binaries, usable_by

HOST = "127.0.0.1"
SUPERUSER = "postgres"
PORT_ATTEMPTS = 5
START_TIMEOUT_S = 60.0


class EmbeddedPostgres:
    """A cluster in `data_dir`, listening on 127.0.0.1, trusting whoever comes from there.

    All calls block: from a reactor, use a thread. `bin_dir` holds postgres, initdb and psql; without it the
    embedded wheel's are used. `config` are lines of postgresql.conf. `durable=False` is for tests: it may lose
    everything with the machine's power, and is faster. `port` None takes a free one at each start. As root, the
    server runs as an unprivileged user, who then owns `data_dir`.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        bin_dir: Path | None = None,
        config: Sequence[str] = (),
        durable: bool = True,
        port: int | None = None,
        on_ready: Callable[[EmbeddedPostgres], None] | None = None,
    ) -> None:
        self.data_dir = data_dir.absolute()
        self.config = tuple(config) if durable else ("fsync = off", "full_page_writes = off", *config)
        self.durable = durable
        self.database = "postgres"
        self.user = SUPERUSER
        self._bin_dir = bin_dir
        self._wanted_port = port
        self._port: int | None = None
        self._on_ready = on_ready
        self._lock: IO[bytes] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._primary: EmbeddedPostgres | None = None

    @classmethod
    def replica_of(
        cls,
        primary: EmbeddedPostgres,
        data_dir: Path,
        *,
        config: Sequence[str] = (),
        port: int | None = None,
    ) -> EmbeddedPostgres:
        """A streaming replica of a running cluster: copied from it on its first start, following it ever after."""
        replica = cls(data_dir, bin_dir=primary._bin_dir, config=config, durable=primary.durable, port=port)
        replica._primary = primary
        return replica

    @property
    def port(self) -> int:
        """The port it listens on. EmbeddedError while it is stopped."""
        if self._port is None:
            raise EmbeddedError(f"the PostgreSQL in {self.data_dir} is not running")
        return self._port

    @property
    def url(self) -> str:
        return f"postgresql://{self.user}@{HOST}:{self.port}/{self.database}?sslmode=disable"

    @property
    def pid(self) -> int | None:
        """The postmaster's process, None while it is stopped."""
        found = postmaster.read_pid_file(self.data_dir)
        return found.pid if found and postmaster.is_postmaster_of(found.pid, self.data_dir) else None

    @property
    def log_file(self) -> Path:
        """What the server has to say."""
        return self.data_dir.with_name(f"{self.data_dir.name}.log")

    def start(self) -> str:
        """Make the cluster if need be, start it, and give its URL. EmbeddedError says what to do."""
        try:
            self._prepare_folder()
            self._take_lock()
        except OSError as error:
            raise EmbeddedError(f"{self.data_dir}: {error.strerror}: make it writable, or set state_dir") from error
        try:
            self._stop_left_over()
            if not (self.data_dir / "PG_VERSION").exists():
                self._create()
            self._check_version()
            self._run()
            if self._on_ready is not None:
                self._on_ready(self)
        except BaseException:
            self.stop()
            raise
        return self.url

    def stop(self) -> None:
        """Fast shutdown; returns when the server is gone. Harmless when it is not running."""
        if self._lock is None:
            return
        if (pid := self.pid) is not None:
            postmaster.stop(pid)
        self._bury()
        self._lock.close()
        self._lock = None

    def kill(self) -> None:
        """Immediate shutdown, as a crash would have it: for tests of what happens then."""
        if (pid := self.pid) is not None:
            postmaster.stop(pid, fast_s=0, immediate_s=10)
        self._bury()

    def _bury(self) -> None:
        if self._process is not None:
            self._process.wait()
        self._process = None
        self._port = None

    def psql(self, sql: str, database: str | None = None, *, user: str = SUPERUSER) -> str:
        """Run SQL as one script; what it prints, unaligned and without headers. EmbeddedError if it fails."""
        place = ["-h", HOST, "-p", str(self.port), "-U", user, "-d", database or self.database]
        arguments = [str(self.programs / "psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", *place, "-f", "-"]
        done = subprocess.run(arguments, input=sql, capture_output=True, text=True, check=False, cwd="/")
        if done.returncode != 0:
            raise EmbeddedError(f"psql: {done.stderr.strip()}")
        return done.stdout.strip()

    @cached_property
    def account(self) -> Account | None:
        """Who runs it; None when that is who runs us."""
        return server_account()

    @cached_property
    def programs(self) -> Path:
        """The folder of its programs, where whoever runs the server may reach them."""
        return usable_by(self.account, self._bin_dir or find_binaries())

    def _prepare_folder(self) -> None:
        home = self.data_dir.parent
        home.mkdir(parents=True, exist_ok=True)
        if not os.access(home, os.W_OK | os.X_OK):
            raise PermissionError(13, "Permission denied")
        if self.account is not None and not reachable(home, self.account):
            who = self.account.name
            raise EmbeddedError(f"{home} is out of reach for user {who}, who runs PostgreSQL: set state_dir elsewhere")

    def _take_lock(self) -> None:
        # The kernel drops this lock however its owner ends; a pid file would outlive a kill -9.
        lock = self.data_dir.with_name(f"{self.data_dir.name}.lock").open("ab")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise EmbeddedError(f"another PgBeam runs on {self.data_dir}: stop it, or set another state_dir") from None
        self._lock = lock

    def _stop_left_over(self) -> None:
        """End the server of a PgBeam that was killed: its settings and its port are not ours."""
        if (pid := self.pid) is not None:
            postmaster.stop(pid)

    def _create(self) -> None:
        """Make the cluster beside its place and move it there, so that an interrupted attempt is no cluster."""
        partial = self.data_dir.with_name(f"{self.data_dir.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(mode=0o700)
        if self.account is not None:
            self.account.own(partial)
        if self._primary is None:
            options = ["-U", SUPERUSER, "-A", "trust", "-E", "UTF8", "--locale=C"]
            self._do("initdb", *options, "-D", str(partial), *([] if self.durable else ["--no-sync"]))
        else:
            place = ["-h", HOST, "-p", str(self._primary.port), "-U", SUPERUSER]
            self._do("pg_basebackup", *place, "-D", str(partial), "-R", "-X", "stream", "-c", "fast")
        if self.data_dir.exists():
            self.data_dir.rmdir()  # an empty folder somebody made for us; anything in it is not ours to remove
        partial.rename(self.data_dir)

    def _do(self, program: str, *arguments: str) -> None:
        done = run_as(self.account, [str(self.programs / program), *arguments])
        if done.returncode != 0:
            raise EmbeddedError(f"{program} failed: {_last_line(done.stderr or done.stdout)}")

    def _check_version(self) -> None:
        made_by = (self.data_dir / "PG_VERSION").read_text().strip()
        version = run_as(self.account, [str(self.programs / "postgres"), "--version"])
        if version.returncode != 0:
            raise EmbeddedError(f"PostgreSQL does not run on this machine: {_last_line(version.stderr)}")
        ours = version.stdout.rpartition(") ")[2].split(".")[0].strip()
        if made_by != ours:
            raise EmbeddedError(f"{self.data_dir} was made by PostgreSQL {made_by}, this is {ours}: move it away")

    def _run(self) -> None:
        for attempt in range(1, PORT_ATTEMPTS + 1):
            port = self._wanted_port or free_port()
            self._write_config(port)
            if self._launch():
                self._port = port
                return
            if self._wanted_port or attempt == PORT_ATTEMPTS or "could not bind" not in self._said():
                raise EmbeddedError(f"PostgreSQL did not start: {_last_line(self._said())} (see {self.log_file})")

    def _write_config(self, port: int) -> None:
        if self._primary is not None and self._primary._port is not None:
            # The primary's port changes from start to start; the last line of a setting counts.
            follow = f"primary_conninfo = 'host={HOST} port={self._primary.port} user={SUPERUSER}'"
        else:
            follow = ""
        lines = [f"listen_addresses = '{HOST}'", f"port = {port}", "unix_socket_directories = ''", follow, *self.config]
        include = self.data_dir / "pgbeam.conf"
        include.write_text("\n".join(filter(None, lines)) + "\n")
        self._include_last("pgbeam.conf")
        if self.account is not None:
            self.account.own(include)

    def _include_last(self, name: str) -> None:
        """Make ours the last word: postgresql.auto.conf is read last, and pg_basebackup appends to it."""
        auto = self.data_dir / "postgresql.auto.conf"
        line = f"include '{name}'"
        kept = [other for other in auto.read_text().splitlines() if other != line]
        auto.write_text("\n".join([*kept, line]) + "\n")

    def _launch(self) -> bool:
        """Whether the server came up. It gets a session of its own, or Ctrl-C would reach it before us."""
        arguments = [str(self.programs / "postgres"), "-D", str(self.data_dir)]
        with self.log_file.open("wb") as log:
            process = self._process = subprocess.Popen(  # type: ignore[call-overload]
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd="/",
                **identity(self.account),
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while process.poll() is None:
            found = postmaster.read_pid_file(self.data_dir)
            if found is not None and found.pid == process.pid and found.ready:
                return True
            if time.monotonic() > deadline:
                process.kill()
                process.wait()
                return False
            time.sleep(postmaster.POLL_S)
        return False

    def _said(self) -> str:
        return self.log_file.read_text(errors="replace")


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _last_line(text: str) -> str:
    lines = [line for line in text.strip().splitlines() if line]
    fatal = [line for line in lines if "FATAL" in line or "error" in line.lower()]
    return (fatal or lines or ["it said nothing"])[-1].strip()
