"""Calls the hooks of executions for several of one request: once, where a plugin has a form of the hook for that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Call = Callable[..., Any]
Implementations = tuple[tuple[str, Call], ...]
"""Of a hook, first to be called first: (plugin name, callable by position)."""
WithBatch = tuple[tuple[str, Call, Call | None], ...]
"""The same, and what the plugin has for several executions at once, if it has that."""

ALL_AT_ONCE = "pluggy"
"""What stands for the plugins of a hook with wrappers: pluggy calls them all."""


class ExecuteBatch:
    """`execute` for the executions of a request that has several: one plugin after the other sees them all."""

    __slots__ = ("failed", "implementations")

    def __init__(self, implementations: WithBatch, failed: Callable[[str, str], None]) -> None:
        self.implementations = implementations
        self.failed = failed

    def __call__(
        self, session: object, queries: list[Any], target: object, wins: Callable[[str, Any], bool]
    ) -> tuple[str, Any] | None:
        """(plugin name, answer) of the first answer that `wins` says yes to, or None."""
        for name, call, batch in self.implementations:
            if batch is not None and len(queries) > 1:
                try:
                    answer = batch(session, queries, target)
                except Exception:
                    self.failed("execute_batch", name)
                    continue
                if answer is not None and wins(name, answer):
                    return name, answer
                continue
            for query in queries:
                try:
                    answer = call(session, query, target)
                except Exception:
                    self.failed("execute", name)
                    continue
                if answer is not None and wins(name, answer):
                    return name, answer
        return None


class ResultBatch:
    """`result` for executions of one request that have ended together."""

    __slots__ = ("failed", "implementations", "unfit")

    def __init__(
        self,
        implementations: WithBatch,
        failed: Callable[[str, str], None],
        unfit: Callable[[str, str, object, str], None],
    ) -> None:
        self.implementations = implementations
        self.failed = failed
        self.unfit = unfit

    def __call__(self, session: object, queries: list[Any], results: list[Any]) -> list[list[tuple[str, Any]]] | None:
        """For each execution (plugin name, answer) of each answer that is not None; None if there are no answers."""
        said: list[list[tuple[str, Any]]] | None = None
        for name, call, batch in self.implementations:
            answers = self._each(name, call, session, queries, results) if batch is None else None
            if batch is not None:
                try:
                    answers = batch(session, queries, results)
                except Exception:
                    self.failed("result_batch", name)
                    continue
                if answers is not None and not (isinstance(answers, list | tuple) and len(answers) == len(queries)):
                    self.unfit("result_batch", name, answers, "a list with what `result` gives for each query, or None")
                    continue
            if answers is None:
                continue
            if said is None:
                said = [[] for _ in queries]
            for some, answer in zip(said, answers, strict=True):
                if answer is not None:
                    add(some, name, answer)
        return said

    def _each(self, name: str, call: Call, session: object, queries: list[Any], results: list[Any]) -> list[Any] | None:
        answers: list[Any] = []
        told = False
        for query, result in zip(queries, results, strict=True):
            answer = None
            try:
                answer = call(session, query, result)
            except Exception:
                self.failed("result", name)
            told = told or answer is not None
            answers.append(answer)
        return answers if told else None


def add(answers: list[tuple[str, Any]], name: str, answer: Any) -> None:
    """Put the answer of a plugin with those of others; with wrappers it is what all plugins gave."""
    if name == ALL_AT_ONCE:
        answers += [(name, each) for each in answer]
    else:
        answers.append((name, answer))
