"""What is left behind on a server is known before anybody else gets it, whatever became of the statement."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pgbeam_core.api.statement import Kind
from pgbeam_core.catalog.catalog import Catalog
from pgbeam_core.session.remains import TABLE
from pgbeam_core.wire import backend, frontend
from tests.session.stage import (
    IN_TRANSACTION,
    ONE,
    READY,
    SYNC,
    TWO,
    Stage,
    bind,
    done,
    error,
    execute,
    messages,
    parse,
    pbe,
    query,
    tags,
)

ASKS = b"SET TRANSACTION ISOLATION LEVEL READ COMMITTED"
CODE = [
    "SELECT mine()",
    "DO 'x'",
    "CALL mine()",
    "EXECUTE mine",
    "EXPLAIN SELECT 1",
    "CREATE INDEX ON t (a)",
    "VACUUM t",
    "no SQL at all",
    "SELECT pg_try_advisory_lock(1)",
    "SELECT pg_create_physical_replication_slot('x', false, true)",
    "SELECT query_to_xml('SELECT 1', true, true, '')",
    "SELECT pg_input_is_valid('1', 'own.type')",
    "SELECT * FROM own.view WHERE a OPERATOR(own.+) 1",
]
PLAIN_ONES = [
    "SELECT a FROM t",
    "INSERT INTO t VALUES (1)",
    "UPDATE t SET a = 1",
    "DELETE FROM t",
    "SELECT now()",
    "SHOW ALL",
    "SELECT pg_advisory_xact_lock(1)",
]


def asked(stage: Stage) -> bool:
    """Whether PgBeam has asked the first server what was left on it, since this was looked at last."""
    return ASKS in stage.sent()


def row(*values: str) -> bytes:
    """A row of the server's answer."""
    return backend.data_row([value.encode() for value in values])


def test_every_kind_of_statement_is_in_the_table_once() -> None:
    """No kind is forgotten: what is not in the table cannot be sent."""
    kinds = [kind for line in TABLE for kind in line.kinds]
    assert sorted(kinds) == sorted(set(Kind) - {Kind.MULTI})


@pytest.mark.parametrize("sql", CODE)
@pytest.mark.parametrize("end", [done("SELECT 1"), error("22012", "division by zero"), error("57014", "canceled")])
def test_what_may_run_code_of_users_is_asked_about_whatever_became_of_it(sql: str, end: bytes) -> None:
    """Success, error or cancel: nobody else gets the server before it has told what is left there."""
    stage = Stage()
    stage.send(query(sql))
    assert stage.servers[0].in_doubt
    stage.sent()
    stage.say(end + READY)
    assert asked(stage)
    assert stage.pools.idle == []
    stage.inspect()
    assert stage.pools.idle == stage.servers


@pytest.mark.parametrize("sql", PLAIN_ONES)
def test_plain_reads_and_writes_cost_no_question(sql: str) -> None:
    """Where no code of users runs, nothing is asked, after an error neither."""
    for end in (done("SELECT 1"), error("22012", "division by zero")):
        stage = Stage()
        stage.turn(query(sql), end + READY)
        assert not asked(stage)
        assert stage.pools.idle == stage.servers


def test_without_a_catalog_every_relation_may_run_code() -> None:
    """A trigger that nobody has told PgBeam of is suspected until the catalog is known."""
    stage = Stage()
    stage.known = None
    stage.turn(query("INSERT INTO t VALUES (1)"), done("INSERT 0 1") + READY)
    assert asked(stage)


CHECKED = (("type", "word", ""), ("type", "worded", "worded"))
"""Rows of a catalog with a domain whose check calls a function, and a table that has a column of it."""


def in_doubt(data: bytes) -> bool:
    """Whether the server is to be asked after this, where there is such a domain."""
    stage = Stage()
    stage.known = Catalog(CHECKED)
    stage.send(data + SYNC)
    return stage.servers[0].in_doubt


def test_a_read_where_constants_become_values_of_a_checked_type_is_asked_about() -> None:
    """The text names no such type: a constant becomes one because of the column that it meets."""
    assert in_doubt(pbe("SELECT coalesce(a, 'x') FROM worded"))
    assert not in_doubt(pbe("SELECT coalesce(a, 'x') FROM t"))


def test_parse_alone_is_asked_about_where_reading_a_text_runs_code() -> None:
    """PostgreSQL makes values of constants as soon as it reads them."""
    assert in_doubt(parse("SELECT '{x}'::word[]", b"s"))
    assert not in_doubt(parse("SELECT '{x}'::text[]", b"s"))


def test_a_parameter_of_a_type_of_users_is_asked_about() -> None:
    """A client names the type by its number: binding a value to it may run the check of a domain."""
    for oid, expected in ((16400, True), (2**31, True), (25, False)):
        typed = frontend.Parse(b"", b"SELECT $1", (oid,)).to_bytes() + bind(b"", b"x") + execute()
        assert in_doubt(typed) is expected


@pytest.mark.parametrize("sql", ["PREPARE q AS SELECT 1; DEALLOCATE q", "LISTEN q; UNLISTEN q"])
def test_what_one_query_makes_and_gives_up_pins_nobody(sql: str) -> None:
    """The server is asked, and is free."""
    stage = Stage()
    made, given_up = (done(part.split()[0]) for part in sql.split("; "))
    stage.turn(query(sql), made + given_up + READY)
    assert asked(stage)
    stage.inspect()
    assert stage.pools.idle == stage.servers


def test_a_trigger_that_the_catalog_knows_is_asked_about() -> None:
    """Writes of its table are asked about, reads of it are not."""
    stage = Stage()
    stage.known = Catalog([("anything", "t")])
    stage.turn(query("SELECT a FROM t"), done() + READY)
    assert not asked(stage)
    stage.turn(query("INSERT INTO t VALUES (1)"), done("INSERT 0 1") + READY)
    assert asked(stage)


def test_one_statement_of_several_is_enough() -> None:
    """A text of many is what its parts are."""
    stage = Stage()
    stage.turn(query("SELECT 1; SELECT mine(); SELECT 2"), error() + READY)
    assert asked(stage)


def test_a_transaction_is_asked_about_at_its_end() -> None:
    """A rollback takes back settings and not locks."""
    stage = Stage()
    stage.turn(query("BEGIN"), done("BEGIN") + IN_TRANSACTION)
    stage.turn(query("SELECT mine()"), error() + backend.READY_FAILED)
    assert not asked(stage)
    stage.turn(query("ROLLBACK"), done("ROLLBACK") + READY)
    assert asked(stage)
    stage.say(row("pin", "advisory_lock", "") + done() + READY)
    assert stage.conversation.session.pins == {"advisory_lock"}
    assert stage.pools.idle == []


def test_planning_counts_as_running() -> None:
    """Bind plans a statement, and planning calls functions, without any Execute."""
    stage = Stage()
    stage.turn(parse("SELECT mine()") + bind() + SYNC, backend.PARSE_COMPLETE + TWO + READY)
    assert asked(stage)


def test_what_a_pipeline_skips_is_asked_about_all_the_same() -> None:
    """Whether it ran is not for the text to tell."""
    stage = Stage()
    stage.turn(pbe("SELECT a FROM t") + pbe("SELECT mine()", b"x") + SYNC, error() + READY)
    assert asked(stage)


def test_settings_and_role_that_were_found_follow_the_client() -> None:
    """A function has changed the role: the next server is told that before anything else."""
    stage = Stage(servers=2)
    stage.turn(query("SELECT mine()"), done() + READY)
    stage.say(row("set", "role", "auditor") + row("set", "TimeZone", "Asia/Tokyo") + done() + READY)
    assert stage.conversation.session.settings.now == {"role": "auditor", "timezone": "Asia/Tokyo"}
    stage.pools.idle.remove(stage.servers[0])
    stage.send(query("SELECT 1"))
    (first,) = messages(stage.sent(stage.servers[1]))
    assert b"'role', 'auditor'" in first


def test_a_server_that_cannot_be_asked_is_closed() -> None:
    """Once more after an error, which a late cancel may have made; then it is over, for the session too."""
    stage = Stage()
    stage.turn(query("SELECT mine()"), done() + READY)
    stage.sent()
    stage.say(error("57014", "canceling statement due to user request") + READY)
    assert asked(stage)
    stage.say(error("42501", "permission denied") + READY)
    assert not stage.servers[0].alive
    assert stage.client.gone is not None
    assert tags(stage.client.take()) == "E"


def test_a_client_that_leaves_has_its_server_asked() -> None:
    """What its function has left there reaches nobody, though it did not wait for the question."""
    stage = Stage()
    stage.turn(query("SELECT mine()"), done() + READY)
    stage.client.hang_up("left")
    assert stage.pools.idle == []
    stage.say(row("pin", "temp_table", "") + done() + READY)
    assert stage.pools.idle == stage.servers
    assert stage.servers[0].state == {"temp_table"}


def test_a_client_of_session_mode_that_leaves_has_its_server_asked() -> None:
    """DISCARD ALL does not take away all that it may have left."""
    stage = Stage(pool_mode="session")
    stage.turn(query("SELECT mine()"), done() + READY)
    assert not asked(stage)
    stage.client.hang_up("left")
    assert asked(stage)
    stage.say(row("pin", "origin", "") + done() + READY)
    assert "origin" in stage.servers[0].state


def test_settings_that_a_server_may_refuse_are_told_it_before_anything_runs() -> None:
    """No statement runs as somebody else because the role could not be set."""
    stage = Stage(servers=2)
    stage.turn(query("SET ROLE auditor"), done("SET") + READY)
    stage.pools.idle.remove(stage.servers[0])
    server = stage.servers[1]
    stage.send(query("DELETE FROM t"))
    assert b"DELETE" not in stage.sent(server)
    stage.say(error("22023", 'role "auditor" does not exist') + READY, server)
    assert stage.client.take() == error("22023", 'role "auditor" does not exist') + READY
    assert stage.sent(server) == b""
    assert server in stage.pools.idle


def test_a_setting_that_no_server_takes_can_be_reset() -> None:
    """RESET ROLE goes to a server that would not be given that role."""
    stage = Stage(servers=2)
    stage.turn(query("SET ROLE auditor"), done("SET") + READY)
    stage.pools.idle.remove(stage.servers[0])
    server = stage.servers[1]
    stage.send(query("RESET ROLE"))
    stage.say(error("22023", 'role "auditor" does not exist') + READY, server)
    stage.say(done("RESET") + READY, server)
    assert stage.client.take() == done("RESET") + READY
    assert stage.turn(query("SELECT 1"), done() + READY, server) == done() + READY


def test_settings_that_every_server_takes_go_ahead_in_the_same_write() -> None:
    """Who has a search_path of his own does not wait for it."""
    stage = Stage(servers=2)
    stage.turn(query("SET search_path = mine"), done("SET") + READY)
    stage.pools.idle.remove(stage.servers[0])
    stage.send(query("SELECT 1"))
    assert tags(stage.sent(stage.servers[1])) == "QQ"


def test_a_server_that_is_lost_while_it_is_told_settings_is_told_as_lost() -> None:
    """The client gets 08006 in place of the reply, and goes on."""
    stage = Stage(servers=2)
    stage.turn(query("SET ROLE auditor"), done("SET") + READY)
    stage.pools.idle.remove(stage.servers[0])
    stage.send(query("SELECT 1"))
    stage.lose(stage.servers[1])
    assert tags(stage.client.take()) == "EZ"
    assert stage.client.gone is None


def test_dates_follow_as_the_server_has_them() -> None:
    """A DateStyle is set in parts: German, then YMD, is German, YMD."""
    stage = Stage()
    for sql, style in (("SET datestyle = German", "German, DMY"), ("SET datestyle = YMD", "German, YMD")):
        stage.turn(query(sql), done("SET") + backend.parameter_status("DateStyle", style) + READY)
    assert stage.conversation.session.settings.now == {"datestyle": "German, YMD"}


def test_a_replication_session_leaves_no_server_for_others() -> None:
    """A walsender cannot be cleaned, and needs not be."""
    stage = Stage(pool_mode="session")
    stage.conversation.session.replication = True
    stage.turn(query("IDENTIFY_SYSTEM"), done("IDENTIFY_SYSTEM") + READY)
    stage.client.hang_up("left")
    assert not stage.servers[0].alive


def test_variables_of_pgbeam_know_aborted_transactions_and_savepoints() -> None:
    """As any parameter of PostgreSQL's: refused with 25P02, and back to what they were."""
    stage = Stage()
    stage.turn(query("BEGIN"), done("BEGIN") + IN_TRANSACTION)
    stage.turn(query("SAVEPOINT s"), done("SAVEPOINT") + IN_TRANSACTION)
    assert stage.send(query("SET pgbeam.debug = on")) == done("SET") + IN_TRANSACTION
    stage.turn(query("SELECT 1/0"), error("22012") + backend.READY_FAILED)
    for sql in ("SET pgbeam.debug = on", "SHOW pgbeam.debug"):
        assert b"C25P02\x00" in stage.send(query(sql))
    stage.turn(query("ROLLBACK TO s"), done("ROLLBACK") + IN_TRANSACTION)
    assert stage.conversation.session.variable("debug") is None


def test_the_docs_have_the_table() -> None:
    """docs/pooling.md shows what is decided by, line for line."""
    page = (Path(__file__).parents[2] / "docs" / "pooling.md").read_text(encoding="utf-8")
    shown = {
        (frozenset(re.findall(r"`(\w+)`", kinds)), how.strip())
        for kinds, how in re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|([^|]+)\|$", page, re.MULTILINE)
    }
    assert {(frozenset(kind.name for kind in line.kinds), line.how) for line in TABLE} <= shown


@pytest.mark.parametrize(
    ("name", "value", "sql"),
    [
        ("standard_conforming_strings", "off", "SELECT 'a\\'; LISTEN x; --'"),
        ("client_encoding", "SJIS", "SELECT '\u8868'"),
    ],
)
def test_a_text_that_its_server_reads_otherwise_is_asked_about(name: str, value: str, sql: str) -> None:
    """Where a backslash escapes a quote in plain strings, or is the half of a letter, the text tells nothing."""
    stage = Stage()
    stage.turn(query("SELECT 1"), backend.parameter_status(name, value) + done() + READY)
    stage.turn(query("SELECT a FROM t"), done() + READY)
    assert not asked(stage)
    stage.turn(query(sql), done() + READY)
    assert asked(stage)


@pytest.mark.parametrize("first", ["SET standard_conforming_strings = off", "INSERT INTO t VALUES (1)"])
def test_a_text_behind_what_may_change_how_it_is_read_is_asked_about(first: str) -> None:
    """In a pipeline the server may read strings otherwise by the time it comes to the next text."""
    stage = Stage()
    one = ONE + TWO + done()
    stage.turn(pbe("SELECT a FROM t") + pbe(first) + pbe("SELECT 'a'") + SYNC, one * 3 + READY)
    asked(stage)
    stage.turn(pbe("SELECT a FROM t") + pbe(first) + pbe("SELECT 'a\\'' , f() , ' b --'") + SYNC, one * 3 + READY)
    assert asked(stage)


@pytest.mark.parametrize("kept", [0, 1])
def test_what_code_of_users_has_dropped_is_known(kept: int) -> None:
    """It may say DEALLOCATE ALL: the next client, who has prepared the same, must not be told that it has not."""
    stage = Stage()
    stage.turn(parse("SELECT 1", b"s") + SYNC, ONE + READY)
    stage.turn(query("DO $$ BEGIN END $$"), done("DO") + READY)
    stage.say(backend.data_row(["kept", "", str(kept)]) + done("SELECT 1") + READY)
    stage.sent()
    stage.send(bind(b"s") + execute() + SYNC)
    assert tags(stage.sent()).removeprefix("Q") == ("BES" if kept else "CPBES")


def test_a_setting_that_its_client_may_not_set_keeps_its_server() -> None:
    """Code of a superuser has set it: no other server could be told."""
    stage = Stage()
    stage.turn(query("DO $$ BEGIN END $$"), done("DO") + READY)
    stage.say(backend.data_row(["tied", "log_min_messages", "error"]) + done("SELECT 1") + READY)
    assert stage.conversation.session.pins == {"setting"}
    assert stage.pools.idle == []
