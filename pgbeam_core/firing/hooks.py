"""The hooks of one run, frozen.

pluggy declares, validates and orders; a hook is then frozen into a tuple of plain callables, each taking all the
hook's arguments by position and passing on the ones its implementation named. No plugin joins after the start.
A hook with wrappers is called by pluggy itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from operator import itemgetter
from typing import Any

import pluggy

from pgbeam_core.firing.batches import ALL_AT_ONCE, Call, ExecuteBatch, Implementations, ResultBatch, WithBatch, add
from pgbeam_core.firing.failures import Failures, Unfit

_MAY_REFUSE = frozenset({"authenticated", "template", "parse", "route", "execute", "execute_batch"})
"""Hooks at which a query, or a client, can still be refused."""


class PluginRaised(Exception):
    """A plugin that must not be passed over raised: the query, or the login, must not go on."""

    def __init__(self, plugin: str) -> None:
        super().__init__(f'plugin "{plugin}" failed')
        self.plugin = plugin


def narrow(impl: pluggy.HookImpl, given: tuple[str, ...]) -> Call:
    """A callable that takes every argument of the hook by position and passes on those that `impl` names."""
    function: Call = impl.function
    if impl.argnames == given:
        return function
    places = [given.index(name) for name in impl.argnames]
    if not places:
        return lambda *_: function()
    if len(places) == 1:
        place = places[0]
        return lambda *args: function(args[place])
    pick = itemgetter(*places)
    return lambda *args: function(*pick(args))


class Hooks:
    """The frozen hooks of one run.

    Each attribute is a hook; calling it asks the plugins in order. `bool(hooks.route.implementations)` tells
    whether anybody listens.
    """

    def __init__(
        self, manager: pluggy.PluginManager, refusing: Iterable[str] = (), passing: Iterable[str] = ()
    ) -> None:
        """`refusing`, `passing`: plugins whose settings say that they are not, or are, to be passed over."""
        self.manager = manager
        self.raised: Counter[tuple[str, str]] = Counter()
        """How often, by hook and plugin."""
        self._failures = Failures(manager)
        self._refusing = frozenset(refusing)
        self._passing = frozenset(passing)
        self.connect = self._first("connect")
        self.route = self._first("route")
        self.execute = self._first("execute")
        self.variable = self._first("variable")
        self.pool = self._first("pool")
        self.execute_batch = ExecuteBatch(self._with_batch("execute"), self.failed)
        self.result_batch = ResultBatch(self._with_batch("result"), self.failed, self.unfit)
        self.authenticated = self._all("authenticated")
        self.disconnect = self._all("disconnect")
        self.template = self._all("template")
        self.parse = self._all("parse")
        self.explain = self._all("explain")
        self.result = self._all("result")
        self.transaction_over = self._all("transaction_over")
        self.stats = self._all("stats")
        self.metrics = self._all("metrics")
        self.panel = self._all("panel")
        self.console = self._all("console")

    @classmethod
    def of(cls, manager: pluggy.PluginManager, settings: Mapping[str, Any]) -> Hooks:
        """`settings` are those of the plugins, by name: their `on_error` says what their failing means."""
        told = {name: getattr(spec, "on_error", None) for name, spec in settings.items()}
        return cls(
            manager,
            [name for name, word in told.items() if word == "refuse"],
            [name for name, word in told.items() if word == "pass"],
        )

    def freeze(self, name: str) -> Implementations:
        """The implementations of a hook."""
        caller = getattr(self.manager.hook, name)
        given = tuple(caller.spec.argnames)
        impls = list(reversed(caller.get_hookimpls()))
        if any(impl.wrapper or impl.hookwrapper for impl in impls):
            return ((ALL_AT_ONCE, lambda *args: caller(**dict(zip(given, args, strict=True)))),)
        return tuple((impl.plugin_name, narrow(impl, given)) for impl in impls)

    def failed(self, hook: str, plugin: str) -> None:
        """Count and log the exception being handled; raise if that plugin must not be passed over.

        Who cannot be judged is not let in: at `connect` none is passed over that does not say it may be.
        """
        if plugin == ALL_AT_ONCE:
            plugin = self._failures.culprit(hook) or self._likely(hook)
        self.raised[hook, plugin] += 1
        self._failures.tell(hook, plugin)
        refuses = plugin in self._refusing and hook in _MAY_REFUSE
        if refuses or (hook == "connect" and plugin not in self._passing):
            raise PluginRaised(plugin)

    def unfit(self, hook: str, plugin: str, answer: object, wanted: str) -> None:
        """The same, for a plugin that has given what it may not."""
        try:
            raise Unfit(f"{hook} gives {wanted}, not {type(answer).__name__}")
        except Unfit:
            self.failed(hook, plugin)

    def _likely(self, hook: str) -> str:
        """The plugin that must not be passed over, where nobody knows which one of a hook has failed."""
        names = [impl.plugin_name for impl in getattr(self.manager.hook, hook).get_hookimpls()]
        return next((name for name in names if name in self._refusing), ALL_AT_ONCE)

    def _with_batch(self, name: str) -> WithBatch:
        batch = dict(self.freeze(name + "_batch"))
        return tuple((plugin, call, batch.get(plugin)) for plugin, call in self.freeze(name))

    def _first(self, name: str) -> First:
        return First(name, self.freeze(name), self.failed)

    def _all(self, name: str) -> All:
        return All(name, self.freeze(name), self.failed)


# First and All have no base in common: compiled by mypyc 2.4, a class crashes that inherits all but its __call__.
class First:
    """A hook whose first answer that is not None wins. The call gives (plugin name, answer) or None."""

    __slots__ = ("failed", "implementations", "name")

    def __init__(self, name: str, implementations: Implementations, failed: Callable[[str, str], None]) -> None:
        self.name = name
        self.implementations = implementations
        self.failed = failed

    def __bool__(self) -> bool:
        return bool(self.implementations)

    def __call__(self, *args: Any) -> tuple[str, Any] | None:
        for name, call in self.implementations:
            try:
                answer = call(*args)
            except Exception:
                self.failed(self.name, name)
                continue
            if answer is not None:
                return name, answer
        return None

    def of_three(self, first: object, second: object, third: object) -> tuple[str, Any] | None:
        """The call of a hook with three arguments: for each execution a tuple of them would cost more than the call."""
        for name, call in self.implementations:
            try:
                answer = call(first, second, third)
            except Exception:
                self.failed(self.name, name)
                continue
            if answer is not None:
                return name, answer
        return None

    def after(self, plugin: str, *args: Any) -> tuple[str, Any] | None:
        """Ask only the plugins behind that one: it has answered with a Deferred that came to None."""
        names = [name for name, _ in self.implementations]
        behind = self.implementations[names.index(plugin) + 1 :]
        return First(self.name, behind, self.failed)(*args)


class All:
    """A hook that every plugin gets. The call gives (plugin name, answer) for each answer that is not None."""

    __slots__ = ("failed", "implementations", "name")

    def __init__(self, name: str, implementations: Implementations, failed: Callable[[str, str], None]) -> None:
        self.name = name
        self.implementations = implementations
        self.failed = failed

    def __bool__(self) -> bool:
        return bool(self.implementations)

    def __call__(self, *args: Any) -> list[tuple[str, Any]]:
        answers: list[tuple[str, Any]] = []
        for name, call in self.implementations:
            try:
                answer = call(*args)
            except Exception:
                self.failed(self.name, name)
                continue
            if answer is not None:
                add(answers, name, answer)
        return answers

    def of_three(self, first: object, second: object, third: object) -> list[tuple[str, Any]]:
        """The call of a hook with three arguments: for each execution a tuple of them would cost more than the call."""
        answers: list[tuple[str, Any]] = []
        for name, call in self.implementations:
            try:
                answer = call(first, second, third)
            except Exception:
                self.failed(self.name, name)
                continue
            if answer is not None:
                add(answers, name, answer)
        return answers
