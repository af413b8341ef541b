"""Finds plugins (entry points of the group `pgbeam`), orders and validates them.

pluggy passes over what is wrong here: of two entry points with one name it silently takes the first, a name that
matches nothing loads nothing. Both are errors that name the culprit.
"""

from __future__ import annotations

import dataclasses
import inspect
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import pluggy

from pgbeam_core.api import hookspecs
from pgbeam_core.errors import PluginError
from pgbeam_core.settings.where import nearest

GROUP = "pgbeam"
BATCH = "_batch"
"""How the name of a hook ends that is called in place of another one for several executions at once."""


@dataclass(frozen=True)
class PluginInfo:
    """An installed plugin. `error` says why it cannot be loaded; `hooks` is then empty."""

    name: str
    version: str
    distribution: str
    module: str
    hooks: tuple[str, ...]
    error: str | None = None


def load_plugins(names: Sequence[str]) -> pluggy.PluginManager:
    """Import and register those plugins; the first named is asked first. PluginError names what is wrong."""
    entries = _entries()
    loaded: list[tuple[str, Any]] = []
    wrong: list[str] = []
    for place, name in enumerate(names):
        try:
            if name in names[:place]:
                raise PluginError(f'plugin "{name}" is named twice')
            loaded.append((name, _load(_the_entry(name, entries))))
        except PluginError as error:
            wrong.append(error.message)
    if wrong:
        raise PluginError("\n".join(wrong))
    return assemble(loaded)


def assemble(plugins: Sequence[tuple[str, Any]]) -> pluggy.PluginManager:
    """Register (name, module or object) pairs; the first is asked first. PluginError names what is wrong."""
    manager = pluggy.PluginManager(hookspecs.PROJECT_NAME)
    manager.add_hookspecs(hookspecs)
    for name, plugin in reversed(plugins):  # pluggy asks the last registered first
        _register(manager, name, plugin)
    return manager


def installed() -> tuple[str, ...]:
    """The names of all installed plugins, none of them imported."""
    return tuple(sorted(_entries()))


def available() -> list[PluginInfo]:
    """What is installed, by name. A plugin that cannot be loaded is listed with the reason."""
    return [_describe(entry) for _, entries in sorted(_entries().items()) for entry in entries]


def specs(manager: pluggy.PluginManager) -> dict[str, type]:
    """Plugin name → its settings class, for those that have one, in the order in which they are asked."""
    found: dict[str, type] = {}
    for impl in reversed(manager.hook.settings_spec.get_hookimpls()):
        try:
            spec = impl.function()
        except Exception as error:
            raise PluginError(f'plugin "{impl.plugin_name}" failed in settings_spec: {in_words(error)}') from error
        if spec is None:
            continue
        if not (isinstance(spec, type) and dataclasses.is_dataclass(spec)):
            raise PluginError(f'plugin "{impl.plugin_name}": settings_spec must give a dataclass, not {spec!r}')
        found[impl.plugin_name] = spec
    return found


def _entries() -> dict[str, list[metadata.EntryPoint]]:
    """Name → its entry points. An editable install may be seen twice on sys.path; that is one plugin, not two."""
    entries: dict[str, list[metadata.EntryPoint]] = {}
    for entry in metadata.entry_points(group=GROUP):
        same = entries.setdefault(entry.name, [])
        if all((entry.value, _distribution(entry)) != (other.value, _distribution(other)) for other in same):
            same.append(entry)
    return entries


def _distribution(entry: metadata.EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else "unknown"


def _the_entry(name: str, entries: Mapping[str, Sequence[metadata.EntryPoint]]) -> metadata.EntryPoint:
    if name not in entries:
        raise PluginError(f'unknown plugin "{name}"{nearest(name, entries)}')
    if len(entries[name]) > 1:
        owners = " and ".join(sorted(_distribution(entry) for entry in entries[name]))
        raise PluginError(f'plugin "{name}" is provided by {owners}: uninstall one of them')
    return entries[name][0]


def _load(entry: metadata.EntryPoint) -> Any:
    """The module or object; a class or a factory is not called: what is named is what is registered."""
    try:
        return entry.load()
    except Exception as error:
        place = f"{entry.value}, from {_distribution(entry)}"
        raise PluginError(f'plugin "{entry.name}" ({place}) cannot be loaded: {in_words(error)}') from error


def in_words(error: Exception) -> str:
    """What a plugin raised, and at which line: its author has to find it."""
    found = traceback.extract_tb(error.__traceback__)
    where = f" ({found[-1].filename}:{found[-1].lineno})" if found else ""
    return f"{type(error).__name__}: {error}{where}"


def _register(manager: pluggy.PluginManager, name: str, plugin: Any) -> None:
    try:
        manager.register(plugin, name=name)
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise PluginError(f'plugin "{name}": {_what_is_wrong(manager, plugin) or error}') from error
    except ValueError as error:
        other = manager.get_name(plugin)
        raise PluginError(f'plugins "{other}" and "{name}" are one and the same object') from error
    _refuse_coroutines(manager, name, plugin)
    _refuse_batches_alone(manager, name, plugin)


def _what_is_wrong(manager: pluggy.PluginManager, plugin: Any) -> str | None:
    """A misspelt hook or argument in words, with the nearest one that exists."""
    for hook in _implemented(manager, plugin):
        specified = _specified(hook)
        if specified is None:
            return f"there is no hook {hook}{nearest(hook, _all_hooks())}"
        for argument in inspect.signature(getattr(plugin, hook)).parameters:
            if argument not in specified:
                return f"hook {hook} has no argument {argument}{nearest(argument, specified)}"
    return None


def _refuse_coroutines(manager: pluggy.PluginManager, name: str, plugin: Any) -> None:
    for hook in _implemented(manager, plugin):
        if inspect.iscoroutinefunction(getattr(plugin, hook)):
            raise PluginError(f'plugin "{name}": hook {hook} must not be async def; return a Deferred instead')


def _refuse_batches_alone(manager: pluggy.PluginManager, name: str, plugin: Any) -> None:
    """What a hook has for several executions is called for several only: without the other it would miss the rest."""
    callers = manager.get_hookcallers(plugin) or ()
    hooks = {caller.name for caller in callers}
    for hook in sorted(hooks):
        single = hook.removesuffix(BATCH)
        if single != hook and single not in hooks:
            what = f"hook {hook} needs hook {single} beside it, which is called where a request has but one execution"
            raise PluginError(f'plugin "{name}": {what}')


def _implemented(manager: pluggy.PluginManager, plugin: Any) -> list[str]:
    """Names of the functions marked with hookimpl, those that may be unknown aside."""
    options = {name: manager.parse_hookimpl_opts(plugin, name) for name in dir(plugin)}
    return [name for name, marked in options.items() if marked is not None and not marked.get("optionalhook")]


def _all_hooks() -> list[str]:
    marker = f"{hookspecs.PROJECT_NAME}_spec"
    return [name for name, thing in vars(hookspecs).items() if getattr(thing, marker, None) is not None]


def _specified(hook: str) -> tuple[str, ...] | None:
    function = getattr(hookspecs, hook, None)
    if hook not in _all_hooks() or function is None:
        return None
    return tuple(inspect.signature(function).parameters)


def _describe(entry: metadata.EntryPoint) -> PluginInfo:
    version = entry.dist.version if entry.dist is not None else ""
    manager = pluggy.PluginManager(hookspecs.PROJECT_NAME)
    manager.add_hookspecs(hookspecs)
    hooks: tuple[str, ...] = ()
    reason = None
    try:
        plugin = _load(_the_entry(entry.name, _entries()))
        _register(manager, entry.name, plugin)
        hooks = tuple(hook for hook in _all_hooks() if hook in _implemented(manager, plugin))
    except PluginError as error:
        reason = error.message
    return PluginInfo(entry.name, version, _distribution(entry), entry.value, hooks, reason)
