"""Puts the sources on top of each other and makes Settings of them: `--set` > environment > .secrets.toml >
settings.toml > defaults."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pgbeam_core.api.query import Target
from pgbeam_core.settings.build import build, convert
from pgbeam_core.settings.model import (
    AUTH,
    LAZY_TRANSACTIONS,
    MAX_QUERY_TIMEOUT_MS,
    POOL_MODES,
    Core,
    Project,
    Settings,
)
from pgbeam_core.settings.sources import PREFIX, Merged, read_environment, read_sets, read_toml
from pgbeam_core.settings.urls import parse_upstream
from pgbeam_core.settings.where import Origin, Where

DEFAULT_FILE = Path("settings.toml")
SECRETS_FILE = ".secrets.toml"


@dataclasses.dataclass(frozen=True)
class RawProject:
    """A `[projects.<name>]` table as it is written."""

    upstream: str = dataclasses.field(repr=False, metadata={"help": "URL of the primary"})
    replicas: tuple[str, ...] = dataclasses.field(default=(), repr=False, metadata={"help": "URLs of read replicas"})
    hostnames: tuple[str, ...] = dataclasses.field(default=(), metadata={"help": "matched against TLS SNI"})
    auth: str = dataclasses.field(default="passthrough", metadata={"choices": AUTH})
    pool_mode: str = dataclasses.field(default="transaction", metadata={"choices": POOL_MODES})
    lazy_transactions: str = dataclasses.field(default="reads", metadata={"choices": LAZY_TRANSACTIONS})
    query_timeout_ms: int = dataclasses.field(default=0, metadata={"min": 0, "max": MAX_QUERY_TIMEOUT_MS})
    auto_read_routing: bool = False
    default: bool = False


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
    for key, value in top.items():
        if key not in known:
            raise merged.where.unknown(key, value, [*known, "plugins", "projects"])
    return build(Core, top, merged.where)


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


def validate(merged: Merged, specs: Mapping[str, type], installed: Collection[str] = ()) -> Settings:
    """What was read, as Settings. Raises SettingsError."""
    core = core_settings(merged)
    order = plugin_order(merged)
    return Settings(
        **{field.name: getattr(core, field.name) for field in dataclasses.fields(Core)},
        plugins=order,
        plugin=MappingProxyType(_plugin_settings(merged, order, specs, installed)),
        projects=MappingProxyType(_projects(merged)),
    )


def _plugin_settings(
    merged: Merged, order: tuple[str, ...], specs: Mapping[str, type], installed: Collection[str]
) -> dict[str, Any]:
    where = merged.where / "plugins"
    tables = {key: value for key, value in merged.tree.get("plugins", {}).items() if key != "order"}
    for name, table in tables.items():
        if not isinstance(table, Mapping):
            raise (where / name).error(table, "must be a table")
        if name in specs:
            continue
        if name in order:
            for key, value in table.items():
                raise (where / name / key).error(value, f"plugin {name} has no settings")
        elif name not in installed:
            raise where.unknown(name, dict(table), {*specs, *installed, "order"})
    return {name: build(spec, tables.get(name, {}), where / name) for name, spec in specs.items()}


def _projects(merged: Merged) -> dict[str, Project]:
    where = merged.where / "projects"
    tables = merged.tree.get("projects", {})
    if not isinstance(tables, Mapping):
        raise where.error(tables, "must be a table of projects")
    projects = {name: _project(name, table, where / name) for name, table in tables.items()}
    defaults = [name for name, project in projects.items() if project.default]
    if len(defaults) > 1:
        raise (where / defaults[1] / "default").error(True, f"project {defaults[0]} is the default already")
    if len(projects) == 1:
        projects = {name: dataclasses.replace(project, default=True) for name, project in projects.items()}
    _hostnames_are_distinct(projects, where)
    return projects


def _hostnames_are_distinct(projects: Mapping[str, Project], where: Where) -> None:
    owners: dict[str, str] = {}
    for name, project in projects.items():
        for hostname in project.hostnames:
            if owners.setdefault(hostname, name) != name:
                raise (where / name / "hostnames").error(hostname, f"project {owners[hostname]} has it already")


def _project(name: str, table: Any, where: Where) -> Project:
    if not isinstance(table, Mapping):
        raise where.error(table, "must be a table")
    raw = build(RawProject, table, where)
    if raw.auth == "scram":
        raise (where / "auth").error(raw.auth, "is not available yet; use passthrough or trust")
    primary, password = _target(raw.upstream, name, "primary", where / "upstream")
    passwords = {} if password is None else {primary: password}
    replicas: list[Target] = []
    for url in raw.replicas:
        replica, password = _target(url, name, "replica", where / "replicas")
        replicas.append(replica)
        if password is not None:
            passwords[replica] = password
    return Project(
        name=name,
        primary=primary,
        replicas=tuple(replicas),
        hostnames=tuple(hostname.lower().rstrip(".") for hostname in raw.hostnames),
        auth=raw.auth,
        pool_mode=raw.pool_mode,
        lazy_transactions=raw.lazy_transactions,
        query_timeout_ms=raw.query_timeout_ms,
        auto_read_routing=raw.auto_read_routing,
        default=raw.default,
        passwords=MappingProxyType(passwords),
    )


def _target(url: str, project: str, role: str, where: Where) -> tuple[Target, str | None]:
    try:
        upstream = parse_upstream(url, project, role)
    except ValueError as error:
        raise where.error(url, str(error)) from error
    return upstream.target, upstream.password


def apply_project(settings: Settings, name: str, url: str) -> Settings:
    """The same settings with one project in front of `url` instead of all others. Raises SettingsError."""
    where = Where(("upstream",), {("upstream",): Origin("--upstream")})
    try:
        upstream = parse_upstream(url, name)
    except ValueError as error:
        raise where.error(url, str(error)) from error
    passwords = {} if upstream.password is None else {upstream.target: upstream.password}
    project = Project(name, upstream.target, default=True, passwords=MappingProxyType(passwords))
    return dataclasses.replace(settings, projects=MappingProxyType({name: project}))
