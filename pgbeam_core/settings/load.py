"""Puts the sources on top of each other and makes Settings of them: `--set` > environment > .secrets.toml >
settings.toml > defaults."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pgbeam_core.api.query import Role, Target
from pgbeam_core.errors import SettingsError
from pgbeam_core.settings.build import build, convert
from pgbeam_core.settings.listening import check_alias, check_listening
from pgbeam_core.settings.logins import logins
from pgbeam_core.settings.model import (
    AUTH,
    LAZY_TRANSACTIONS,
    MAX_QUERY_TIMEOUT_MS,
    MAX_TIMEOUT_MS,
    POOL_MODES,
    Alias,
    Core,
    Logins,
    Project,
    Settings,
)
from pgbeam_core.settings.sources import PREFIX, Merged, read_environment, read_sets, read_toml
from pgbeam_core.settings.urls import parse_upstream
from pgbeam_core.settings.where import Origin, Where
from pgbeam_core.settings.wrong import Wrong

DEFAULT_FILE = Path("settings.toml")
SECRETS_FILE = ".secrets.toml"


@dataclasses.dataclass(frozen=True)
class RawPlace:
    """A `[projects.<name>]` table as it is written, but for what it says about logins."""

    upstream: str = dataclasses.field(repr=False, metadata={"help": "URL of the primary"})
    replicas: tuple[str, ...] = dataclasses.field(default=(), repr=False, metadata={"help": "URLs of read replicas"})
    hostnames: tuple[str, ...] = dataclasses.field(default=(), metadata={"help": "matched against TLS SNI"})
    auth: str = dataclasses.field(default="passthrough", metadata={"choices": AUTH})
    pool_mode: str = dataclasses.field(default="transaction", metadata={"choices": POOL_MODES})
    lazy_transactions: str = dataclasses.field(default="reads", metadata={"choices": LAZY_TRANSACTIONS})
    query_timeout_ms: int = dataclasses.field(default=0, metadata={"min": 0, "max": MAX_QUERY_TIMEOUT_MS})
    idle_transaction_timeout_ms: int = dataclasses.field(default=0, metadata={"min": 0, "max": MAX_TIMEOUT_MS})
    transaction_timeout_ms: int = dataclasses.field(default=0, metadata={"min": 0, "max": MAX_TIMEOUT_MS})
    client_idle_timeout_s: float = dataclasses.field(default=0.0, metadata={"min": 0, "max": MAX_TIMEOUT_MS / 1000})
    auto_read_routing: bool = False
    default: bool = False
    databases: Mapping[str, Alias] = dataclasses.field(
        default_factory=dict, metadata={"help": "names that clients may use for databases of the server"}
    )
    failover_hold_s: float = dataclasses.field(default=10.0, metadata={"min": 0, "max": 300})
    failover_probe_s: float = dataclasses.field(default=2.0, metadata={"min": 0.1, "max": 60})


@dataclasses.dataclass(frozen=True)
class RawProject(Logins, RawPlace):
    """A `[projects.<name>]` table as it is written."""


def layers(config: Path | None, sets: Sequence[str], environ: Mapping[str, str]) -> Merged:
    """Read all sources. Without `config`, settings.toml of the working directory, if there is one.

    .secrets.toml is looked for beside that file. Raises SettingsError for a source that cannot be read.
    """
    merged = Merged()
    with resources.as_file(resources.files("pgbeam_core") / "defaults.toml") as defaults:
        merged.lay(read_toml(defaults), Origin("defaults"))
    file = config or DEFAULT_FILE
    for path, required in ((file, config is not None), (file.with_name(SECRETS_FILE), False)):
        if required or path.is_file():
            merged.lay(read_toml(path), Origin(str(path)))
    merged.lay(read_environment(environ), Origin(PREFIX, text=True, names_variable=True))
    for data in read_sets(sets):
        merged.lay(data, Origin("--set", text=True))
    return merged


def plugin_order(merged: Merged) -> tuple[str, ...]:
    """The names of the plugins that are on, which has to be known before their settings can be checked."""
    plugins = merged.tree.get("plugins", {})
    order: tuple[str, ...] = convert(tuple[str, ...], plugins.get("order", []), merged.where / "plugins" / "order")
    return order


def core_settings(merged: Merged) -> Core:
    """The settings at the top, without plugins and projects."""
    top = {key: value for key, value in merged.tree.items() if key not in ("plugins", "projects")}
    known = [field.name for field in dataclasses.fields(Core)]
    wrong = Wrong()
    for key in [key for key in top if key not in known]:
        wrong.add(merged.where.unknown(key, top.pop(key), [*known, "plugins", "projects"]))
    with wrong.noting():
        core = build(Core, top, merged.where)
        check_listening(core, merged.where)
    wrong.tell()
    return core


def load(
    config: Path | None,
    sets: Sequence[str],
    environ: Mapping[str, str],
    specs: Mapping[str, type],
    installed: Collection[str] = (),
) -> Settings:
    """Read and validate everything; `specs` are the settings classes of the plugins that are on.

    Tables of plugins in `installed` that are off are left alone. Raises SettingsError.
    """
    return validate(layers(config, sets, environ), specs, installed)


def beside_plugins(merged: Merged) -> tuple[SettingsError, ...]:
    """What is wrong with the settings that no plugin has to be loaded for."""
    wrong = Wrong()
    with wrong.noting():
        core_settings(merged)
    with wrong.noting():
        _projects(merged)
    try:
        wrong.tell()
    except SettingsError as error:
        return error.each
    return ()


def validate(merged: Merged, specs: Mapping[str, type], installed: Collection[str] = ()) -> Settings:
    """What was read, as Settings. Raises SettingsError, for all that is wrong."""
    wrong = Wrong()
    order = plugin_order(merged)
    with wrong.noting():
        core = core_settings(merged)
    with wrong.noting():
        plugin = _plugin_settings(merged, order, specs, installed)
    with wrong.noting():
        projects = _projects(merged)
    wrong.tell()
    return Settings(
        **{field.name: getattr(core, field.name) for field in dataclasses.fields(Core)},
        plugins=order,
        plugin=MappingProxyType(plugin),
        projects=MappingProxyType(projects),
    )


def _plugin_settings(
    merged: Merged, order: tuple[str, ...], specs: Mapping[str, type], installed: Collection[str]
) -> dict[str, Any]:
    where = merged.where / "plugins"
    tables = {key: value for key, value in merged.tree.get("plugins", {}).items() if key != "order"}
    wrong = Wrong()
    found: dict[str, Any] = {}
    for name, table in tables.items():
        if not isinstance(table, Mapping):
            wrong.add((where / name).error(table, "must be a table"))
        elif name in order and name not in specs:
            for key, value in table.items():
                wrong.add((where / name / key).error(value, f"plugin {name} has no settings"))
        elif name not in specs and name not in installed:
            wrong.add(where.unknown(name, dict(table), {*specs, *installed, "order"}))
    for name, spec in specs.items():
        if isinstance(table := tables.get(name, {}), Mapping):
            with wrong.noting():
                found[name] = build(spec, table, where / name)
    wrong.tell()
    return found


def _projects(merged: Merged) -> dict[str, Project]:
    where = merged.where / "projects"
    tables = merged.tree.get("projects", {})
    if not isinstance(tables, Mapping):
        raise where.error(tables, "must be a table of projects")
    wrong = Wrong()
    projects: dict[str, Project] = {}
    for name, table in tables.items():
        with wrong.noting():
            projects[name] = _project(name, table, where / name)
    with wrong.noting():
        _are_distinct(projects, where)
    wrong.tell()
    if len(projects) == 1:
        projects = {name: dataclasses.replace(project, default=True) for name, project in projects.items()}
    return projects


def _are_distinct(projects: Mapping[str, Project], where: Where) -> None:
    """At most one is the default, and each host name is that of one."""
    defaults = [name for name, project in projects.items() if project.default]
    wrong = Wrong()
    for name in defaults[1:]:
        wrong.add((where / name / "default").error(True, f"project {defaults[0]} is the default already"))
    owners: dict[str, str] = {}
    for name, project in projects.items():
        for hostname in project.hostnames:
            if owners.setdefault(hostname, name) != name:
                wrong.add((where / name / "hostnames").error(hostname, f"project {owners[hostname]} has it already"))
    wrong.tell()


def _project(name: str, table: Any, where: Where) -> Project:
    if not isinstance(table, Mapping):
        raise where.error(table, "must be a table")
    raw = build(RawProject, table, where)
    wrong = Wrong()
    for alias, meaning in raw.databases.items():
        with wrong.noting():
            check_alias(meaning, where / "databases" / alias)
    urls = [(raw.upstream, Role.PRIMARY, "upstream"), *((url, Role.REPLICA, "replicas") for url in raw.replicas)]
    targets: list[Target] = []
    passwords: dict[Target, str] = {}
    for url, role, key in urls:
        with wrong.noting():
            target, password = _target(url, name, role, where / key)
            targets.append(target)
            if password is not None:
                passwords[target] = password
    wrong.tell()
    primary, *replicas = targets
    if not replicas:  # members are listed once: those that are standbys may answer reads
        replicas = [
            member._replace(role=Role.REPLICA, session_attrs="any") for member in primary.places if primary.hosts
        ]
        passwords.update(dict.fromkeys(replicas, passwords[primary]) if primary in passwords else {})
    checked = logins(raw, raw.auth, primary, where)
    return Project(
        name=name,
        primary=primary,
        replicas=tuple(replicas),
        hostnames=tuple(hostname.lower().rstrip(".") for hostname in raw.hostnames),
        auth=raw.auth,
        pool_mode=raw.pool_mode,
        lazy_transactions=raw.lazy_transactions,
        query_timeout_ms=raw.query_timeout_ms,
        idle_transaction_timeout_ms=raw.idle_transaction_timeout_ms,
        transaction_timeout_ms=raw.transaction_timeout_ms,
        client_idle_timeout_s=raw.client_idle_timeout_s,
        auto_read_routing=raw.auto_read_routing,
        default=raw.default,
        databases=MappingProxyType(dict(raw.databases)),
        failover_hold_s=raw.failover_hold_s,
        failover_probe_s=raw.failover_probe_s,
        passwords=MappingProxyType(passwords),
        logins=checked,
    )


def _target(url: str, project: str, role: Role, where: Where) -> tuple[Target, str | None]:
    try:
        upstream = parse_upstream(url, project, role)
    except ValueError as error:
        raise where.error(url, str(error)) from error
    return upstream.target, upstream.password


def apply_project(settings: Settings, name: str, url: str, own: Merged | None = None) -> Settings:
    """The same settings with one project in front of `url` instead of all others. Raises SettingsError.

    own: what is set of that project beside, as `Merged.take_project` gives it.
    """
    origin = Origin("--upstream")
    try:
        parse_upstream(url, name)
    except ValueError as error:
        raise Where(("upstream",), {("upstream",): origin}).error(url, str(error)) from error
    merged = Merged() if own is None else own
    merged.lay({"projects": {name: {"upstream": url}}}, origin)
    return dataclasses.replace(settings, projects=MappingProxyType(_projects(merged)))
