"""Addresses in settings: where to listen, and the URLs of PostgreSQL servers."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from pgbeam_core.api.query import Role, Target
from pgbeam_core.settings.model import Endpoint
from pgbeam_core.settings.services import service

SSLMODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
TLS_PROTOCOLS = ("TLSv1.2", "TLSv1.3")
TLS_FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl", "sslcrldir")
TLS_CHOICES = {
    "sslnegotiation": ("postgres", "direct"),
    "sslsni": ("1", "0"),
    "ssl_min_protocol_version": TLS_PROTOCOLS,
}
"""Options that have few values, the default first."""
SESSION_ATTRS = ("any", "primary", "read-write")
"""A primary is one of these; libpq's other ones ask for something else."""
OPTIONS = ("service", "host", "port", "sslmode", "target_session_attrs", *TLS_FILES, *TLS_CHOICES)
MOST_HOSTS = 32
DEFAULT_PORT = 5432
MAX_SOCKET_PATH = 107
"""Bytes that the system takes."""


@dataclass(frozen=True)
class Upstream:
    """What an upstream URL says; its password stays out of every repr."""

    target: Target
    password: str | None = field(default=None, repr=False)


def parse_endpoint(text: str) -> Endpoint:
    """`127.0.0.1:6432`, `[::1]:6432`, `db:0`, `:6432` (every address), or a socket's folder, `/run/pgbeam:6432`.

    ValueError says what is wrong.
    """
    host, colon, port = text.rpartition(":")
    if text.startswith("/"):
        return _folder(host, port, text)
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError("write it as HOST:PORT, for example 127.0.0.1:6432")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError("write an IPv6 address in brackets, for example [::1]:6432")
    return Endpoint(host or "0.0.0.0", int(port))


def _folder(folder: str, port: str, text: str) -> Endpoint:
    if not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError("write a folder of sockets as FOLDER:PORT, for example /run/pgbeam:6432")
    found = Endpoint(folder.rstrip("/") or "/", int(port))
    if len(str(found.path).encode()) > MAX_SOCKET_PATH:
        raise ValueError(f"the path of the socket, {found.path}, is longer than {MAX_SOCKET_PATH} bytes")
    return found


def parse_upstream(url: str, project: str, role: Role = Role.PRIMARY) -> Upstream:
    """`postgresql://[user[:password]@]host[:port][,host[:port]]…[/db][?sslmode=…&sslrootcert=…]`. ValueError says what
    is wrong.

    `?host=/path` names the directory of a unix socket; the target's host is then that directory.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("postgresql", "postgres"):
        raise ValueError("an upstream URL begins with postgresql://")
    place = parts.netloc.rpartition("@")[2]
    options, elsewhere = _options(parts.query, place)
    hosts = _hosts(place, options)
    if len(hosts) > 1 and role is not Role.PRIMARY:
        raise ValueError("the URL of a replica names one host; list each replica by itself")
    host, port = hosts[0]
    mode = options.get("sslmode") or _unsaid_sslmode((host for host, _ in hosts), options)
    target = Target(
        project=project,
        role=role,
        host=host,
        port=port,
        database=unquote(parts.path[1:]) or elsewhere.get("dbname") or None,
        user=unquote(parts.username or "") or elsewhere.get("user") or None,
        sslmode=mode,
        **_tls(options, mode),
        hosts=tuple(hosts) if len(hosts) > 1 else (),
        session_attrs=_session_attrs(options.get("target_session_attrs"), role, several=len(hosts) > 1),
    )
    return Upstream(target, unquote(parts.password or "") or elsewhere.get("password") or None)


def _options(query: str, place: str) -> tuple[dict[str, str], dict[str, str]]:
    """The options of a URL, and what its `service` says: that counts where the URL itself says nothing."""
    options = dict(parse_qsl(query, keep_blank_values=True))
    for name in options:
        if name not in OPTIONS:
            raise ValueError(f"unknown option {name} in the URL; known: {', '.join(OPTIONS)}")
    named = options.pop("service", "")
    elsewhere = service(named) if named else {}
    said = {"host"} if place else set()
    if place.rpartition("]")[2].count(":"):
        said.add("port")
    options = {name: value for name in OPTIONS if name not in said and (value := elsewhere.get(name))} | options
    if (mode := options.get("sslmode")) and mode not in SSLMODES:
        raise ValueError(f"unknown sslmode {mode}; known: {', '.join(SSLMODES)}")
    return options, elsewhere


def _unsaid_sslmode(hosts: Iterable[str], options: dict[str, str]) -> str:
    if options.get("sslrootcert") == "system":
        return "verify-full"
    return max(map(default_sslmode, hosts), key=SSLMODES.index)


def _tls(options: dict[str, str], mode: str) -> dict[str, Any]:
    """The fields of a Target that say how TLS is done. ValueError for what does not go together, as in libpq."""
    chosen = {name: options.get(name) or known[0] for name, known in TLS_CHOICES.items()}
    for name, value in chosen.items():
        if value not in TLS_CHOICES[name]:
            raise ValueError(f"unknown {name} {value}; known: {', '.join(TLS_CHOICES[name])}")
    files = {name: options.get(name) or None for name in TLS_FILES}
    if files["sslrootcert"] == "system" and mode != "verify-full":
        raise ValueError(f'weak sslmode "{mode}" may not be used with sslrootcert=system (use "verify-full")')
    if (files["sslcert"] is None) != (files["sslkey"] is None):
        raise ValueError("sslcert and sslkey belong together")
    if chosen["sslnegotiation"] == "direct" and mode not in ("require", "verify-ca", "verify-full"):
        raise ValueError(f'weak sslmode "{mode}" may not be used with sslnegotiation=direct (use "require" at least)')
    if chosen["sslsni"] == "0" and mode == "verify-full":
        raise ValueError("sslmode=verify-full needs sslsni=1: the name that is checked is told the server too")
    return {**files, **chosen, "sslsni": chosen["sslsni"] == "1"}


def _hosts(places: str, options: dict[str, str]) -> list[tuple[str, int]]:
    """The hosts and ports of a URL, as libpq reads them: `host` and `port` among the options come before the others."""
    found = [_host_and_port(place) for place in places.split(",")]
    if named := options.get("host"):
        found = [(host, found[0][1] if len(found) == 1 else "") for host in named.split(",")]
    if ported := options.get("port"):
        ports = ported.split(",")
        if len(ports) not in (1, len(found)):
            raise ValueError(f"could not match {len(ports)} port numbers to {len(found)} hosts")
        found = [(host, port) for (host, _), port in zip(found, ports * len(found), strict=False)]
    if not all(host for host, _ in found):
        raise ValueError("the URL names no host" if len(found) == 1 else "one of the hosts in the URL is empty")
    if len(found) > MOST_HOSTS:
        raise ValueError(f"the URL names more than {MOST_HOSTS} hosts")
    hosts = [(host, _port(port)) for host, port in found]
    if len(set(hosts)) < len(hosts):
        raise ValueError("the URL names one host twice")
    return hosts


def _session_attrs(wanted: str | None, role: str, *, several: bool) -> str:
    """What is asked of a server. Of several hosts only a primary will do: what PgBeam writes to must be the one."""
    if wanted is None:
        return "primary" if several else "any"
    if role is not Role.PRIMARY:
        raise ValueError("target_session_attrs belongs to `upstream`; replicas are asked what they are")
    if wanted not in SESSION_ATTRS:
        raise ValueError(
            f"target_session_attrs={wanted} is of no use here, an upstream is a primary; "
            f"known: {', '.join(SESSION_ATTRS)}; standbys belong under `replicas`"
        )
    if several and wanted == "any":
        raise ValueError("target_session_attrs=any with several hosts would write to whichever answers; use read-write")
    return wanted


def _host_and_port(place: str) -> tuple[str, str]:
    # urlsplit's own hostname is lower case, which a socket's path does not survive.
    if place.startswith("["):
        host, _, rest = place[1:].partition("]")
        return host, rest.removeprefix(":")
    host, _, port = place.partition(":")
    return unquote(host), port


def _port(text: str) -> int:
    if not text:
        return DEFAULT_PORT
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 65536:
        # It is not shown: it may be a password that holds a character at which the host seems to begin or to end.
        raise ValueError(
            "what stands where the port belongs is no port; in a password, / ? # @ are written %2F %3F %23 %40"
        )
    return int(text)


def default_sslmode(host: str) -> str:
    """A name that a certificate can vouch for is verified; addresses, this machine and sockets are not."""
    if host.startswith(("/", "@")) or host == "localhost":
        return "prefer"
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return "verify-full"
    return "prefer"


def format_upstream(target: Target, password: str | None = None) -> str:
    """The URL of a target, all options spelt out."""
    options = {"sslmode": target.sslmode}
    options.update({name: value for name in TLS_FILES if (value := getattr(target, name)) is not None})
    chosen = {name: getattr(target, name) for name in TLS_CHOICES} | {"sslsni": "1" if target.sslsni else "0"}
    options.update({name: value for name, value in chosen.items() if value != TLS_CHOICES[name][0]})
    if target.session_attrs != "any":
        options["target_session_attrs"] = target.session_attrs
    user = quote(target.user or "", safe="")
    if password is not None:
        user += ":" + password
    hosts = target.hosts or ((target.host, target.port),)
    place = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in hosts)
    if any(host.startswith("/") for host, _ in hosts):
        names, ports = (",".join(str(part) for part in parts) for parts in zip(*hosts, strict=True))
        options = {"host": names, "port": ports, **options}
        place = ""
    path = "/" + quote(target.database, safe="") if target.database else ("/" if not place else "")
    return f"postgresql://{user + '@' if user else ''}{place}{path}?{urlencode(options, safe='/')}"
