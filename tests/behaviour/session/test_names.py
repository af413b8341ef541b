"""SQL and protocol speak of the same statements: in one request, one name after another."""

from __future__ import annotations

from pgbeam_core.wire import backend, frontend
from tests.session.plugins import code
from tests.session.stage import (
    FLUSH,
    ONE,
    READY,
    SYNC,
    THREE,
    TWO,
    Stage,
    bind,
    close,
    describe,
    done,
    error,
    execute,
    messages,
    parse,
    pbe,
    query,
    tags,
)

N = b"n"


def test_sql_finds_a_statement_of_its_own_request() -> None:
    """EXECUTE n behind the Parse of n: the server has it under that name before it is asked."""
    stage = Stage()
    stage.send(parse("SELECT 1", N) + pbe("EXECUTE n") + SYNC)
    sent = messages(stage.sent())
    assert "".join(chr(frame[0]) for frame in sent) == "PCPPBES"
    assert sent[2].startswith(parse("SELECT 1", N)[:7])
    stage.say(ONE + THREE + ONE + ONE + TWO + done() + READY)
    assert tags(stage.client.take()) == "112CZ"


def test_a_bind_behind_deallocate_is_refused() -> None:
    """The name is gone by then, though PgBeam could still bind what it stood for."""
    stage = Stage()
    stage.turn(parse("SELECT 1", N) + SYNC, ONE + READY)
    stage.sent()
    stage.send(pbe("DEALLOCATE n") + bind(N) + execute() + SYNC)
    binds = [frame for frame in messages(stage.sent()) if frame[:1] == b"B"]
    assert binds[1] == bind(N)
    stage.say(THREE + ONE + ONE + TWO + done("DEALLOCATE") + error("26000") + READY)
    got = messages(stage.client.take())
    assert code(got[-2]) == "26000"


def test_a_skipped_deallocate_frees_nothing() -> None:
    """An error before it: the name stands for what it stood for."""
    stage = Stage()
    stage.turn(parse("SELECT 1", N) + SYNC, ONE + READY)
    stage.send(pbe("SELECT nothing") + pbe("DEALLOCATE n") + SYNC)
    stage.say(error("42703") + READY)
    assert N in stage.conversation.client_statements.statements


def test_deallocate_all_drops_what_pgbeam_has_named() -> None:
    """Behind it in the same request nothing is taken for prepared."""
    stage = Stage()
    stage.turn(parse("SELECT 1", N) + SYNC, ONE + READY)
    stage.sent()
    stage.send(pbe("DEALLOCATE ALL") + parse("SELECT 1", N) + bind(N) + execute() + SYNC)
    assert tags(stage.sent()) == "PBEPBES"
    stage.say(ONE + TWO + done("DEALLOCATE ALL") + ONE + TWO + done() + READY)
    assert tags(stage.client.take()) == "12C12CZ"
    assert stage.servers[0].statements.names


def test_prepare_of_a_taken_name_is_the_servers_to_refuse() -> None:
    """The server gets the client's statement under its own name, and says what it says direct."""
    stage = Stage()
    stage.turn(parse("SELECT 1", N) + SYNC, ONE + READY)
    stage.sent()
    stage.send(query("PREPARE n AS SELECT 2"))
    assert tags(stage.sent()) == "CPSQ"
    stage.say(THREE + ONE + READY + error("42P05") + READY)
    assert code(messages(stage.client.take())[0]) == "42P05"


def test_a_statement_that_cannot_be_lent_costs_no_server() -> None:
    """Its table is gone: EXECUTE fails, as direct; the server is well."""
    stage = Stage()
    stage.turn(parse("SELECT 1", N) + SYNC, ONE + READY)
    stage.send(query("EXECUTE n"))
    stage.say(THREE + error("42P01") + READY + error("26000") + READY)
    assert stage.servers[0].alive
    assert N not in stage.servers[0].statements.client_names


def test_close_of_a_lent_statement_reaches_the_server() -> None:
    """Else SQL would still find it."""
    stage = Stage()
    stage.send(parse("SELECT 1", N) + pbe("EXECUTE n") + close(N) + pbe("EXECUTE n") + SYNC)
    assert tags(stage.sent()) == "PCPPBECPBES"
    stage.say(ONE + THREE + ONE + ONE + TWO + done() + THREE + ONE + TWO + error("26000") + READY)
    got = messages(stage.client.take())
    assert backend.error_fields(got[-2])["C"] == "26000"


def test_what_speaks_of_another_statement_is_parsed_anew() -> None:
    """EXECUTE n is what n is now: what a server has parsed of it for another request, or client, may be another."""
    stage = Stage()
    replies = {"P": ONE, "C": THREE, "S": READY}
    for _ in range(2):
        for asked, seen in ((parse("EXECUTE n", b"run"), "P"), (close(b"run"), "")):
            stage.send(asked + SYNC)
            sent = tags(stage.sent())
            assert seen in sent
            stage.say(b"".join(replies[tag] for tag in sent))
        stage.client.take()


def test_what_speaks_of_another_statement_outlives_a_flush() -> None:
    """asyncpg parses, waits for the columns, and binds in the same request: what was parsed is still there then."""
    stage = Stage()
    stage.send(parse("EXECUTE n", b"run") + FLUSH)
    (parsed, _flush) = messages(stage.sent())
    name = parsed[5:].split(b"\0")[0]
    stage.say(ONE)
    stage.send(bind(b"run") + execute() + SYNC)
    sent = messages(stage.sent())
    assert "".join(chr(frame[0]) for frame in sent) == "BES"
    assert sent[0][6:].split(b"\0")[0] == name


def test_an_execute_of_what_is_gone_has_columns_that_cannot_be_told() -> None:
    """PostgreSQL tells its parameters, looks for the statement, and says that there is none."""
    stage = Stage()
    stage.turn(parse("EXECUTE n", b"e") + SYNC, ONE + READY)
    stage.conversation.client_statements.statements[b"e"].has_columns(backend.row_description([("a", 23, 4)]))
    stage.sent()
    got = stage.turn(describe(b"e", frontend.STATEMENT) + SYNC, error("26000", "internal words") + READY)
    assert tags(stage.sent()) == "BS"
    parameters, refused, ready = messages(got)
    assert parameters == backend.ParameterDescription(()).to_bytes()
    assert backend.error_fields(refused)["M"] == 'prepared statement "n" does not exist'
    assert ready == READY
