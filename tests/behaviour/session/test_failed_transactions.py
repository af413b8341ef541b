"""Statements that a server lacks which is in a failed transaction, where it parses nothing but what ends that."""

from __future__ import annotations

import pytest

from pgbeam_core.wire import backend, frontend
from tests.session.plugins import code
from tests.session.stage import (
    FAILED,
    IN_TRANSACTION,
    ONE,
    READY,
    SYNC,
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
    query,
    tags,
)

ABORTED = error("25P02")
DESCRIBES = describe(b"s", frontend.STATEMENT) + SYNC
INSERT = "INSERT INTO t VALUES ($1, $2)"


def parse_typed(sql: str, name: bytes, types: tuple[int, ...]) -> bytes:
    """Parse with parameters of these types."""
    return frontend.Parse(name, sql.encode(), types).to_bytes()


def failed(sql: str, types: tuple[int, ...] = (), *, described: bytes = b"") -> Stage:
    """A client in a failed transaction, whose statement `s` its server has lost; `described` before, if it was."""
    stage = Stage()
    stage.turn(parse_typed(sql, b"s", types) + SYNC, ONE + READY)
    if described:
        stage.turn(DESCRIBES, described + READY)
    stage.servers[0].statements.forget()
    stage.turn(query("BEGIN"), done("BEGIN") + IN_TRANSACTION)
    stage.turn(query("SELECT 1/0"), error() + FAILED)
    stage.sent()
    return stage


@pytest.mark.parametrize(
    ("sql", "types"), [("SET work_mem = '1MB'", ()), (INSERT, (23, 25)), ("LOCK t", ()), ("VACUUM", ())]
)
def test_what_has_no_columns_is_described(sql: str, types: tuple[int, ...]) -> None:
    """PostgreSQL describes it in a failed transaction too: an empty statement with its parameters stands for it."""
    stage = failed(sql, types)
    stage.send(DESCRIBES)
    stand_in = parse_typed("", b"pgbeam_2", types)
    assert messages(stage.sent()) == [stand_in, describe(b"pgbeam_2", frontend.STATEMENT), SYNC]
    reply = backend.ParameterDescription(types).to_bytes() + backend.NO_DATA
    stage.say(ONE + reply + FAILED)
    assert stage.client.take() == reply + FAILED


def test_it_is_closed_afterwards() -> None:
    """And what is asked for when the transaction is over is the statement itself."""
    stage = failed("LOCK t")
    stage.turn(DESCRIBES, ONE + backend.ParameterDescription(()).to_bytes() + backend.NO_DATA + FAILED)
    stage.turn(query("ROLLBACK"), done("ROLLBACK") + READY)
    stage.sent()
    stage.send(DESCRIBES)
    assert messages(stage.sent())[:2] == [close(b"pgbeam_2"), parse("LOCK t", b"pgbeam_3")]


def test_parameters_are_those_that_the_server_has_told() -> None:
    """Where the client left their types to the server."""
    told = backend.ParameterDescription((23, 25)).to_bytes() + backend.NO_DATA
    stage = failed(INSERT, described=told)
    stage.send(DESCRIBES)
    assert messages(stage.sent())[0] == parse_typed("", b"pgbeam_2", (23, 25))


@pytest.mark.parametrize(
    ("sql", "types"),
    [("SELECT 1", ()), ("DELETE FROM t RETURNING a", ()), ("SHOW work_mem", ()), (INSERT, ()), (INSERT, (23,))],
)
def test_what_has_columns_or_nobody_knows_is_the_servers_to_refuse(sql: str, types: tuple[int, ...]) -> None:
    """The server says what it says of any statement there."""
    stage = failed(sql, types)
    stage.send(DESCRIBES)
    assert messages(stage.sent())[0] == parse_typed(sql, b"", types)
    stage.say(ABORTED + FAILED)
    assert code(messages(stage.client.take())[0]) == "25P02"


def test_a_wrong_bind_is_told_what_is_wrong_with_it() -> None:
    """PostgreSQL looks at the count of parameters before it looks at the transaction."""
    stage = failed(INSERT, (23, 25))
    stage.send(bind(b"s") + execute() + SYNC)
    assert tags(stage.sent()) == "PBES"
    wrong = 'bind message supplies 0 parameters, but prepared statement "{}" requires 2'
    stage.say(ONE + error("08P01", wrong.format("pgbeam_2")) + FAILED)
    assert backend.error_fields(messages(stage.client.take())[0])["M"] == wrong.format("s")


@pytest.mark.parametrize("sql", ["UPDATE t SET a = $2 WHERE b = $1 -- $3", "SELECT '$5', $1 /* $4 */ + $2"])
def test_as_many_parameters_as_its_text_has(sql: str) -> None:
    """Where no Describe has told them: a wrong count is wrong, whatever stands in strings and comments."""
    stage = failed(sql)
    stage.send(bind(b"s") + execute() + SYNC)
    assert messages(stage.sent())[0] == parse_typed("", b"pgbeam_2", (25, 25))


def test_a_fetch_that_a_server_lacks_has_no_columns() -> None:
    """Its cursor was not there when it was parsed, or the server would have it."""
    stage = failed("FETCH c")
    stage.send(DESCRIBES)
    assert messages(stage.sent())[0] == parse_typed("", b"pgbeam_2", ())


def test_as_many_parameters_as_are_bound_where_nobody_knows() -> None:
    """Then the transaction is what is wrong."""
    stage = failed(INSERT)
    stage.send(frontend.Bind(b"", b"s", (b"1", None), formats=(1, 0)).to_bytes() + execute() + SYNC)
    assert messages(stage.sent())[0] == parse_typed("", b"pgbeam_2", (25, 25))


def test_what_ends_it_is_parsed() -> None:
    """ROLLBACK under a name runs on a server that lacks it; behind it in the request the transaction is over."""
    stage = failed("ROLLBACK")
    stage.send(bind(b"s") + execute() + parse("SELECT 1", b"t") + DESCRIBES)
    assert [frame[5:].split(b"\0")[0:2] for frame in messages(stage.sent()) if frame[:1] == b"P"] == [
        [b"", b"ROLLBACK"],
        [b"pgbeam_2", b"SELECT 1"],
    ]


@pytest.mark.parametrize("sql", ["SET pgbeam.debug = on", "SHOW pgbeam.debug"])
def test_own_variables_are_refused_in_the_same_places(sql: str) -> None:
    """At Parse and at Bind, as any other SET or SHOW."""
    stage = Stage()
    stage.send(parse(sql, b"s") + SYNC)
    stage.turn(query("BEGIN"), done("BEGIN") + IN_TRANSACTION)
    stage.turn(query("SELECT 1/0"), error() + FAILED)
    for request in (parse(sql) + SYNC, bind(b"s") + SYNC, bind(b"s") + execute() + SYNC):
        stage.send(request)
        stage.say(error("26000") + FAILED)
        assert code(messages(stage.client.take())[0]) == "25P02"
    if sql.startswith("SET"):
        stage.turn(DESCRIBES, FAILED)


def test_after_rollback_in_one_request_they_are_not() -> None:
    """TWO stands for the Bind of ROLLBACK."""
    stage = failed("ROLLBACK")
    stage.send(bind(b"s") + execute() + parse("LOCK t", b"t") + bind(b"t") + SYNC)
    stage.say(ONE + TWO + done("ROLLBACK") + ONE + TWO + READY)
    assert tags(stage.client.take()) == "2C12Z"


@pytest.mark.parametrize("behind", [b"", b"\x00", b"\x00\x05", b"\x00\x01\x00\x00", b"\xff\xff\x00\x00"])
def test_a_bind_that_is_cut_off_is_the_servers_to_refuse(behind: bytes) -> None:
    """Nobody can count its values: it goes on as it is, with an empty statement, and costs nobody a traceback."""
    stage = failed(INSERT)
    body = b"\0s\0" + behind
    stage.send(b"B" + (len(body) + 4).to_bytes(4) + body + SYNC)
    assert tags(stage.sent()) == "PBS"
    stage.say(ONE + error("08P01") + FAILED)
    assert stage.client.take() == error("08P01") + FAILED
