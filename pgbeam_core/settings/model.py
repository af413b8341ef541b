"""The shape of the settings: what the rest of PgBeam reads. Times are seconds, sizes are bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pgbeam_core.api.query import Target

AUTH = ("passthrough", "scram", "trust", "peer", "cert")
AUTH_QUERY = (
    "SELECT usename, CASE WHEN valuntil < pg_catalog.now() THEN NULL ELSE passwd END"
    " FROM pg_catalog.pg_shadow WHERE usename = $1"
)
"""As PgBouncer's, without passwords that have expired."""
POOL_MODES = ("session", "transaction", "statement")
LAZY_TRANSACTIONS = ("reads", "begin", "off")
TLS_MODES = ("prefer", "require")
TLS_VERSIONS = ("1.2", "1.3")
LOG_LEVELS = ("debug", "info", "warn", "error")
LOG_FORMATS = ("auto", "human", "json")
LEAST_TOKEN = 16
MAX_QUERY_TIMEOUT_MS = 300_000
MAX_TIMEOUT_MS = 2_147_483_647
"""PostgreSQL's own bound."""


@dataclass(frozen=True)
class Endpoint:
    """Where to listen: a TCP address, or the folder of a socket; port 0 lets the system choose."""

    host: str
    port: int

    @property
    def path(self) -> str | None:
        """Of the socket, named as PostgreSQL's are; None for a TCP address."""
        return f"{self.host.rstrip('/')}/.s.PGSQL.{self.port}" if self.host.startswith("/") else None

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _option(default: Any, help: str, **more: Any) -> Any:  # noqa: A002 -- `help` is the metadata's own word
    return field(default=default, metadata={"help": help, **more})


@dataclass(frozen=True, kw_only=True)
class Logins:
    """What a project's table says about logins, beside `auth`."""

    users: Mapping[str, str] = field(
        default_factory=dict,
        repr=False,
        metadata={"help": "names and secrets: SCRAM-SHA-256$…, md5…, or passwords"},
    )
    users_file: Path | None = _option(None, "the same as a file, in the format of PgBouncer's userlist.txt")
    auth_user: str | None = _option(None, "who asks auth_query; without it nobody does")
    auth_password: str | None = field(default=None, repr=False, metadata={"help": "the password of auth_user"})
    auth_query: str = _option(AUTH_QUERY, "gives name and secret of the user $1")
    auth_database: str | None = _option(None, "where auth_query is asked; else the database of upstream")
    auth_cache_s: float = _option(5.0, "seconds that an answer to auth_query holds", min=0, max=3600)
    user_map: Mapping[str, str | tuple[str, ...]] = field(
        default_factory=dict,
        metadata={"help": "names of the system or of certificates, and the roles that they may be"},
    )
    password_file: Path | None = field(
        default=None, repr=False, metadata={"help": "holds the password of the user in upstream"}
    )
    password_command: str | tuple[str, ...] | None = field(
        default=None, repr=False, metadata={"help": "prints the password of the user in upstream"}
    )


@dataclass(frozen=True)
class Tls:
    """TLS with clients: files in PEM form, read again on every reload."""

    cert: Path = field(metadata={"help": "certificate of PgBeam, those that vouch for it behind it"})
    key: Path = field(metadata={"help": "private key of the certificate"})
    mode: str = field(default="prefer", metadata={"help": "whether clients must use it", "choices": TLS_MODES})
    client_ca: Path | None = field(default=None, metadata={"help": "who vouches for certificates of clients"})
    client_crl: Path | None = field(default=None, metadata={"help": "certificates of clients that were revoked"})
    min_version: str = field(default="1.2", metadata={"help": "oldest version of TLS", "choices": TLS_VERSIONS})


@dataclass(frozen=True)
class Alias:
    """What a database that clients name stands for: `[projects.<name>.databases.<alias>]`."""

    database: str | None = field(default=None, metadata={"help": "the server's name of it"})
    user: str | None = field(default=None, metadata={"help": "the role that its clients are to the server"})
    parameters: Mapping[str, str] = field(
        default_factory=dict, hash=False, metadata={"help": "startup parameters, where the client gives none"}
    )


@dataclass(frozen=True)
class Project:
    """One primary with its replicas, chosen by host name (SNI) or by being the default."""

    name: str
    primary: Target
    replicas: tuple[Target, ...] = ()
    hostnames: tuple[str, ...] = ()
    auth: str = "passthrough"
    pool_mode: str = "transaction"
    lazy_transactions: str = "reads"
    query_timeout_ms: int = 0
    idle_transaction_timeout_ms: int = 0
    transaction_timeout_ms: int = 0
    client_idle_timeout_s: float = 0.0
    auto_read_routing: bool = False
    default: bool = False
    databases: Mapping[str, Alias] = field(default_factory=dict, hash=False)
    """Names that clients may use for databases of the server."""
    failover_hold_s: float = 10.0
    failover_probe_s: float = 2.0
    passwords: Mapping[Target, str] = field(default_factory=dict, repr=False, hash=False)
    """Passwords that URLs carried. They are shown nowhere."""
    logins: Logins = field(default_factory=Logins, hash=False)
    """How clients prove who they are, and how PgBeam does that to servers."""

    @property
    def targets(self) -> tuple[Target, ...]:
        """The primary, then the replicas."""
        return (self.primary, *self.replicas)


@dataclass(frozen=True)
class Core:
    """The settings that stand at the top of settings.toml, `plugins` and `projects` aside."""

    listen: tuple[Endpoint, ...] = _option((Endpoint("127.0.0.1", 6432),), "addresses to listen on", restart=True)
    unix_socket_mode: str = _option("0777", "permissions of sockets in the file system, octal", restart=True)
    unix_socket_group: str = _option("", "group of sockets in the file system; empty: that of PgBeam", restart=True)
    tls: Tls | None = _option(None, "TLS with clients; without it they are told that there is none")
    proxy_protocol: bool = _option(False, "those in proxy_trusted say for whom they speak (PROXY protocol)")
    proxy_trusted: tuple[str, ...] = _option((), 'networks of load balancers, or "unix"')
    shutdown_grace: float = _option(30.0, "seconds that running transactions get when PgBeam stops", min=0)
    workers: int = _option(1, "processes that share the clients", min=1, max=256, restart=True)
    metrics_listen: Endpoint | None = _option(
        None, "HOST:PORT that serves Prometheus metrics, health checks and the dashboard", restart=True
    )
    dashboard: bool = _option(False, "serve the dashboard and its API at metrics_listen", restart=True)
    dashboard_token: str | None = field(
        default=None,
        repr=False,
        metadata={"help": "what lets people into the dashboard, 16 characters at least", "restart": True},
    )
    dashboard_write: bool = _option(
        False, "let the dashboard change cache rules, pause, resume and end clients, not only show them", restart=True
    )
    admin_users: tuple[str, ...] = _option((), "users who may look into PgBeam and steer it, at the console")
    stats_users: tuple[str, ...] = _option((), "users who may look into PgBeam at the console")
    log_level: str = _option("info", "least level that is logged", choices=LOG_LEVELS)
    log_format: str = _option(
        "auto", "human on a terminal and JSON elsewhere, or one of them", choices=LOG_FORMATS, restart=True
    )
    state_dir: Path = _option(Path(".pgbeam"), "where PgBeam keeps what outlives it", restart=True)
    max_prepared_statements: int = _option(
        200, "prepared statements kept on each server, the least recently used closed first", min=1, max=100_000
    )
    login_timeout_s: float = _option(
        15.0, "seconds for a client's startup packet, and for each answer while it logs in", min=0.1
    )
    connect_timeout_s: float = _option(
        15.0, "seconds until a server is connected and has let PgBeam in, the client's answers aside", min=0.1, max=60
    )
    tcp_user_timeout_s: float = _option(
        0.0,
        "seconds for which a peer may leave unacknowledged what it was sent; 0: as long as the system",
        min=0,
        max=86_400,
    )
    dns_max_ttl_s: float = _option(
        15.0, "seconds for which the addresses of a host name in an upstream hold", min=0, max=3600
    )
    max_unauthenticated: int = _option(
        5_000, "clients of a process that have not logged in; the oldest make room", min=1
    )
    max_message_bytes: int = _option(
        1 << 30, "longest message of a client; PostgreSQL's own bound is 1 GiB", min=65_536, max=1 << 30, unit="bytes"
    )
    max_query_bytes: int = _option(
        0, "longest SQL text of a client; 0: as long as a message may be", min=0, max=1 << 30, unit="bytes"
    )
    prepare_once: bool = _option(True, "keep a statement that clients parse again and again prepared on the server")
    uvloop: bool = _option(True, "run on uvloop where it is installed", restart=True)

    def __post_init__(self) -> None:
        """Raises ValueError where settings do not go together."""
        if not self.dashboard:
            return
        if self.metrics_listen is None:
            raise ValueError("dashboard = true needs metrics_listen, the HOST:PORT where it is served")
        if self.dashboard_token is None:
            if not (self.admin_users or self.stats_users):
                raise ValueError(
                    "dashboard = true needs a dashboard_token (`openssl rand -hex 24` makes a good one), or "
                    "admin_users or stats_users, who log in with their passwords"
                )
        elif len(self.dashboard_token) < LEAST_TOKEN or not self.dashboard_token.isascii():
            raise ValueError(f"dashboard_token has at least {LEAST_TOKEN} characters, all of them ASCII")


@dataclass(frozen=True)
class Settings(Core):
    """Everything that was set, validated. Never changed: a reload makes new ones."""

    plugins: tuple[str, ...] = ()
    """Names of the plugins that are on, in the order in which they are asked."""
    projects: Mapping[str, Project] = field(default_factory=lambda: MappingProxyType({}))
    plugin: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    """Plugin name → the instance of its settings dataclass."""

    @property
    def default_project(self) -> Project | None:
        """The project for clients whose host name matches none."""
        return next((project for project in self.projects.values() if project.default), None)


def by_name_and_class(settings: Mapping[str, Any]) -> dict[type | str, Any]:
    """The settings of plugins by their names, and by their classes where these are distinct."""
    classes = [type(found) for found in settings.values()]
    known: dict[type | str, Any] = {}
    known.update(settings)
    known.update({type(found): found for found in settings.values() if classes.count(type(found)) == 1})
    return known
