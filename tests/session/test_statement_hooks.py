"""Plugins that fail at a text, and give what they may not: nobody is cut off, and what must not pass does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from pgbeam_core import Beam, Notice, Query, Refusal, Result, Role, Session, Statement, Target, hookimpl
from pgbeam_core.testing import Client, Rehearsal, done, table
from pgbeam_core.wire import frontend


@dataclass(frozen=True)
class Strict:
    """Settings of a plugin that must not be passed over."""

    on_error: str = "refuse"


class Judge:
    """Fails in the hooks that are named, until it is told otherwise."""

    def __init__(self, failing: str = "", *, strict: bool = True) -> None:
        self.failing = failing
        self.strict = strict
        self.heard: list[tuple[str, bytes]] = []
        self.results: list[Result] = []

    def _hears(self, hook: str, statement: Statement) -> None:
        self.heard.append((hook, statement.text))
        if self.failing == hook:
            raise RuntimeError("broken")
        statement.notes[f"judge.{hook}"] = True

    @hookimpl
    def settings_spec(self) -> type | None:
        """See Strict."""
        return Strict if self.strict else None

    @hookimpl
    def startup(self, beam: Beam) -> None:
        """See whether anything came before."""
        assert self.heard == []

    @hookimpl
    def template(self, statement: Statement) -> None:
        """Of each kind of text."""
        self._hears("template", statement)

    @hookimpl
    def parse(self, statement: Statement) -> None:
        """Of each text."""
        self._hears("parse", statement)

    @hookimpl
    def execute(self, query: Query) -> None:
        """Needs what was noted."""
        assert query.statement.notes["judge.template"]
        assert query.statement.notes["judge.parse"]

    @hookimpl
    def result(self, result: Result) -> None:
        """Once for each execution."""
        self.results.append(result)


def rehearsed(plugin: object, **more: Any) -> tuple[Rehearsal, Client]:
    """A PgBeam with that plugin, and a client."""
    rehearsal = Rehearsal({"judge": plugin}, **more)
    for number in range(1, 4):
        rehearsal.primary.answers[f"SELECT {number}"] = table(["a"], [[str(number)]])
        rehearsal.primary.answers[f"DELETE FROM t WHERE id = {number}"] = done("DELETE 1")
    return rehearsal, rehearsal.login("app")


ASKS: dict[str, Callable[[Client, str], Any]] = {
    "simple": lambda client, sql: client.query(sql),
    "extended": lambda client, sql: client.execute(sql),
}


@pytest.mark.parametrize("ask", ASKS.values(), ids=ASKS)
@pytest.mark.parametrize("hook", ["template", "parse"])
@pytest.mark.parametrize("sql", ["SELECT 1", "DELETE FROM t WHERE id = 1"])
def test_a_text_that_cannot_be_judged_is_refused_each_time(sql: str, hook: str, ask: Any) -> None:
    """The client is told XX000 and stays; the same text does not pass the next time, and no server sees it."""
    judge = Judge(hook)
    rehearsal, client = rehearsed(judge)
    with rehearsal:
        for times in range(1, 4):
            reply = ask(client, sql)
            assert reply.error == ("XX000", 'plugin "judge" failed')
            assert reply.frames[-1][:1] == b"Z"
            assert len(judge.results) == times
        assert rehearsal.primary.asked == []
        assert judge.heard.count((hook, sql.encode())) == 3
        judge.failing = ""
        assert ask(client, sql).error is None
        assert len(judge.results) == 4
        assert rehearsal.hooks.raised == {(hook, "judge"): 3}


def test_a_kind_of_texts_lends_nothing_that_was_not_noted() -> None:
    """Texts that differ in literals only are judged one by one until one of them could be."""
    judge = Judge("template")
    rehearsal, client = rehearsed(judge)
    with rehearsal:
        for number in (1, 2, 3):
            assert client.query(f"SELECT {number}").error == ("XX000", 'plugin "judge" failed')
        judge.failing = ""
        for number in (1, 2, 3):
            assert client.query(f"SELECT {number}").rows == ((str(number),),)


def test_a_pipeline_with_such_a_text_is_refused_as_a_whole() -> None:
    """None of its executions runs, each has its result, and the session goes on."""
    judge = Judge("parse")
    rehearsal, client = rehearsed(judge)
    with rehearsal:

        def one(sql: bytes) -> bytes:
            messages = (frontend.Parse(b"", sql), frontend.Bind(b"", b""), frontend.Execute(b"", 0))
            return b"".join(message.to_bytes() for message in messages)

        reply = client.send(one(b"SELECT 1") + one(b"SELECT 2") + frontend.SYNC)
        assert reply.error == ("XX000", 'plugin "judge" failed')
        assert [result.error for result in judge.results] == [("XX000", 'plugin "judge" failed')] * 2
        assert rehearsal.primary.asked == []
        judge.failing = ""
        assert client.query("SELECT 1").rows == (("1",),)


def test_in_a_transaction_it_fails_the_transaction() -> None:
    """As an error of the server would."""
    judge = Judge()
    rehearsal, client = rehearsed(judge)
    with rehearsal:
        client.query("BEGIN")
        judge.failing = "parse"
        reply = client.query("SELECT 1")
        assert reply.error == ("XX000", 'plugin "judge" failed')
        assert reply.frames[-1] == b"Z\x00\x00\x00\x05E"
        judge.failing = ""
        assert client.query("ROLLBACK").tags == ("ROLLBACK",)


def test_a_plugin_that_may_be_passed_over_is_asked_once() -> None:
    """It has no opinion of that text, and is not asked again for as long as it is remembered."""
    judge = Judge("parse", strict=False)
    rehearsal, client = rehearsed(judge)
    with rehearsal:
        assert client.query("SELECT 1").rows == client.query("SELECT 1").rows == (("1",),)
        assert judge.heard.count(("parse", b"SELECT 1")) == 1


def test_a_function_call_is_seen_as_any_statement() -> None:
    """`template` and `parse` have been fired for what stands for it, and not before `startup`."""
    judge = Judge()
    rehearsal, client = rehearsed(judge)
    with rehearsal:
        assert judge.heard == []
        client.send(b"F" + (14).to_bytes(4) + (1598).to_bytes(4) + b"\0\0\0\0\0\0")
        assert judge.heard == [("template", b""), ("parse", b"")]
        assert rehearsal.hooks.raised == {}


class Says:
    """Gives in each hook what it is told to."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers

    @hookimpl
    def route(self, session: Session, query: Query) -> Any:
        """See Says."""
        return self.answers.get("route")

    @hookimpl
    def execute(self, session: Session, query: Query, target: Target) -> Any:
        """See Says."""
        return self.answers.get("execute")

    @hookimpl
    def result(self, query: Query) -> Any:
        """See Says."""
        return self.answers.get("result")

    @hookimpl
    def variable(self, name: str) -> Any:
        """See Says."""
        return self.answers.get("variable")

    @hookimpl
    def connect(self) -> Any:
        """See Says."""
        return self.answers.get("connect")


ELSEWHERE = Target("other", Role.PRIMARY, "primary", 5432)


@pytest.mark.parametrize(
    ("hook", "answer"),
    [
        ("route", "primary:5432"),
        ("route", ELSEWHERE),
        ("execute", "no"),
        ("execute", True),
        ("result", "a notice"),
        ("result", [Notice("said"), "a notice"]),
    ],
)
def test_what_a_hook_may_not_give_costs_only_the_plugin(hook: str, answer: Any) -> None:
    """It is named and counted, and has no opinion; the client gets its reply."""
    rehearsal, client = rehearsed(Says(**{hook: answer}))
    with rehearsal:
        reply = client.query("SELECT 1")
        assert reply.rows == (("1",),)
        assert reply.notices == (("said",) if isinstance(answer, list) else ())
        assert rehearsal.hooks.raised == {(hook, "judge"): 1}


def test_a_value_of_a_variable_is_a_str() -> None:
    """What a plugin gives else is no value: the variable is unknown, and the session goes on."""
    rehearsal, client = rehearsed(Says(variable=5))
    with rehearsal:
        assert client.query("SET pgbeam.colour = 'blue'").error == (
            "42704",
            'unrecognized configuration parameter "pgbeam.colour"',
        )
        assert rehearsal.hooks.raised == {("variable", "judge"): 1}
        assert client.query("SELECT 1").rows == (("1",),)


class Gate:
    """A plugin behind."""

    def __init__(self) -> None:
        self.asked = 0

    @hookimpl
    def connect(self) -> Refusal:
        """Lets nobody in."""
        self.asked += 1
        return Refusal("08004", "no")


def test_a_late_none_at_the_door_asks_those_behind() -> None:
    """Whoever takes time to have no opinion opens the door for nobody whom another plugin refuses."""
    waits: Deferred[Any] = Deferred()
    gate = Gate()
    with Rehearsal({"slow": Says(connect=waits), "gate": gate}) as rehearsal:
        client = rehearsal.login("app")
        assert gate.asked == 0
        waits.callback(None)
        rehearsal.pump()
        assert client.collect().error == ("08004", "no")
        assert gate.asked == 1


@pytest.mark.parametrize("answer", [True, "come in"])
def test_what_is_no_refusal_lets_nobody_in(answer: Any) -> None:
    """A plugin that gives what it may not has failed, and whoever cannot be judged is not let in."""
    with Rehearsal({"door": Says(connect=answer)}) as rehearsal:
        assert rehearsal.login("app").refusal == ("XX000", 'plugin "door" failed')
        assert rehearsal.hooks.raised == {("connect", "door"): 1}
