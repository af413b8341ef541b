"""Settings as TOML, for `pgbeam check`: what it prints, settings.toml may hold. Secrets are masked."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pgbeam_core.settings.logins import FIELDS
from pgbeam_core.settings.model import Core, Endpoint, Project, Settings
from pgbeam_core.settings.urls import format_upstream
from pgbeam_core.telemetry.masking import MASK, is_secret, mask


def to_toml(settings: Settings) -> str:
    """All settings, defaults included; what is unset stands as a comment."""
    core = {field.name: getattr(settings, field.name) for field in dataclasses.fields(Core)}
    lines = [_line(name, MASK if is_secret(name) and value else value) for name, value in core.items()]
    lines.append(_line("plugins.order", settings.plugins))
    for project in settings.projects.values():
        lines += ["", f"[projects.{_key(project.name)}]", *_project_lines(project)]
    for name, values in settings.plugin.items():
        lines += ["", f"[plugins.{_key(name)}]", *_dataclass_lines(values)]
    return "\n".join(lines) + "\n"


def _project_lines(project: Project) -> Iterator[str]:
    urls = {t: format_upstream(t, MASK if t in project.passwords else None) for t in project.targets}
    yield _line("hostnames", project.hostnames)
    yield _line("upstream", urls[project.primary])
    yield _line("replicas", tuple(urls[replica] for replica in project.replicas))
    for name in (
        "auth",
        "pool_mode",
        "lazy_transactions",
        "query_timeout_ms",
        "auto_read_routing",
        "default",
        "databases",
    ):
        yield _line(name, getattr(project, name))
    timeouts = ("idle_transaction_timeout_ms", "transaction_timeout_ms", "client_idle_timeout_s")
    for name in (*timeouts, "failover_hold_s", "failover_probe_s"):
        yield _line(name, getattr(project, name))
    for name in FIELDS:
        yield _line(name, _shown(name, getattr(project.logins, name)))


def _shown(name: str, value: Any) -> Any:
    """Of users their names; of a password where it comes from."""
    if name == "users":
        return dict.fromkeys(value, MASK)
    if name in ("auth_password", "password_command"):
        return MASK if value else None
    return value


def _dataclass_lines(values: Any) -> Iterator[str]:
    for field in dataclasses.fields(values):
        value = getattr(values, field.name)
        secret = field.metadata.get("secret", False) or is_secret(field.name)
        yield _line(field.name, MASK if secret and value else value)


def _line(key: str, value: Any) -> str:
    return f"# {key} is not set" if value is None else f"{_key(key, dotted=True)} = {_value(value)}"


def _key(key: str, *, dotted: bool = False) -> str:
    bare = key.replace(".", "_") if dotted else key
    return key if bare.replace("_", "").replace("-", "").isalnum() and bare.isascii() else json.dumps(key)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, tuple | list):
        return f"[{', '.join(_value(item) for item in value)}]"
    if dataclasses.is_dataclass(value) and not isinstance(value, Endpoint | type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        pairs = [f"{_key(k)} = {_value(MASK if is_secret(k) else v)}" for k, v in value.items() if v is not None]
        return f"{{{', '.join(pairs)}}}"
    if isinstance(value, str | Path | Endpoint):
        return json.dumps(mask(str(value)), ensure_ascii=False)
    raise TypeError(f"no TOML for {value!r}")
