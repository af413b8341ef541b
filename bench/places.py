"""Where clients connect: PostgreSQL itself, or one of the proxies in front of it. Configurations are written here."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from bench.guard import Guard
from bench.processes import running, wait_ready
from bench.programs import require, version_of, version_of_pgbeam
from bench.tls import write_certificate
from pgbeam_core.embedded import EmbeddedPostgres
from pgbeam_core.embedded.postgres import HOST, free_port

DATABASE = "bench"
USER = "postgres"
ROOT = Path(__file__).parents[1]
ROUND_TRIP_MS = 2.0
"""From a proxy to a PostgreSQL that is far, and back."""
PREPARED_SINCE = (1, 21)
"""The first PgBouncer with prepared statements in transaction mode."""
PLUGINS = "limits,cache,replica,pool,debug,querylog,otel"
"""All of them."""
TOKEN = "token-of-the-bench"
PGPOOL_CHILDREN = 80
"""pgpool-II serves one client per process: more than the most clients of the work it is compared in."""


@dataclass(frozen=True)
class Place:
    """One way to reach the database. `pid` is the proxy's, None without one."""

    way: str
    port: int
    pid: int | None = None
    version: str = ""
    prepares: bool = True
    web: tuple[int, int] | None = None
    """The ports of its dashboard, and of who collects its spans, where it has them."""

    @property
    def arguments(self) -> list[str]:
        """Where to connect, in the words of libpq's programs."""
        return ["-h", HOST, "-p", str(self.port), "-U", USER]


@dataclass(frozen=True)
class Credentials:
    """A user who has to prove who it is, by SCRAM."""

    name: str
    password: str
    secret: str
    """What PostgreSQL keeps of the password."""


@dataclass(frozen=True)
class Setup:
    """What the proxies need to know."""

    postgres: EmbeddedPostgres
    folder: Path
    guard: Guard
    servers: int
    """Connections to PostgreSQL that each pool may have."""
    clients: int
    """The most clients at once."""
    install: bool
    pgbeam: tuple[str, ...] = ()
    """More settings of PgBeam, KEY=VALUE."""
    packages: Path | None = None
    """Where PgBeam is, if it is not the one that is installed."""
    relay: int | None = None
    """The port of what stands before PostgreSQL, if anything does."""
    account: Credentials | None = None
    """Who alone is let in by the proxies; None: everybody is trusted."""

    @property
    def upstream(self) -> int:
        """The port at which a proxy finds PostgreSQL."""
        return self.relay or self.postgres.port

    def home(self, name: str) -> Path:
        """A fresh folder that belongs to whoever runs the servers."""
        number = len(list(self.folder.glob(f"{name}-*")))
        path = self.folder / f"{name}-{number}"
        path.mkdir(mode=0o755)
        if self.postgres.account is not None:
            self.postgres.account.own(path)
        return path

    def certificate(self, home: Path) -> tuple[Path, Path]:
        """One for the proxy that lives there, and its key."""
        files = write_certificate(home)
        if self.postgres.account is not None:
            for file in files:
                self.postgres.account.own(file)
        return files

    def psql(self, port: int) -> list[str]:
        """psql at a port of ours, quiet, its first error its end."""
        user, password = (USER, "") if self.account is None else (self.account.name, self.account.password)
        place = ["-h", HOST, "-p", str(port), "-d", f"dbname={DATABASE} user={user} password={password}"]
        return [str(self.postgres.programs / "psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", *place]


@contextmanager
def pgbouncer(setup: Setup) -> Iterator[Place]:
    """PgBouncer in transaction mode."""
    program = require("pgbouncer", "pgbouncer", install=setup.install)
    version = version_of([program, "--version"])
    prepares = tuple(map(int, version.split(".")[:2])) >= PREPARED_SINCE
    home, port = setup.home("pgbouncer"), free_port()
    cert, key = setup.certificate(home)
    account = setup.account
    name, secret = (USER, "") if account is None else (account.name, account.secret)
    (home / "users.txt").write_text(f'"{name}" "{secret}"\n')
    (home / "pgbouncer.ini").write_text(
        f"""[databases]
{DATABASE} = host={HOST} port={setup.upstream} dbname={DATABASE}
[pgbouncer]
listen_addr = {HOST}
listen_port = {port}
unix_socket_dir =
auth_type = {"trust" if account is None else "scram-sha-256"}
auth_file = {home}/users.txt
pool_mode = transaction
default_pool_size = {setup.servers}
max_client_conn = {setup.clients + 100}
ignore_startup_parameters = extra_float_digits
client_tls_sslmode = allow
client_tls_cert_file = {cert}
client_tls_key_file = {key}
log_connections = 0
log_disconnections = 0
log_stats = 0
{"max_prepared_statements = 200" if prepares else ""}
"""
    )
    command = [program, "-q", str(home / "pgbouncer.ini")]
    with running(command, home, setup.guard, setup.postgres.account) as process:
        wait_ready(process, setup.psql(port), home)
        yield Place("pgbouncer", port, process.pid, version, prepares)


@contextmanager
def pgpool(setup: Setup) -> Iterator[Place]:
    """pgpool-II with its query cache in shared memory."""
    home = setup.home("pgpool")
    settings = f"""sr_check_period = 0
backend_hostname0 = '{HOST}'
backend_port0 = {setup.upstream}
backend_weight0 = 1
backend_flag0 = 'ALWAYS_PRIMARY'
num_init_children = {PGPOOL_CHILDREN}
connection_cache = on
memory_cache_enabled = on
memqcache_method = 'shmem'
memqcache_total_size = 64MB
memqcache_max_num_cache = 100000
memqcache_expire = 0
memqcache_oiddir = '{home}/oids'
"""
    with running_pgpool(setup, home, settings) as place:
        yield place


@contextmanager
def running_pgpool(setup: Setup, home: Path, settings: str) -> Iterator[Place]:
    """pgpool-II in streaming replication mode, without load balancing; `settings` say the rest."""
    program, port = require("pgpool", "pgpool2", install=setup.install), free_port()
    for name in ("pcp.conf", "pool_hba.conf"):
        (home / name).touch()
    (home / "pgpool.conf").write_text(
        f"""backend_clustering_mode = 'streaming_replication'
load_balance_mode = off
listen_addresses = '{HOST}'
port = {port}
pcp_port = {free_port()}
socket_dir = '{home}'
pcp_socket_dir = '{home}'
wd_ipc_socket_dir = '{home}'
pid_file_name = '{home}/pgpool.pid'
logdir = '{home}'
work_dir = '{home}'
enable_pool_hba = off
max_pool = 1
{settings}"""
    )
    files = ["-f", str(home / "pgpool.conf"), "-F", str(home / "pcp.conf"), "-a", str(home / "pool_hba.conf")]
    with running([program, "-n", *files], home, setup.guard, setup.postgres.account) as process:
        wait_ready(process, setup.psql(port), home)
        yield Place("pgpool", port, process.pid, version_of([program, "--version"]))


@contextmanager
def pgbeam(setup: Setup) -> Iterator[Place]:
    """PgBeam with all its plugins, in transaction mode."""
    home, port = setup.home("pgbeam"), free_port()
    cert, key = setup.certificate(home)
    account = setup.account
    who = 'auth = "trust"'
    if account is not None:
        who = f'auth = "scram"\nusers = {{{account.name} = "{account.secret}"}}'
    (home / "settings.toml").write_text(
        f"""listen = ["{HOST}:{port}"]
tls = {{cert = "{cert}", key = "{key}"}}
state_dir = "{home}/state"
log_level = "warn"
[projects.bench]
upstream = "postgresql://{HOST}:{setup.upstream}/{DATABASE}?sslmode=disable"
{who}
pool_mode = "transaction"
[plugins.pool]
max_active = {setup.servers}
"""
    )
    more = [word for setting in setup.pgbeam for word in ("--set", setting)]
    command = [sys.executable, "-m", "pgbeam_core", "run", "--config", str(home / "settings.toml"), *more]
    with running(command, home, setup.guard, packages=setup.packages) as process:
        wait_ready(process, setup.psql(port), home)
        yield Place("pgbeam", port, process.pid, version_of_pgbeam(setup.packages))


@contextmanager
def as_sent(setup: Setup) -> Iterator[Place]:
    """PgBeam with transactions that are as the client sends them."""
    with pgbeam(replace(setup, pgbeam=(*setup.pgbeam, "projects.bench.lazy_transactions=off"))) as place:
        yield replace(place, way="sent")


@contextmanager
def watched(setup: Setup) -> Iterator[Place]:
    """PgBeam with everything on that tells what it does."""
    web, spans = free_port(), free_port()
    more = (
        f"plugins.order={PLUGINS}",
        f"plugins.otel.endpoint=http://{HOST}:{spans}/v1/traces",
        "plugins.otel.sample_rate=0.01",
        f"metrics_listen={HOST}:{web}",
        "dashboard=true",
        f"dashboard_token={TOKEN}",
    )
    with pgbeam(replace(setup, pgbeam=(*setup.pgbeam, *more))) as place:
        yield replace(place, way="watched", web=(web, spans))


@contextmanager
def far(setup: Setup, way: str) -> Iterator[Place]:
    """One of the ways to a PostgreSQL that is ROUND_TRIP_MS away."""
    home, port = setup.home("relay"), free_port()
    command = [sys.executable, "-m", "bench.relay", str(port), str(setup.postgres.port), str(ROUND_TRIP_MS / 2)]
    with running(command, home, setup.guard, packages=ROOT) as relay:
        wait_ready(relay, setup.psql(port), home)
        if way == "direct":
            yield Place("direct", port)
            return
        with PROXIES[way](replace(setup, relay=port)) as place:
            yield place


PROXIES: dict[str, Callable[[Setup], AbstractContextManager[Place]]] = {
    "pgbouncer": pgbouncer,
    "pgpool": pgpool,
    "sent": as_sent,
    "watched": watched,
    "pgbeam": pgbeam,
}
NAMES = {
    "direct": "direct",
    "pgbouncer": "PgBouncer",
    "pgpool": "pgpool-II",
    "sent": "PgBeam, transactions as sent",
    "watched": "PgBeam, watched",
    "pgbeam": "PgBeam",
}
"""Ways in the order of the tables, with their names."""
