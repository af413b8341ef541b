"""A plugin that says what it is told, and what it may say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pgbeam_core import Refusal, hookimpl
from pgbeam_core.api.query import Query
from pgbeam_core.api.results import Result
from pgbeam_core.testing import answer
from pgbeam_core.wire import backend
from tests.session.stage import Stage

REFUSAL = Refusal("53400", "query rate limit exceeded")
ANSWER = answer(["a"], [["1"]])
WHOLE = (ANSWER.description or b"") + ANSWER.rows + ANSWER.complete
COPY_IN = b"G\x00\x00\x00\x07\x00\x00\x00"


class Says:
    """A plugin whose `execute` gives what the function gives; notes every result."""

    def __init__(self, answer: Callable[[Query], Any]) -> None:
        self._answer = answer
        self.results: list[Result] = []
        self.over: list[bool] = []

    @hookimpl
    def execute(self, query: Query) -> Any:
        return self._answer(query)

    @hookimpl
    def result(self, result: Result) -> None:
        self.results.append(result)

    @hookimpl
    def transaction_over(self, committed: bool) -> None:
        self.over.append(committed)


def staged(answer: Callable[[Query], Any] = lambda _: None, **more: Any) -> tuple[Stage, Says]:
    """A stage with such a plugin."""
    plugin = Says(answer)
    return Stage(plugins={"says": plugin}, **more), plugin


def code(frame: bytes) -> str:
    """The SQLSTATE of an ErrorResponse."""
    return backend.error_fields(frame)["C"]
