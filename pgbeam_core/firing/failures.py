"""What is said of a plugin that fails: which one, in which hook, at which line, and what its author may not know.

A plugin that fails at one query fails at the next one too. So the first failure at a place is told with its traceback,
those after it by their number, each time that has grown tenfold.
"""

from __future__ import annotations

import sys
import traceback
from collections import Counter
from types import TracebackType
from typing import Any, NamedTuple

import pluggy
from twisted.logger import Logger

log = Logger(__name__)

_MOST_PLACES = 1_000
"""Places that are told apart; the failures at others are counted by their hook and plugin only."""


class Unfit(TypeError):
    """A plugin has given what a hook may not give. Where that was found says nothing to its author."""


class Place(NamedTuple):
    """Where a plugin has failed."""

    hook: str
    plugin: str
    file: str
    line: int


class Failures:
    """Those of all plugins of one run."""

    def __init__(self, manager: pluggy.PluginManager) -> None:
        self._manager = manager
        self._counts: Counter[Place] = Counter()

    def tell(self, hook: str, plugin: str) -> None:
        """Log the exception being handled."""
        kind, error, trace = sys.exc_info()
        file, line = self._where(hook, plugin, trace)
        place = Place(hook, plugin, file, line)
        if place not in self._counts and len(self._counts) >= _MOST_PLACES:
            return
        self._counts[place] += 1
        count = self._counts[place]
        fields: dict[str, Any] = {"plugin": plugin, "hook": hook, "file": file, "line": line}
        if count == 1:
            unfit = isinstance(error, Unfit)
            what = f"{'TypeError' if unfit or kind is None else kind.__name__}: {error}"
            text = 'plugin "{plugin}" raised in {hook}, at {file}:{line}: {what}{hint}'
            (log.error if unfit else log.failure)(text, what=what, hint=hint_for(error), **fields)
        elif count == 10 ** (len(str(count)) - 1):
            text = 'plugin "{plugin}" has raised in {hook}, at {file}:{line}, {count} times by now'
            log.error(text, count=count, **fields)

    def culprit(self, hook: str) -> str | None:
        """Whose implementation of a hook that pluggy calls raised the exception being handled; None if nobody can
        tell."""
        owners = {id(impl.function.__code__): impl.plugin_name for impl in self._implementations(hook)}
        found = None
        for frame, _line in traceback.walk_tb(sys.exc_info()[2]):
            found = owners.get(id(frame.f_code), found)
        return found

    def _implementations(self, hook: str) -> list[pluggy.HookImpl]:
        caller = getattr(self._manager.hook, hook)
        impls: list[pluggy.HookImpl] = caller.get_hookimpls()
        return [impl for impl in impls if hasattr(impl.function, "__code__")]

    def _where(self, hook: str, plugin: str, trace: TracebackType | None) -> tuple[str, int]:
        """The innermost line of the plugin's own package; where its hook begins, if none of its lines is known."""
        package = self._package(plugin)
        found: tuple[str, int] | None = None
        for frame, line in traceback.walk_tb(trace):
            if str(frame.f_globals.get("__name__", "")).partition(".")[0] == package:
                found = frame.f_code.co_filename, line
        if found is not None:
            return found
        for impl in self._implementations(hook):
            if impl.plugin_name == plugin:
                return impl.function.__code__.co_filename, impl.function.__code__.co_firstlineno
        return package, 0

    def _package(self, plugin: str) -> str:
        """The name of the package at the top that a plugin is part of."""
        found = self._manager.get_plugin(plugin)
        name = getattr(found, "__name__", None) or type(found).__module__
        return str(name).partition(".")[0]


def hint_for(error: BaseException | None) -> str:
    """What most authors of plugins do not expect."""
    if isinstance(error, TypeError) and "bytes" in str(error) and "str" in str(error):
        return (
            " (statement.text is bytes: what the client sent, annotations blanked out; "
            "statement.sql is the same as a str)"
        )
    return ""
