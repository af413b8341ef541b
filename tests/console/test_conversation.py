"""The console as a client sees it, without sockets."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pgbeam_core import PgBeamError, Table, hookimpl
from pgbeam_core.testing import Client, Rehearsal
from pgbeam_core.testing.frames import done
from pgbeam_core.wire import frontend
from pgbeam_pool import Pools

TOP = {"admin_users": ["boss"], "stats_users": ["look"]}


class Greeter:
    """A plugin of somebody's, with a table and a command."""

    def __init__(self) -> None:
        self.said: list[str] = []

    @hookimpl
    def startup(self, beam: object) -> None:
        beam.console.command("SAY HELLO", self._say, "[<whom>]")  # type: ignore[attr-defined]

    @hookimpl
    def console(self) -> dict[str, Table]:
        return {"GREETINGS": Table(("greeting", "times"), [("hello", len(self.said))])}

    def _say(self, words: list[str]) -> str:
        if words == ["nobody"]:
            raise PgBeamError("nobody is there", sqlstate="42704")
        self.said.append(" ".join(words))
        return "HELLO"


@pytest.fixture
def stage() -> Iterator[Rehearsal]:
    """PgBeam with a pool and a plugin of somebody's."""
    with Rehearsal({"pool": Pools(), "greeter": Greeter()}, top=TOP, project={"auth": "trust"}) as rehearsal:
        texts = ("SELECT 1", "SELECT 2", "INSERT INTO t VALUES (1)", "INSERT INTO t VALUES (2)")
        rehearsal.primary.answers.update({text: done(text.split()[0]) for text in texts})
        yield rehearsal


@pytest.fixture
def boss(stage: Rehearsal) -> Client:
    """An operator."""
    return stage.login("boss", "pgbeam")


@pytest.mark.parametrize("database", ["pgbeam", "pgbouncer"])
def test_who_is_let_in(stage: Rehearsal, database: str) -> None:
    """Those of the two lists are, by both names of the console; others are told which lists."""
    assert stage.login("boss", database).refusal is None
    assert stage.login("look", database).refusal is None
    assert stage.login("app", database).refusal == ("42501", 'user "app" may not use the console')


def test_who_only_looks_changes_nothing(stage: Rehearsal) -> None:
    """stats_users see everything and steer nothing."""
    look = stage.login("look", "pgbeam")
    assert look.query("SHOW STATE").rows[0] == ("active", "yes")
    for command in ("PAUSE", "KILL", "SHUTDOWN", "SET log_level = debug", "SAY HELLO", "KILL_CLIENT 1", "RELOAD"):
        assert look.query(command).error == ("42501", "admin access needed"), command


def test_every_table_is_shown_by_both_protocols(stage: Rehearsal, boss: Client) -> None:
    """Whatever SHOW HELP names can be had."""
    stage.login().query("SELECT 1")
    from pgbeam_core.console import tables

    for name in tables.names(stage.beam):
        simple, extended = boss.query(f"SHOW {name}"), boss.execute(f"SHOW {name}")
        assert (simple.error, extended.error) == (None, None), name
        assert simple.tags == extended.tags == ("SHOW",), name


def test_what_drivers_say_is_answered(boss: Client) -> None:
    """Nothing that a driver says by itself breaks its connection, and a failed transaction is one."""
    for sql in ("SET client_encoding TO 'UTF8'", "SET application_name = 'x'", "DISCARD ALL", "SELECT version()", ""):
        assert boss.query(sql).error is None, sql
    assert boss.query("BEGIN").frames[-1][-1:] == b"T"
    assert boss.query("NONSENSE").error == ("08P01", "invalid command 'NONSENSE', use SHOW HELP;")
    assert boss.query("SHOW STATE").error is not None
    assert boss.query("ROLLBACK").frames[-1][-1:] == b"I"
    assert boss.query("SELECT oid FROM pg_catalog.pg_type WHERE typname = 'hstore'").rows == ()


def test_an_error_skips_to_sync(boss: Client) -> None:
    """In the extended protocol what stands behind an error is not done, and the next request is."""
    parse = frontend.Parse(b"", b"NONSENSE").to_bytes() + frontend.Bind(b"", b"").to_bytes()
    reply = boss.send(parse + frontend.Execute(b"").to_bytes() + frontend.Execute(b"").to_bytes() + frontend.SYNC)
    assert reply.error is not None
    assert [frame[:1] for frame in reply.frames] == [b"1", b"2", b"E", b"Z"]
    assert boss.execute("SHOW STATE").error is None


def test_rows_come_in_parts(boss: Client) -> None:
    """A driver that asks for some rows at a time gets them all, none twice."""
    start = frontend.Parse(b"", b"SHOW STATE").to_bytes() + frontend.Bind(b"p", b"").to_bytes()
    boss.query("BEGIN")
    first = boss.send(start + frontend.Execute(b"p", 2).to_bytes() + frontend.SYNC)
    second = boss.send(frontend.Execute(b"p", 2).to_bytes() + frontend.SYNC)
    assert (len(first.rows), len(second.rows)) == (2, 1)
    assert second.tags == ("SHOW",)


def test_a_plugin_adds_tables_and_commands(stage: Rehearsal, boss: Client) -> None:
    """A third party's table and command are there like PgBeam's own."""
    assert boss.query("say hello 'dear world'").tags == ("HELLO",)
    assert boss.query("SHOW GREETINGS").rows == (("hello", "1"),)
    assert boss.query("SAY HELLO nobody").error == ("42704", "nobody is there")
    assert any("SAY HELLO [<whom>]" in str(frame) for frame in boss.query("SHOW HELP").frames)


def test_numbers_are_what_clients_did(stage: Rehearsal, boss: Client) -> None:
    """A transaction of two statements is one transaction and four executions; the console counts for no database."""
    app = stage.login()
    for sql in ("BEGIN", "INSERT INTO t VALUES (1)", "SELECT 1", "COMMIT", "SELECT 2"):
        app.query(sql)
    (row,) = boss.query("SHOW STATS_TOTALS").rows
    assert row[0] == "shop"
    assert (row[2], row[3]) == ("2", "5")


def test_a_paused_database_keeps_clients_waiting(stage: Rehearsal, boss: Client) -> None:
    """PAUSE is answered when the servers are closed; who asks meanwhile gets its answer after RESUME, however late."""
    app = stage.login()
    app.query("SELECT 1")
    assert boss.query("PAUSE").tags == ("PAUSE",)
    assert not stage.primary.connections
    assert app.query("SELECT 2").frames == ()
    ((_, _, _, _, _, _, why),) = boss.query("SHOW WAITING").rows
    assert why == "all databases are paused"
    assert boss.query("PAUSE").error == ("55000", "already suspended/paused")
    stage.advance(120, step=5)
    assert app.collect().frames == ()
    assert boss.query("RESUME").tags == ("RESUME",)
    stage.advance(1)
    assert app.collect().error is None
    assert boss.query("RESUME").error == ("55000", "pooler is not paused/suspended")


def test_pause_waits_for_transactions(stage: Rehearsal, boss: Client) -> None:
    """Who is in a transaction ends it; only then is the database the operator's."""
    app = stage.login()
    app.query("BEGIN")
    app.query("INSERT INTO t VALUES (1)")
    boss.query("PAUSE shop")
    stage.advance(1)
    assert boss.collect().tags == ()
    assert app.query("INSERT INTO t VALUES (2)").error is None
    assert app.query("COMMIT").error is None
    stage.advance(1)
    assert boss.collect().tags == ("PAUSE",)
    assert boss.query("PAUSE nowhere").error == ("3D000", "no such database: nowhere")


def test_a_disabled_database_takes_no_new_clients(stage: Rehearsal, boss: Client) -> None:
    """Those who are there stay."""
    app = stage.login()
    assert boss.query("DISABLE shop").tags == ("DISABLE",)
    assert stage.login().refusal == ("57P03", 'database "shop" is disabled')
    assert app.query("SELECT 1").error is None
    boss.query("ENABLE shop")
    assert stage.login().refusal is None


def test_a_client_is_ended_by_its_id(stage: Rehearsal, boss: Client) -> None:
    """Who sits in a transaction is found with its id, and ended with PostgreSQL's words."""
    app = stage.login()
    app.query("BEGIN")
    app.query("INSERT INTO t VALUES (1)")
    ((number, user, database, *_),) = boss.query("SHOW TRANSACTIONS").rows
    assert (user, database) == ("app", "shop")
    assert boss.query(f"KILL_CLIENT {number}").tags == ("KILL_CLIENT",)
    stage.pump()
    assert app.collect().error == ("57P01", "terminating connection due to administrator command")
    assert app.closed
    assert boss.query("KILL_CLIENT 999999").error is not None


def test_suspended_clients_are_not_read(stage: Rehearsal, boss: Client) -> None:
    """What they send is answered after RESUME; when the operator leaves, they are read on."""
    app = stage.login()
    assert boss.query("SUSPEND").tags == ("SUSPEND",)
    assert app.query("SELECT 1").frames == ()
    boss.query("RESUME")
    stage.advance(1)
    assert app.collect().error is None
    boss.query("SUSPEND")
    assert app.query("SELECT 2").frames == ()
    boss.vanish()
    stage.advance(1)
    assert app.collect().tags != ()


def test_a_plugin_that_gives_no_table_costs_only_itself() -> None:
    """It is counted, and the others' tables are there."""

    class Broken:
        @hookimpl
        def console(self) -> dict[str, object]:
            return {"ODD": Table(("a", "b"), [(1,)])}

    plugins = {"pool": Pools(), "broken": Broken(), "greeter": Greeter()}
    with Rehearsal(plugins, top=TOP, project={"auth": "trust"}) as other:
        boss = other.login("boss", "pgbeam")
        assert boss.query("SHOW GREETINGS").rows == (("hello", "0"),)
        assert boss.query("SHOW ODD").error is not None
        assert other.hooks.raised["console", "broken"] > 0
