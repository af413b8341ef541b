"""Plugins see a batch at once where they have a form for that, and its executions one by one where they have none."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import pytest

from pgbeam_core import hookimpl
from pgbeam_core.firing import PluginRaised
from tests.core.plugins import Speaker
from tests.firing.test_hooks import Plain, hooks

QUERIES: list[Any] = ["one", "two", "three"]
RESULTS: list[Any] = [1, 2, 3]


class Batches(Plain):
    """Has a form of both hooks for many."""

    @hookimpl
    def execute_batch(self, session: Any, queries: Any, target: Any) -> Any:
        return self.called(session, queries, target)

    @hookimpl
    def result_batch(self, queries: Any, results: Any) -> Any:
        return self.called(queries, results)


class Wrapped(Speaker):
    """Stands around what others are asked."""

    @hookimpl(wrapper=True)
    def execute(self, query: Any) -> Generator[None, Any, Any]:
        self.called(query)
        return (yield)

    @hookimpl(wrapper=True)
    def result(self, query: Any) -> Generator[None, Any, Any]:
        self.called(query)
        return (yield)


def any_answer(_plugin: str, _answer: object) -> bool:
    """It counts."""
    return True


def test_a_plugin_without_a_form_for_many_is_asked_about_each() -> None:
    """What strangers have written goes on as it did."""
    plain, batches = Plain("plain"), Batches("batches")
    found = hooks({"plain": plain, "batches": batches})
    assert found.execute_batch("session", QUERIES, "target", any_answer) is None
    assert plain.calls == [("session", query, "target") for query in QUERIES]
    assert batches.calls == [("session", QUERIES, "target")]


def test_one_execution_is_no_batch() -> None:
    """`execute` is called for what is alone, in a request or in what is left of one."""
    batches = Batches("batches")
    hooks({"batches": batches}).execute_batch("session", QUERIES[:1], "target", any_answer)
    assert batches.calls == [("session", "one", "target")]


@pytest.mark.parametrize("kind", [Plain, Batches])
def test_the_first_answer_that_counts_ends_it(kind: Callable[..., Speaker]) -> None:
    """What is no answer in a batch is passed over, and the next one is asked."""
    last = Plain("last", "never heard")
    found = hooks({"vain": Plain("vain", "vain"), "first": kind("first", "refused"), "last": last})
    assert found.execute_batch(1, QUERIES, 3, lambda _, answer: answer != "vain") == ("first", "refused")
    assert last.calls == []


def test_one_that_raises_is_passed_over_or_stops_the_request() -> None:
    """As its settings say, and under the name of the hook that failed."""
    good = Plain("good")
    found = hooks({"bad": Batches("bad", ValueError("x")), "good": good})
    assert found.execute_batch(1, QUERIES, 3, any_answer) is None
    assert len(good.calls) == 3
    assert found.raised == {("execute_batch", "bad"): 1}
    with pytest.raises(PluginRaised):
        hooks({"bad": Batches("bad", ValueError("x"))}, ("bad",)).execute_batch(1, QUERIES, 3, any_answer)


def test_what_is_said_of_each_keeps_the_order_of_the_plugins() -> None:
    """Notices of a batch reach the client as they would one by one."""
    found = hooks({"a": Plain("a", "A"), "b": Batches("b", ["x", None, "y"]), "c": Batches("c")})
    assert found.result_batch(1, QUERIES, RESULTS) == [
        [("a", "A"), ("b", "x")],
        [("a", "A")],
        [("a", "A"), ("b", "y")],
    ]


def test_nothing_is_said_of_a_batch_without_answers() -> None:
    """Most have none."""
    assert hooks({"a": Plain("a"), "b": Batches("b")}).result_batch(1, QUERIES, RESULTS) is None


@pytest.mark.parametrize("answer", [["too", "few"], "yes", ValueError("x")])
def test_what_fits_no_batch_costs_its_plugin_only(answer: Any) -> None:
    """It is counted; what the others say is heard."""
    found = hooks({"bad": Batches("bad", answer), "good": Plain("good", "G")})
    assert found.result_batch(1, QUERIES, RESULTS) == [[("good", "G")]] * 3
    assert found.raised == {("result_batch", "bad"): 1}


def test_a_plugin_that_fails_at_one_execution_hears_of_the_next() -> None:
    """One by one means that each stands for itself."""
    bad = Plain("bad", ValueError("x"))
    found = hooks({"bad": bad})
    assert found.result_batch(1, QUERIES, RESULTS) is None
    assert len(bad.calls) == 3


def test_who_wraps_a_hook_sees_each_execution() -> None:
    """A wrapper stands around `execute` and `result`, so these are what is called."""
    wrapped, batches = Wrapped("wrapped"), Batches("batches")
    found = hooks({"wrapped": wrapped, "batches": batches})
    found.execute_batch(1, QUERIES, 3, any_answer)
    assert wrapped.calls == [("one",), ("two",), ("three",)]
    assert batches.calls == [(1, query, 3) for query in QUERIES]
    assert not any(found.result_batch(1, QUERIES, RESULTS) or ())
    assert len(wrapped.calls) == 6
