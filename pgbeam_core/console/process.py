"""SHOW CONFIG, VERSION, STATE, MEM, LISTS, PLUGINS and the tables that are empty here: what one process is."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pgbeam_core.api.console import Table
from pgbeam_core.console.places import consoles
from pgbeam_core.console.sockets import LOGIN, state_of
from pgbeam_core.settings import Core, Project, to_toml

if TYPE_CHECKING:
    from pgbeam_core.beam import Beam
    from pgbeam_core.settings import Settings

_YES_NO = {True: "yes", False: "no"}
_TEXTS = ("text", "text", "text", "text")
Entry = tuple[str, str | None, str | None, str]
"""Key, value, default, whether it may be changed."""


def program() -> str:
    """The name and version of this program."""
    try:
        return f"PgBeam {version('pgbeam')}"
    except PackageNotFoundError:
        return "PgBeam"


def version_table(_beam: Beam) -> Table:
    return Table(("version",), [(program(),)], ("text",))


def state(beam: Beam) -> Table:
    """SHOW STATE: of all databases; one that is paused by its name is seen in SHOW DATABASES."""
    steering = beam.console.steering
    paused, suspended = steering.is_paused, steering.is_suspended
    values = {"active": not (paused or suspended), "paused": paused, "suspended": suspended}
    return Table(("key", "value"), [(key, _YES_NO[value]) for key, value in values.items()], ("text", "text"), ("key",))


def memory(_beam: Beam) -> Table:
    """SHOW MEM: the pages that the process has resident."""
    page = os.sysconf("SC_PAGE_SIZE")
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        pages = 0
    columns = ("name", "size", "used", "free", "memtotal")
    row = ("resident", page, pages, 0, pages * page)
    return Table(columns, [row], ("text", "int8", "int8", "int8", "int8"), ("name", "size"))


def lists(beam: Beam) -> Table:
    """SHOW LISTS, but for what follows from other tables."""
    servers = sum(len(pool.members()) for _, pool in consoles(beam))
    values = {
        "free_clients": 0,
        "used_clients": len(beam.clients),
        "login_clients": sum(state_of(client) == LOGIN for client in beam.clients),
        "free_servers": 0,
        "used_servers": servers,
    }
    return Table(("list", "items"), list(values.items()), ("text", "int4"), ("list",))


def plugins(beam: Beam) -> Table:
    """SHOW PLUGINS: in the order in which they are asked, with the hooks they have and how often one has failed."""
    manager, raised = beam.hooks.manager, beam.hooks.raised
    rows = []
    for place, name in enumerate(beam.settings.plugins, 1):
        plugin = manager.get_plugin(name)
        hooks = sorted(each.name for each in manager.get_hookcallers(plugin) or ()) if plugin is not None else []
        errors = sum(count for (_, failed), count in raised.items() if failed == name)
        rows.append((place, name, ", ".join(hooks), errors))
    types = ("int4", "text", "text", "int8")
    return Table(("order", "plugin", "hooks", "errors"), rows, types, ("order", "plugin"))


def config(beam: Beam) -> Table:
    """SHOW CONFIG: PgBeam's settings by their keys, then those of PgBouncer's that mean the same."""
    own = list(_entries(beam.console.configured_settings))
    rows = [*own, *_as_pgbouncer(beam, {row[0]: row for row in own})]
    return Table(("key", "value", "default", "changeable"), rows, _TEXTS, ("key",))


def key_of(beam: Beam, name: str) -> str:
    """The key of a setting that may be called as PgBouncer calls it."""
    return _pgbouncer_names(beam).get(name, name)


def dns_hosts(beam: Beam) -> Table:
    """SHOW DNS_HOSTS: the names of upstreams, how many seconds their addresses hold, and these."""
    rows = [(host, int(left), ",".join(addresses)) for host, left, addresses in beam.upstreams.names()]
    return Table(("hostname", "ttl", "addrs"), rows, ("text", "int8", "text"), ("hostname", "addrs"))


def dns_zones(_beam: Beam) -> Table:
    return Table(("zonename", "serial", "count"), [], ("text", "int8", "int4"))


def peers(_beam: Beam) -> Table:
    """SHOW PEERS: workers find each other by themselves."""
    return Table(("peer_id", "host", "port", "pool_size"), [], ("int4", "text", "int4", "int4"))


def peer_pools(_beam: Beam) -> Table:
    columns = ("peer_id", "cl_active_cancel_req", "cl_waiting_cancel_req", "sv_active_cancel", "sv_login")
    return Table(columns, [], ("int4",) * 5)


def _entries(settings: Settings) -> Iterator[Entry]:
    """Each setting by its full key, from what `pgbeam check` prints: there secrets are masked."""
    section, fields = "", _fields(Core)
    for line in to_toml(settings).splitlines():
        if line.startswith("["):
            section = line.strip("[]") + "."
            fields = _fields(Project) if section.startswith("projects.") else _plugin_fields(settings, section)
        elif line:
            unset = line.startswith("# ")
            key, _, value = line.removeprefix("# ").partition(" is not set" if unset else " = ")
            field = fields.get(key)
            yield section + key, None if unset else _bare(value), _default(field), _changeable(field)


def _plugin_fields(settings: Settings, section: str) -> dict[str, Any]:
    of_plugin = settings.plugin.get(section.removeprefix("plugins.").rstrip("."))
    return _fields(type(of_plugin)) if of_plugin is not None else {}


def _fields(kind: type) -> dict[str, Any]:
    return {field.name: field for field in dataclasses.fields(kind)}


def _default(field: Any) -> str | None:
    if field is None or field.default is dataclasses.MISSING or field.default is None:
        return None
    return _text(field.default)


def _changeable(field: Any) -> str:
    return _YES_NO[field is None or not field.metadata.get("restart", False)]


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _bare(value: str) -> str:
    return value[1:-1] if value.startswith('"') and value.endswith('"') else value


def _pgbouncer_names(beam: Beam) -> dict[str, str]:
    """PgBouncer's names of settings → the keys of those that mean the same."""
    names = {"client_login_timeout": "login_timeout_s", "server_connect_timeout": "connect_timeout_s"}
    names |= {"dns_max_ttl": "dns_max_ttl_s"}
    project = beam.settings.default_project
    if project is not None:
        names["pool_mode"] = f"projects.{project.name}.pool_mode"
    for _, console in consoles(beam):
        names.update(getattr(console, "pgbouncer_names", {}))
    return names


def _as_pgbouncer(beam: Beam, own: Mapping[str, Entry]) -> Iterator[Entry]:
    settings = beam.settings
    listen = next((each for each in settings.listen if hasattr(each, "port")), None)
    for name, key in _pgbouncer_names(beam).items():
        if key in own:
            yield name, _without_zero(own[key][1]), _without_zero(own[key][2]), own[key][3]
    fixed = {
        "max_client_conn": beam.most_clients,
        "max_db_connections": 0,
        "max_user_connections": 0,
        "listen_addr": None if listen is None else listen.host,
        "listen_port": None if listen is None else listen.port,
        "log_pooler_errors": 1,
    }
    for key, value in fixed.items():
        yield key, None if value is None else str(value), None, "no"


def _without_zero(number: str | None) -> str | None:
    """PgBouncer's numbers of seconds are whole where they can be."""
    return None if number is None else number.removesuffix(".0")
