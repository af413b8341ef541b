"""Reads each source with dynaconf and lays one over the other, remembering who set what.

Each source gets a Dynaconf of its own. One for all would replace whole tables (a `[projects.shop]` in
.secrets.toml would drop the one in settings.toml), append lists when told to merge, cast `@int`-like
strings, and forget where a value came from.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dynaconf import Dynaconf

from pgbeam_core.errors import SettingsError
from pgbeam_core.settings.where import Origin, Where
from pgbeam_core.settings.where import Path as KeyPath
from pgbeam_core.settings.wrong import Wrong
from pgbeam_core.telemetry.masking import mask

PREFIX = "PGBEAM_"
_PLUGINS_LIST = re.compile(r"^plugins(?=\s*=)", re.MULTILINE)
_FIRST_TABLE = re.compile(r"^\s*\[", re.MULTILINE)


@dataclass
class Merged:
    """The merged tree of plain dicts, lists and scalars, and the origin of every leaf in it."""

    tree: dict[str, Any] = field(default_factory=dict)
    origins: dict[KeyPath, Origin] = field(default_factory=dict)

    @property
    def where(self) -> Where:
        """The root, from which errors are named."""
        return Where((), self.origins)

    def lay(self, data: Mapping[str, Any], origin: Origin) -> None:
        """Put a source on top: tables are merged, everything else is replaced."""
        self._lay(self.tree, data, (), origin)

    def take_project(self, name: str, option: str) -> Merged:
        """Take all projects away, and give what the environment and `--set` say of that one: `option` makes it.

        Raises SettingsError if `--set` is about another one, of which there is none then.
        """
        own, wrong = Merged(), Wrong()
        for path, origin in list(self.origins.items()):
            if path[0] != "projects" or not origin.text:
                continue
            if path[1:2] == (name,):
                own.lay(_nested(path, self._at(path)), origin)
            elif not origin.names_variable:
                reason = f"with {option} there is one project: write projects.{name}.…"
                wrong.add(Where(path, self.origins).error(self._at(path), reason))
        wrong.tell()
        self.tree.pop("projects", None)
        self._forget(("projects",))
        return own

    def only_amends(self, name: str) -> bool:
        """Whether the environment and `--set` say something of one project, and nobody says where its server is."""
        projects = self.tree.get("projects")
        if not isinstance(projects, dict) or [*projects] != [name]:
            return False
        paths = [path for path in self.origins if path[0] == "projects"]
        return ("projects", name, "upstream") not in paths and all(self.origins[path].text for path in paths)

    def _at(self, path: KeyPath) -> Any:
        found: Any = self.tree
        for key in path:
            found = found[key]
        return found

    def _lay(self, tree: dict[str, Any], data: Mapping[str, Any], path: KeyPath, origin: Origin) -> None:
        for raw_key, value in data.items():
            key = _same_key(raw_key, tree, fold=origin.text or not path)
            here = (*path, key)
            if isinstance(value, Mapping):
                below = tree.get(key)
                if not isinstance(below, dict):
                    below = tree[key] = {}
                    self._forget(here)
                if not value:
                    self.origins[here] = origin
                self._lay(below, value, here, origin)
            else:
                self._forget(here)
                tree[key] = value
                self.origins[here] = origin

    def _forget(self, path: KeyPath) -> None:
        for known in [p for p in self.origins if p[: len(path)] == path]:
            del self.origins[known]


def _nested(path: KeyPath, value: Any) -> dict[str, Any]:
    for key in reversed(path):
        value = {key: value}
    found: dict[str, Any] = value
    return found


def _same_key(key: str, tree: Mapping[str, Any], *, fold: bool) -> str:
    """The spelling under which a key is already there; environment variables and dynaconf's top level shout."""
    if key in tree or not fold:
        return key
    return next((known for known in tree if known.lower() == key.lower()), key.lower())


def _plain(layer: Dynaconf) -> dict[str, Any]:
    """A layer's content as plain dicts, `plugins = [...]` as `plugins.order`."""
    data = {key.lower(): value for key, value in layer.as_dict().items()}
    if "plugins" in data and not isinstance(data["plugins"], dict):
        data["plugins"] = {"order": data["plugins"]}
    return data


def _layer() -> Dynaconf:
    return Dynaconf(envvar_prefix=None, settings_files=[], core_loaders=[], loaders=[], auto_cast=False)


def read_toml(path: Path) -> dict[str, Any]:
    """A settings file. SettingsError when it cannot be read or is not TOML."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: cannot be read: {error}") from error
    try:
        data = tomllib.loads(_plugins_beside_tables(text))
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path}: not TOML: {error}") from error
    layer = _layer()
    layer.update(data)
    return _plain(layer)


def _plugins_beside_tables(text: str) -> str:
    """Let `plugins = ["a", "b"]` stand beside `[plugins.a]`, which TOML itself takes for a contradiction."""
    table = _FIRST_TABLE.search(text)
    head = len(text) if table is None else table.start()
    return _PLUGINS_LIST.sub("plugins.order", text[:head]) + text[head:]


def read_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """`PGBEAM_PROJECTS__SHOP__POOL_MODE=session` and the like; every value a str."""
    layer = _layer()
    for name in sorted(environ):
        if name.startswith(PREFIX):
            layer.set(name.removeprefix(PREFIX), _text(environ[name]), tomlfy=False)
    return _plain(layer)


def read_sets(sets: Sequence[str]) -> Iterable[dict[str, Any]]:
    """`projects.shop.pool_mode=session` and the like, one tree for each; every value a str.

    Raises SettingsError behind the last one, for all that are no setting.
    """
    wrong = Wrong()
    for text in sets:
        key, equals, value = text.partition("=")
        try:
            data = tomllib.loads(f"{key} = 0")
        except tomllib.TOMLDecodeError:
            data = {}
        if not equals or not data:
            wrong.add(SettingsError(f"--set {mask(text)}: write it as KEY=VALUE, for example --set log_level=debug"))
            continue
        layer = _layer()
        layer.update(_with_leaf(data, _text(value)))
        yield _plain(layer)
    wrong.tell()


def _text(value: str) -> str | dict[str, Any]:
    """The text itself, for its field to type; an inline table is one, so that its keys are merged one by one."""
    value = value.strip()
    if value.startswith("{"):
        try:
            return {**tomllib.loads(f"table = {value}")["table"]}
        except tomllib.TOMLDecodeError:
            return value
    return value


def _with_leaf(data: Mapping[str, Any], value: Any) -> dict[str, Any]:
    return {key: _with_leaf(below, value) if isinstance(below, dict) else value for key, below in data.items()}
