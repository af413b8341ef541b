"""PostgreSQL servers of our own: any installation, a free port, a temporary folder, gone with the test run."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import psycopg

from pgbeam_core.embedded.account import server_account
from pgbeam_core.embedded.binaries import WHEEL, usable_by

DATABASE = "shop"
PASSWORD = "s3kr it'\"\\ pässword"
LOGINS = ("app", "with_password", "with_md5", "with_scram")
"""Roles, in order: trust, password, md5, scram-sha-256. All but the first have PASSWORD."""

_HBA = """\
local all all trust
host all with_password 127.0.0.1/32 password
host all with_md5 127.0.0.1/32 md5
host all with_scram 127.0.0.1/32 scram-sha-256
host all all 127.0.0.1/32 trust
host replication all 127.0.0.1/32 trust
"""

_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "jit": "off",
    "shared_buffers": "64MB",
    "max_connections": "500",
    "max_prepared_transactions": "20",
    "max_wal_senders": "10",
    "wal_level": "logical",
    "max_wal_size": "4GB",
    "timezone": "UTC",
    "log_line_prefix": "%m [%p] %u@%d ",
}

SEED = """
CREATE TABLE categories (id int PRIMARY KEY, name text NOT NULL);
CREATE TABLE products (id int PRIMARY KEY, name text NOT NULL, category_id int, price numeric(10,2), active bool);
CREATE TABLE users (id int PRIMARY KEY, name text NOT NULL, email text);
CREATE TABLE orders (id serial PRIMARY KEY, user_id int REFERENCES users, product_id int, quantity int);
CREATE TABLE accounts (id int PRIMARY KEY, balance numeric(12,2) NOT NULL CHECK (balance >= 0));
INSERT INTO categories SELECT i, 'category ' || i FROM generate_series(1, 5) i;
INSERT INTO products SELECT i, 'product ' || i, 1 + i % 5, i * 1.5, i % 10 <> 0 FROM generate_series(1, 100) i;
INSERT INTO users SELECT i, 'user ' || i, 'user' || i || '@example.com' FROM generate_series(1, 20) i;
INSERT INTO orders (user_id, product_id, quantity) SELECT 1 + i % 20, 1 + i % 100, i FROM generate_series(1, 50) i;
INSERT INTO accounts SELECT i, 100 FROM generate_series(1, 10) i;
"""
RESET = f"DROP SCHEMA public CASCADE; CREATE SCHEMA public AUTHORIZATION app; SET ROLE app; {SEED} RESET ROLE;"
"""Puts the shop back to how it was, run as a superuser."""


@dataclass(frozen=True)
class Installation:
    """Where the programs of one PostgreSQL version are."""

    version: int
    bin: Path

    def program(self, name: str) -> str:
        """The path of one of its programs, e.g. psql."""
        return str(self.bin / name)


def installation(version: int) -> Installation | None:
    """The installation of that major version on this machine, or None."""
    folders = [Path(f"/usr/lib/postgresql/{version}/bin"), Path(f"/usr/pgsql-{version}/bin")]
    wheel = importlib.util.find_spec(WHEEL)
    if wheel is not None:
        folders += [Path(root) / f"pginstall{version}" / "bin" for root in wheel.submodule_search_locations or ()]
    found = next((folder for folder in folders if (folder / "initdb").exists()), None)
    return Installation(version, usable_by(server_account(), found)) if found else None


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Cluster:
    """A running server. Make one with `start_cluster` or, for a replica, with `replica`; end it with `stop`."""

    installation: Installation
    folder: Path
    port: int = 0
    process: subprocess.Popen[bytes] | None = None
    replicas: list[Cluster] = field(default_factory=list)

    @property
    def version(self) -> int:
        """Its major version."""
        return self.installation.version

    @property
    def log(self) -> str:
        """What it has logged so far."""
        return (self.folder / "log").read_text(errors="replace")

    def url(self, user: str = "boss", database: str = DATABASE) -> str:
        """Its URL without a password."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def connect(self, user: str = "boss", database: str = DATABASE) -> psycopg.Connection[tuple[Any, ...]]:
        """A direct autocommit connection, by default as a superuser."""
        return psycopg.connect(self.url(user, database), autocommit=True, connect_timeout=10)

    def launch(self) -> None:
        """Start the server on a free port and wait until it takes connections."""
        for _ in range(3):
            self.port = free_port()
            command = [self.installation.program("postgres"), "-D", str(self.folder / "data"), "-p", str(self.port)]
            with (self.folder / "log").open("ab") as log:
                self.process = _popen([*command, "-k", str(self.folder)], self.folder, log)
            if self._is_up():
                return
        raise RuntimeError(f"PostgreSQL {self.version} did not start:\n{self.log[-2000:]}")

    def restart(self) -> None:
        """Stop it the fast way and start it again on the same port."""
        self._end(signal.SIGINT)
        self.revive()

    def crash(self) -> None:
        """End it at once, as a crash would; `revive` starts it again."""
        self._end(signal.SIGQUIT)

    def kill(self) -> None:
        """SIGKILL to all its processes: nobody is told anything, and nothing is left that would keep a new one away."""
        assert self.process is not None
        with contextlib.suppress(psutil.NoSuchProcess):
            parent = psutil.Process(self.process.pid)
            parent.suspend()  # or it would say goodbye in the name of the first that dies, and start others
            children = parent.children(recursive=True)
            for each in children:
                with contextlib.suppress(psutil.NoSuchProcess):
                    each.kill()
            self._end(signal.SIGKILL)
            psutil.wait_procs(children, 10)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to it and all its processes, as SIGSTOP and SIGCONT are meant here."""
        assert self.process is not None
        with contextlib.suppress(psutil.NoSuchProcess):
            parent = psutil.Process(self.process.pid)
            for each in (parent, *parent.children(recursive=True)):
                with contextlib.suppress(psutil.NoSuchProcess):
                    each.send_signal(number)

    def promote(self) -> None:
        """Make a primary of a replica; when this returns it takes writes."""
        with self.connect(database="postgres") as boss:
            boss.execute("SELECT pg_promote()")

    def follow(self, primary: Cluster | None) -> None:
        """Have a replica, running or not, stream from that primary from now on, or from nobody."""
        source = "" if primary is None else f"host=127.0.0.1 port={primary.port} user=boss"
        line = f"primary_conninfo = '{source}'\n"
        with (self.folder / "data" / "postgresql.auto.conf").open("a") as file:
            file.write(line)
        (self.folder / "data" / "standby.signal").touch()
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGHUP)

    def rewind(self, primary: Cluster) -> None:
        """Bring what was a primary to where it may follow that one; it must not be running."""
        source = f"host=127.0.0.1 port={primary.port} user=boss dbname=postgres"
        data = str(self.folder / "data")
        own = (self.folder / "data" / "postgresql.auto.conf").read_text()
        _run([self.installation.program("pg_rewind"), "-D", data, "--source-server", source], self.folder)
        (self.folder / "data" / "postgresql.auto.conf").write_text(own)

    def revive(self) -> None:
        """Start it again on the same port."""
        command = [self.installation.program("postgres"), "-D", str(self.folder / "data"), "-p", str(self.port)]
        with (self.folder / "log").open("ab") as log:
            self.process = _popen([*command, "-k", str(self.folder)], self.folder, log)
        if not self._is_up():
            raise RuntimeError(f"PostgreSQL {self.version} did not start again:\n{self.log[-2000:]}")

    def replica(self) -> Cluster:
        """A new streaming replica of it, stopped with it."""
        folder = _folder()
        copy = [self.installation.program("pg_basebackup"), "-h", "127.0.0.1", "-p", str(self.port), "-U", "boss"]
        _run([*copy, "-D", str(folder / "data"), "-R", "-c", "fast", "-X", "stream"], folder)
        made = Cluster(self.installation, folder)
        made.launch()
        self.replicas.append(made)
        return made

    def wait_for_replay(self, replica: Cluster) -> None:
        """Wait until the replica has replayed everything written here."""
        with self.connect() as here, replica.connect() as there:
            (target,) = here.execute("SELECT pg_current_wal_lsn()").fetchone() or ("",)
            deadline = time.monotonic() + 20
            while time.monotonic() < deadline:
                row = there.execute("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", [target]).fetchone()
                if row and row[0]:
                    return
                time.sleep(0.02)
        raise TimeoutError("the replica does not catch up")

    def stop(self) -> None:
        """Stop it and its replicas at once and remove their folders."""
        for replica in self.replicas:
            replica.stop()
        self._end(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _end(self, number: signal.Signals) -> None:
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(number)
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _is_up(self) -> bool:
        assert self.process is not None
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(psycopg.OperationalError):
                self.connect("boss", "postgres").close()
                return True
            time.sleep(0.05)
        return False


def start_cluster(found: Installation) -> Cluster:
    """A fresh primary with the roles of LOGINS, the superuser `boss` and the database `shop`, seeded."""
    folder = _folder()
    cluster = Cluster(found, folder)
    try:
        data = str(folder / "data")
        init = [found.program("initdb"), "-D", data, "-U", "boss", "-A", "trust", "-E", "UTF8", "--no-locale", "-N"]
        _run(init, folder)
        (folder / "data" / "pg_hba.conf").write_text(_HBA)
        with (folder / "data" / "postgresql.auto.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in _SETTINGS.items())
        cluster.launch()
        _seed(cluster)
    except BaseException:
        cluster.stop()
        raise
    return cluster


def _seed(cluster: Cluster) -> None:
    with cluster.connect(database="postgres") as boss:
        boss.execute("SET client_min_messages = error")
        for role in LOGINS:
            boss.execute(f"CREATE ROLE {role} LOGIN CREATEDB")
            if role != "app":
                kind = "md5" if role == "with_md5" else "scram-sha-256"
                boss.execute(f"SET password_encryption = '{kind}'")
                boss.execute(psycopg.sql.SQL(f"ALTER ROLE {role} PASSWORD {{}}").format(PASSWORD))
        boss.execute(f"CREATE DATABASE {DATABASE} OWNER app")
    with cluster.connect() as boss:
        boss.execute(RESET)


def _unprivileged() -> dict[str, Any]:
    """PostgreSQL refuses to run as root: the account to run as then, as arguments for subprocess."""
    if os.getuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            account = pwd.getpwnam(name)
            return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    raise RuntimeError("running as root, and there is no account named postgres or nobody to run PostgreSQL as")


def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="pgbeam-test-"))
    account = _unprivileged()
    if account:
        os.chown(folder, account["user"], account["group"])
    return folder


def _environment(folder: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return {**kept, "HOME": str(folder), "LC_ALL": "C", "TZ": "UTC"}


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(
        command, check=False, cwd=folder, env=_environment(folder), capture_output=True, text=True, **_unprivileged()
    )
    if done.returncode:
        raise RuntimeError(f"{Path(command[0]).name} failed:\n{done.stderr[-2000:]}")


def _popen(command: list[str], folder: Path, log: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        cwd=folder,
        env=_environment(folder),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        preexec_fn=die_with_parent(signal.SIGQUIT),  # noqa: PLW1509 - it makes one system call
        **_unprivileged(),
    )


def die_with_parent(number: signal.Signals) -> Callable[[], None] | None:
    """For preexec_fn: the child gets this signal when the test run dies, however that happens. Linux only."""
    if not sys.platform.startswith("linux"):
        return None
    set_death_signal = ctypes.CDLL(None, use_errno=True).prctl

    def call() -> None:
        set_death_signal(1, int(number))

    return call
