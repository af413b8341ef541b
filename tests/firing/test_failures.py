"""What authors of plugins are told when their plugin fails."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pluggy
import pytest
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from pgbeam_core import Statement, hookimpl
from pgbeam_core.api import hookspecs
from pgbeam_core.firing import Hooks, PluginRaised
from pgbeam_core.testing import Rehearsal, table


class Stranger:
    """Thinks that SQL is a str."""

    @hookimpl
    def parse(self, statement: Statement) -> None:
        """See Stranger."""
        assert "x" not in statement.text  # type: ignore[operator]


class Raises:
    """In `execute`, whatever it is asked."""

    @hookimpl
    def execute(self) -> None:
        """See Raises."""
        raise RuntimeError("broken")


class Wraps:
    """Looks on, as pluggy's wrappers do."""

    @hookimpl(wrapper=True)
    def execute(self) -> Generator[None, Any, Any]:
        """See Wraps."""
        return (yield)


@pytest.fixture
def told() -> Any:
    """The texts of all events that are logged meanwhile."""
    texts: list[str] = []

    def observe(event: LogEvent) -> None:
        texts.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)
    yield texts
    globalLogPublisher.removeObserver(observe)


def hooks(refusing: tuple[str, ...] = (), **plugins: object) -> Hooks:
    """Of those plugins, first to be asked first."""
    manager = pluggy.PluginManager("pgbeam")
    manager.add_hookspecs(hookspecs)
    for name, plugin in reversed(list(plugins.items())):
        manager.register(plugin, name=name)
    return Hooks(manager, refusing)


def test_the_first_failure_names_plugin_hook_and_line(told: list[str]) -> None:
    """The author of a first plugin reads on the terminal what is wrong, and what to write instead."""
    with Rehearsal({"stranger": Stranger()}) as rehearsal:
        rehearsal.primary.answers["SELECT 1"] = table(["a"], [["1"]])
        assert rehearsal.login("app").query("SELECT 1").rows == (("1",),)
    (text,) = [text for text in told if "stranger" in text]
    line = Stranger.parse.__code__.co_firstlineno + 3
    assert text.startswith(f'plugin "stranger" raised in parse, at {__file__}:{line}: TypeError: ')
    assert "statement.sql is the same as a str" in text


def test_failures_that_go_on_are_told_by_their_number(told: list[str]) -> None:
    """A plugin that fails at each query does not fill the disk, and is not forgotten either."""
    found = hooks(bad=Raises())
    for _ in range(150):
        found.execute(1, 2, 3)
    mine = [text for text in told if '"bad"' in text]
    assert len(mine) == 3
    assert [text.partition("py:")[2].partition(", ")[2] for text in mine[1:]] == ["10 times by now", "100 times by now"]
    assert found.raised["execute", "bad"] == 150


def test_behind_a_wrapper_it_is_still_known_who_failed() -> None:
    """A plugin that must not be passed over is not, because another one wraps the hook."""
    with pytest.raises(PluginRaised) as raised:
        hooks(("limits",), looker=Wraps(), limits=Raises()).execute(1, 2, 3)
    assert raised.value.plugin == "limits"
    passed = hooks(("limits",), looker=Wraps(), other=Raises(), limits=Stranger())
    assert passed.execute(1, 2, 3) is None
    assert passed.raised == {("execute", "other"): 1}


def test_what_a_hook_may_not_give_is_a_failure(told: list[str]) -> None:
    """Named with what it should have been, at the place where the hook begins."""
    found = hooks(bad=Raises())
    found.unfit("execute", "bad", True, "an Answer")
    (text,) = [text for text in told if '"bad"' in text]
    assert f"{__file__}:{Raises.execute.__code__.co_firstlineno}: TypeError: execute gives an Answer, not bool" in text
