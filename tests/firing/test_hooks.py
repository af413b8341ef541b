"""In which order plugins are asked, and what happens when one fails."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any

import pluggy
import pytest

from pgbeam_core import hookimpl
from pgbeam_core.api import hookspecs
from pgbeam_core.firing import Hooks, PluginRaised
from tests.core.plugins import Speaker


def hooks(plugins: Mapping[str, object], refusing: tuple[str, ...] = ()) -> Hooks:
    """As `--plugins` with those names in that order."""
    manager = pluggy.PluginManager("pgbeam")
    manager.add_hookspecs(hookspecs)
    for name, plugin in reversed(list(plugins.items())):
        manager.register(plugin, name=name)
    return Hooks(manager, refusing)


class Plain(Speaker):
    """Takes everything."""

    @hookimpl
    def execute(self, session: Any, query: Any, target: Any) -> Any:
        return self.called(session, query, target)

    @hookimpl
    def result(self, session: Any, query: Any, result: Any) -> Any:
        return self.called(session, query, result)


class First(Speaker):
    """Wants to be asked before all others."""

    @hookimpl(tryfirst=True)
    def execute(self) -> Any:
        return self.called()


class Last(Speaker):
    """Wants to be asked after all others."""

    @hookimpl(trylast=True)
    def execute(self) -> Any:
        return self.called()


class Some(Speaker):
    """Takes some arguments in an order of its own."""

    @hookimpl
    def execute(self, target: Any, session: Any) -> Any:
        return self.called(target, session)


class One(Speaker):
    """Takes one argument."""

    @hookimpl
    def execute(self, query: Any) -> Any:
        return self.called(query)


class Wrapper:
    """Adds itself to what comes out."""

    @hookimpl(wrapper=True)
    def execute(self, query: Any) -> Generator[None, Any, Any]:
        answer = yield
        return f"wrapped {answer}" if answer else None

    @hookimpl(wrapper=True)
    def result(self) -> Generator[None, Any, Any]:
        answers = yield
        return [*answers, "and the wrapper"]


def test_the_first_named_is_asked_first() -> None:
    """`--plugins a,b,c`: a's answer wins."""
    found = hooks({"a": Plain("a", "A"), "b": Plain("b", "B")})
    assert found.execute(1, 2, 3) == ("a", "A")


def test_none_is_no_opinion() -> None:
    """The next one is asked; nobody is no answer."""
    assert hooks({"a": Plain("a"), "b": Plain("b", "B")}).execute(1, 2, 3) == ("b", "B")
    assert hooks({"a": Plain("a")}).execute(1, 2, 3) is None


def test_tryfirst_and_trylast_are_kept() -> None:
    """Whatever stands in `--plugins`."""
    order = [Last("last"), Plain("plain"), First("first")]
    found = hooks({one.name: one for one in order})
    assert [name for name, _ in found.execute.implementations] == ["first", "plain", "last"]


def test_a_plugin_takes_the_arguments_it_names() -> None:
    """Any subset in any order."""
    speakers = [Plain("all"), Some("some"), One("one"), First("none")]
    found = hooks({speaker.name: speaker for speaker in speakers})
    found.execute("session", "query", "target")
    assert [speaker.calls for speaker in speakers] == [
        [("session", "query", "target")],
        [("target", "session")],
        [("query",)],
        [()],
    ]


def test_a_hook_that_every_plugin_gets() -> None:
    """`result` is heard by all, in order, though the first has something to say."""
    found = hooks({"a": Plain("a", "A"), "b": Plain("b"), "c": Plain("c", "C")})
    assert found.result(1, 2, 3) == [("a", "A"), ("c", "C")]


def test_a_plugin_that_raises_is_counted_and_passed_over() -> None:
    """It costs only itself, and is named."""
    found = hooks({"bad": Plain("bad", ValueError("x")), "good": Plain("good", "G")})
    assert found.execute(1, 2, 3) == ("good", "G")
    assert found.result(1, 2, 3) == [("good", "G")]
    assert found.raised == {("execute", "bad"): 1, ("result", "bad"): 1}


@pytest.mark.parametrize(("hook", "refuses"), [("execute", True), ("result", False)])
def test_one_that_must_not_be_passed_over_refuses(hook: str, *, refuses: bool) -> None:
    """on_error = "refuse" stops the query where it can still be stopped."""
    found = hooks({"limits": Plain("limits", ValueError("x")), "good": Plain("good", "G")}, ("limits",))
    call = getattr(found, hook)
    if refuses:
        with pytest.raises(PluginRaised) as raised:
            call(1, 2, 3)
        assert raised.value.plugin == "limits"
    else:
        assert call(1, 2, 3) == [("good", "G")]


def test_those_behind_a_late_none_are_asked() -> None:
    """And nobody twice."""
    speakers = [Plain("a"), Plain("b"), Plain("c", "C")]
    found = hooks({speaker.name: speaker for speaker in speakers})
    assert found.execute.after("b", 1, 2, 3) == ("c", "C")
    assert [len(speaker.calls) for speaker in speakers] == [0, 0, 1]
    assert found.execute.after("c", 1, 2, 3) is None


def test_a_hook_that_nobody_implements_is_false() -> None:
    """The hot path skips it."""
    assert not hooks({}).execute
    assert hooks({"a": Plain("a")}).execute


def test_wrappers_are_pluggys_own() -> None:
    """A hook with a wrapper is called by pluggy: the wrapper sees what the others say."""
    found = hooks({"a": Plain("a", "A"), "wrapper": Wrapper()})
    assert found.execute(1, 2, 3) == ("pluggy", "wrapped A")
    assert found.result(1, 2, 3) == [("pluggy", "A"), ("pluggy", "and the wrapper")]


def test_no_opinion_through_a_wrapper() -> None:
    """Stays none."""
    assert hooks({"a": Plain("a"), "wrapper": Wrapper()}).execute(1, 2, 3) is None
