"""examples/hooks has one small plugin for each hook, and each does what it says."""

from __future__ import annotations

import importlib.util
import re
from argparse import ArgumentParser
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from pgbeam_core.api import hookspecs
from pgbeam_core.testing import FakePostgres, Rehearsal, bound_query, done, table

SYNC_BYTES = 5
ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples" / "hooks"
SERVER = {
    "SELECT 1": table(["a"], [["1"]]),
    "SELECT * FROM accounts": table(["id"], [["1"]]),
    "SELECT * FROM accounts /* shop.index */": table(["id"], [["1"]]),
    "INSERT INTO t VALUES (1)": done("INSERT 0 1"),
    "BEGIN": done("BEGIN"),
    "COMMIT": done("COMMIT"),
    "ROLLBACK": done("ROLLBACK"),
}


def example(name: str) -> ModuleType:
    """The example as a fresh module."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rehearsed(name: str, **options: Any) -> tuple[ModuleType, Rehearsal]:
    """A PgBeam with that example, in front of a server that knows a few statements."""
    module = example(name)
    return module, Rehearsal({"example": module}, servers={"primary:5432": FakePostgres(dict(SERVER))}, **options)


def hooks() -> list[str]:
    """All there are."""
    return re.findall(r"^@hookspec.*\ndef (\w+)", Path(hookspecs.__file__).read_text("utf-8"), re.MULTILINE)


def test_each_hook_has_an_example_and_the_page_leads_to_it() -> None:
    """Whoever reads about a hook finds a plugin of twenty lines that implements it."""
    page = (ROOT / "docs" / "hooks.md").read_text("utf-8")
    assert sorted(path.stem for path in FOLDER.glob("*.py")) == sorted(hooks())
    for hook in hooks():
        assert f"[example](../examples/hooks/{hook}.py)" in page.partition(f"### `{hook}(")[2].partition("\n### ")[0]
        assert f"def {hook}(" in (FOLDER / f"{hook}.py").read_text("utf-8")


def test_settings_spec() -> None:
    """The setting has its default, and can be set."""
    module, rehearsal = rehearsed("settings_spec", settings={"example": {"greeting": "good evening"}})
    with rehearsal:
        assert rehearsal.beam.settings_of(module.ExampleSettings).greeting == "good evening"


def test_startup() -> None:
    """Something happens each minute."""
    module, rehearsal = rehearsed("startup")
    with rehearsal:
        rehearsal.advance(181)
        assert len(module.minutes) == 3


def test_shutdown() -> None:
    """The journal has a beginning and an end."""
    module, rehearsal = rehearsed("shutdown")
    rehearsal.close()
    assert module.journal.getvalue() == "started with 1 project(s)\nstopped\n"


def test_reload() -> None:
    """New settings are heard of."""
    module, rehearsal = rehearsed("reload")
    with rehearsal:
        rehearsal.reload()
        assert module.known == [{"shop"}]


def test_pool() -> None:
    """Each query has a server of its own."""
    _, rehearsal = rehearsed("pool")
    with rehearsal:
        client = rehearsal.login("app")
        assert client.query("SELECT 1").rows == client.query("SELECT 1").rows == (("1",),)
        rehearsal.pump()
        assert len(rehearsal.primary.connections) == 0


@pytest.mark.parametrize(("peer", "refusal"), [("192.0.2.7", None), ("198.51.100.7", "28000")])
def test_connect(peer: str, refusal: str | None) -> None:
    """One network is let in."""
    _, rehearsal = rehearsed("connect")
    with rehearsal:
        found = rehearsal.login("app", peer=peer).refusal
        assert (found[0] if found else None) == refusal


def test_authenticated() -> None:
    """Logins are counted by role."""
    module, rehearsal = rehearsed("authenticated")
    with rehearsal:
        for user in ("app", "app", "other"):
            rehearsal.login(user)
        assert module.logins == {"app": 2, "other": 1}


def test_template() -> None:
    """What is noted holds for a text, literals aside."""
    module, rehearsal = rehearsed("template")
    with rehearsal:
        client = rehearsal.login("app")
        client.query("SELECT * FROM accounts")
        client.query("SELECT 1")
        assert [module.MONEY.of(query.statement) for query, _ in rehearsal.results] == [True, False]


def test_parse() -> None:
    """The comment is found, in a text that is a str."""
    module, rehearsal = rehearsed("parse")
    with rehearsal:
        client = rehearsal.login("app")
        client.query("SELECT * FROM accounts /* shop.index */")
        client.query("SELECT 1")
        assert [module.ORIGIN.of(query.statement) for query, _ in rehearsal.results] == ["shop.index", None]


def test_route() -> None:
    """What is annotated goes to the replica."""
    replica = FakePostgres(dict(SERVER))
    options: Any = {
        "project": {"replicas": ["postgresql://replica:5432?sslmode=disable"]},
        "servers": {"primary:5432": FakePostgres(dict(SERVER)), "replica:5432": replica},
    }
    with Rehearsal({"example": example("route")}, **options) as rehearsal:
        client = rehearsal.login("app")
        client.query("/* @pgbeam:replica */ SELECT 1")
        client.query("SELECT 1")
        assert [sql.strip() for sql in replica.asked] == ["SELECT 1"]
        assert rehearsal.primary.asked == ["SELECT 1"]


def test_execute() -> None:
    """TRUNCATE reaches no server."""
    _, rehearsal = rehearsed("execute")
    with rehearsal:
        client = rehearsal.login("app")
        assert client.query(" truncate t").error == ("42501", "TRUNCATE is not for this server")
        assert client.query("SELECT 1").error is None


def pipeline(*texts: str) -> bytes:
    """One request that executes all of them."""
    return b"".join(bound_query(text)[:-SYNC_BYTES] for text in texts) + bound_query(texts[0])[-SYNC_BYTES:]


def test_execute_batch() -> None:
    """Nor as one of many."""
    _, rehearsal = rehearsed("execute_batch")
    with rehearsal:
        client = rehearsal.login("app")
        assert client.send(pipeline("SELECT 1", "TRUNCATE t", "SELECT 1")).error is not None
        assert client.query("TRUNCATE t").error is not None
        assert client.send(pipeline("SELECT 1", "SELECT 1")).error is None


def test_result_batch() -> None:
    """What a batch writes is counted like what is written alone."""
    _, rehearsal = rehearsed("result_batch")
    with rehearsal:
        client = rehearsal.login("app")
        client.send(pipeline(*["INSERT INTO t VALUES (1)"] * 5))
        client.query("INSERT INTO t VALUES (1)")
        assert rehearsal.stats()["example"] == {"INSERT": 6}


def test_result(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is slow is told."""
    module, rehearsal = rehearsed("result")
    with rehearsal:
        client = rehearsal.login("app")
        assert client.query("SELECT 1").notices == ()
        monkeypatch.setattr(module, "SLOW_S", 0.0)
        assert client.query("SELECT 1").notices == ("this SELECT took 0.0 s",)


def test_transaction_over() -> None:
    """What was rolled back has not changed anything."""
    module, rehearsal = rehearsed("transaction_over")
    with rehearsal:
        client = rehearsal.login("app")
        for end, changed in (("ROLLBACK", set()), ("COMMIT", {"t"})):
            for sql in ("BEGIN", "INSERT INTO t VALUES (1)", end):
                assert client.query(sql).error is None
            assert module.changed == changed


def test_variable() -> None:
    """Three colours, and no other."""
    _, rehearsal = rehearsed("variable")
    with rehearsal:
        client = rehearsal.login("app")
        assert client.query("SHOW pgbeam.colour").rows == (("red",),)
        assert client.query("SET pgbeam.colour = 'green'").error is None
        assert client.query("SHOW pgbeam.colour").rows == (("green",),)
        error = client.query("SET pgbeam.colour = 'grey'").error
        assert error is not None
        assert error[0] == "22023"


def test_disconnect() -> None:
    """Why clients go is counted."""
    module, rehearsal = rehearsed("disconnect")
    with rehearsal:
        rehearsal.login("app").leave()
        assert list(module.reasons.values()) == [1]


def test_metrics() -> None:
    """Reads are counted for Prometheus, by project."""
    module, rehearsal = rehearsed("metrics")
    with rehearsal:
        rehearsal.login("app").query("SELECT 1")
        (metric,) = module.metrics()
    assert metric.name == "reads"
    assert list(metric.samples) == [({"project": "shop"}, 1)]


def test_explain() -> None:
    """What the plugin says is a row of the explanation."""
    _, rehearsal = rehearsed("explain")
    with rehearsal:
        rows = rehearsal.login("app").query("/* @pgbeam:explain */ SELECT 1").rows
        assert ("length", "short", "8 bytes", "example") in rows


def test_stats() -> None:
    """Reads are counted by project."""
    _, rehearsal = rehearsed("stats")
    with rehearsal:
        rehearsal.login("app").query("SELECT 1")
        assert rehearsal.stats()["example"] == {"shop": {"reads": 1}}


def test_panel() -> None:
    """rich can print it."""
    _, rehearsal = rehearsed("panel")
    with rehearsal:
        rehearsal.login("app")
        assert [str(shown) for _, shown in rehearsal.hooks.panel()] == ["1 logins so far"]


def test_commands(capsys: pytest.CaptureFixture[str]) -> None:
    """The command lists the projects."""
    (command,) = example("commands").commands()
    parser = ArgumentParser()
    command.configure(parser)
    args = parser.parse_args(["--addresses"])
    project = SimpleNamespace(name="shop", primary=SimpleNamespace(address="db:5432"))
    args.settings = SimpleNamespace(projects={"shop": project})
    assert command.run(args) == 0
    assert capsys.readouterr().out == "shop db:5432\n"


def test_console() -> None:
    """The table has a row for each greeting."""
    _, rehearsal = rehearsed("console")
    with rehearsal:
        ((name, tables),) = rehearsal.hooks.console()
        assert name == "example"
        assert [len(row) for row in tables["GREETINGS"].rows] == [len(tables["GREETINGS"].columns)] * 2
