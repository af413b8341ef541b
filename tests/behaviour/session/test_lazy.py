"""Transactions that are kept back: what reaches a server, when, and what the client sees meanwhile."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred

from pgbeam_core.catalog.catalog import Catalog
from pgbeam_core.errors import ServerUnavailable
from pgbeam_core.session.state import Phase
from pgbeam_core.testing import answer
from pgbeam_core.wire import backend, frontend
from tests.session.plugins import ANSWER, REFUSAL, WHOLE, code, staged
from tests.session.stage import (
    FAILED,
    FLUSH,
    IN_TRANSACTION,
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

ROW = backend.data_row([b"1"])
BEGUN = TWO + done("BEGIN")
"""What a server says to a BEGIN that it has prepared."""
BEGUN_FIRST = ONE + BEGUN
"""The same, the first time."""


def lazy(**options: object) -> Stage:
    """A client whose transactions are kept back, and one server."""
    return Stage(lazy="reads", **options)  # type: ignore[arg-type]


def in_lazy(**options: object) -> Stage:
    """The same, the client in a transaction."""
    stage = lazy(**options)
    assert stage.send(query("BEGIN")) == done("BEGIN") + IN_TRANSACTION
    return stage


def sent(stage: Stage) -> str:
    """The types of the messages that the one server got since last asked."""
    return tags(stage.servers[0].transport.take())


@pytest.mark.parametrize(
    ("sql", "tag"),
    [
        ("BEGIN", "BEGIN"),
        ("begin work;", "BEGIN"),
        ("/* hello */ START TRANSACTION READ ONLY", "START TRANSACTION"),
        ("BEGIN ISOLATION LEVEL REPEATABLE READ, READ WRITE, NOT DEFERRABLE", "BEGIN"),
    ],
)
def test_begin_is_answered_at_once_and_reaches_no_server(sql: str, tag: str) -> None:
    """A transaction costs nothing until something happens in it."""
    stage = lazy()
    assert stage.send(query(sql)) == done(tag) + IN_TRANSACTION
    assert sent(stage) == ""
    assert stage.conversation.session.lease is None


@pytest.mark.parametrize("sql", ["BEGIN; SELECT 1", "BEGIN ATOMIC", "SAVEPOINT a", "COMMIT", "ROLLBACK"])
def test_what_is_not_plainly_a_begin_goes_to_the_server(sql: str) -> None:
    """A form that PgBeam does not know for sure is PostgreSQL's to answer."""
    stage = lazy()
    assert stage.send(query(sql)) == b""
    assert sent(stage) == "Q"


@pytest.mark.parametrize("request_", [pbe("BEGIN") + SYNC, parse("BEGIN") + bind() + describe() + execute() + SYNC])
def test_begin_by_the_extended_protocol_is_answered_as_by_a_server(request_: bytes) -> None:
    """pg8000, JDBC and pgbench begin by Parse, Bind and Execute."""
    stage = lazy()
    described = backend.NO_DATA if b"D" in tags(request_).encode() else b""
    assert stage.send(request_) == ONE + TWO + described + done("BEGIN") + IN_TRANSACTION
    assert sent(stage) == ""


def test_a_read_runs_as_if_outside_and_gives_its_server_back() -> None:
    """At READ COMMITTED a plain read needs no transaction around it; the client sees T."""
    stage = in_lazy()
    assert stage.send(query("SELECT 1")) == b""
    assert sent(stage) == "Q"
    stage.say(ROW + done() + READY)
    assert stage.client.take() == ROW + done() + IN_TRANSACTION
    assert stage.pools.idle == stage.servers
    assert stage.send(query("COMMIT")) == done("COMMIT") + READY
    assert sent(stage) == ""
    assert stage.stats(stage.conversation.session).transactions_lazy == 1


@pytest.mark.parametrize("in_pieces", [False, True])
def test_a_read_by_the_extended_protocol_likewise(in_pieces: bool) -> None:
    """However its reply is cut."""
    stage = in_lazy()
    stage.send(pbe("SELECT 1") + SYNC)
    assert sent(stage) == "PBES"
    reply = ONE + TWO + ROW + done() + READY
    for piece in [reply[at : at + 1] for at in range(len(reply))] if in_pieces else [reply]:
        stage.say(piece)
    assert stage.client.take() == ONE + TWO + ROW + done() + IN_TRANSACTION


def test_a_statement_prepared_and_flushed_first_is_read_outside_too() -> None:
    """asyncpg asks for a statement's columns, with a Flush, before it runs it."""
    stage = in_lazy()
    stage.send(parse("SELECT 1", b"a") + describe(b"a", frontend.STATEMENT) + FLUSH)
    described = backend.ParameterDescription(()).to_bytes() + backend.row_description([("x", 23, 4)])
    stage.say(ONE + described + READY)
    assert stage.client.take() == ONE + described
    stage.send(bind(b"a") + execute() + SYNC)
    assert sent(stage) == "PDSBES"
    stage.say(TWO + ROW + done() + READY)
    assert stage.client.take() == TWO + ROW + done() + IN_TRANSACTION


@pytest.mark.parametrize("sql", ["BEGIN", "COMMIT"])
def test_a_boundary_may_be_described_by_name(sql: str) -> None:
    """postgres.js prepares, describes and runs its COMMIT in one request."""
    stage = lazy() if sql == "BEGIN" else in_lazy()
    status = IN_TRANSACTION if sql == "BEGIN" else READY
    request = parse(sql, b"c") + describe(b"c", frontend.STATEMENT) + bind(b"c") + execute() + SYNC
    nothing = backend.ParameterDescription(()).to_bytes() + backend.NO_DATA
    assert stage.send(request) == ONE + nothing + TWO + done(sql) + status
    assert sent(stage) == ""


WRITES = ["INSERT INTO t VALUES (1)", "SELECT 1 FOR UPDATE", "SELECT now()", "SET work_mem = '1MB'", "LOCK t", "VACUUM"]


@pytest.mark.parametrize("sql", [*WRITES, "BEGIN", "COMMIT AND CHAIN", "PREPARE TRANSACTION 'x'", "SELECT 1; SELECT 2"])
def test_any_other_statement_makes_it_real_in_one_write(sql: str) -> None:
    """BEGIN as the client wrote it goes ahead of the statement: one round trip less."""
    stage = lazy()
    stage.send(query("BEGIN  ISOLATION LEVEL READ COMMITTED"))
    stage.send(query(sql))
    out = stage.servers[0].transport.take()
    assert tags(out) == "PBEQ"
    assert b"BEGIN  ISOLATION LEVEL READ COMMITTED\0" in out
    stage.say(BEGUN_FIRST + done("X") + IN_TRANSACTION)
    assert stage.client.take() == done("X") + IN_TRANSACTION
    assert stage.conversation.session.begun


def test_a_real_transaction_keeps_its_server_to_the_end() -> None:
    """From there on all is as the client sends it."""
    stage = in_lazy()
    stage.turn(query("INSERT INTO t VALUES (1)"), BEGUN_FIRST + done("INSERT 0 1") + IN_TRANSACTION)
    sent(stage)
    assert stage.turn(query("SELECT 1"), done() + IN_TRANSACTION) == done() + IN_TRANSACTION
    assert stage.pools.idle == []
    assert stage.turn(query("COMMIT"), done("COMMIT") + READY) == done("COMMIT") + READY
    assert sent(stage) == "QQ"
    assert stage.pools.idle == stage.servers


def test_the_server_parses_begin_once() -> None:
    """The second transaction of the same words binds what the first has prepared."""
    stage = in_lazy()
    stage.turn(query("INSERT INTO t VALUES (1)"), BEGUN_FIRST + done("INSERT 0 1") + IN_TRANSACTION)
    stage.turn(query("COMMIT"), done("COMMIT") + READY)
    sent(stage)
    stage.send(query("BEGIN"))
    stage.send(query("INSERT INTO t VALUES (1)"))
    assert sent(stage) == "BEQ"


def test_a_write_by_the_extended_protocol_makes_it_real_in_one_write() -> None:
    """The reply to BEGIN is PgBeam's, the rest the client's."""
    stage = in_lazy()
    stage.send(pbe("INSERT INTO t VALUES (1)") + SYNC)
    assert sent(stage) == "PBEPBES"
    stage.say(BEGUN_FIRST + ONE + TWO + done("INSERT 0 1") + IN_TRANSACTION)
    assert stage.client.take() == ONE + TWO + done("INSERT 0 1") + IN_TRANSACTION


def test_a_portal_with_a_name_makes_it_real() -> None:
    """It can be read on until the transaction ends."""
    for asked in (execute(b"p"), execute(b"p", 1)):
        stage = in_lazy()
        stage.send(parse("SELECT 1") + bind(portal=b"p") + asked + SYNC)
        assert sent(stage) == "PBEPBES"


SUSPENDED = backend.PORTAL_SUSPENDED


def test_a_read_of_some_rows_runs_as_if_outside() -> None:
    """asyncpg's fetchrow and fetchval ask for one row and no more: that is no reason to make a transaction real."""
    stage = in_lazy()
    stage.send(parse("SELECT 1", b"s") + bind(b"s") + execute(rows=1) + SYNC)
    assert sent(stage) == "PBES"
    stage.say(ONE + TWO + ROW + SUSPENDED + READY)
    assert stage.client.take() == ONE + TWO + ROW + SUSPENDED + IN_TRANSACTION
    assert stage.conversation.session.lease is None
    stage.send(query("COMMIT"))
    assert sent(stage) == ""


def test_a_read_of_some_rows_that_fails_is_had_again_inside() -> None:
    """As one of all rows is."""
    stage = in_lazy()
    stage.send(parse("SELECT 1", b"s") + bind(b"s") + execute(rows=1) + SYNC)
    sent(stage)
    stage.say(ONE + TWO + error("22012") + READY)
    assert stage.client.take() == b""
    assert sent(stage) == "PBEBES"


@pytest.mark.parametrize(
    "asked",
    [
        execute(rows=1) + execute() + SYNC,
        execute(rows=1) + execute(rows=1) + SYNC,
        execute(rows=1) + FLUSH,
    ],
)
def test_a_read_in_parts_makes_it_real(asked: bytes) -> None:
    """What is left of its rows may be asked for: they have to be those of that one moment."""
    stage = in_lazy()
    stage.send(parse("SELECT 1") + bind() + asked)
    assert sent(stage).startswith("PBEPBE")


@pytest.mark.parametrize("asked", [execute(), describe()])
def test_its_portal_ends_with_its_request(asked: bytes) -> None:
    """Whoever comes back to a portal without a name gets the server's error, never other rows."""
    stage = in_lazy()
    stage.send(parse("SELECT 1") + bind() + execute(rows=1) + SYNC)
    sent(stage)
    stage.say(ONE + TWO + ROW + SUSPENDED + READY)
    stage.client.take()
    stage.send(asked + SYNC)
    assert sent(stage).startswith("PBE")  # BEGIN goes ahead
    gone = error("34000")
    stage.say(BEGUN_FIRST + gone + FAILED)
    assert stage.client.take() == gone + FAILED


def test_begin_and_one_read_in_one_request_are_taken_apart() -> None:
    """JDBC begins in the same request as it reads."""
    stage = lazy()
    got = stage.send(pbe("BEGIN") + pbe("SELECT 1") + SYNC)
    assert got == ONE + TWO + done("BEGIN")
    assert sent(stage) == "PBES"
    stage.say(ONE + TWO + ROW + done() + READY)
    assert stage.client.take() == ONE + TWO + ROW + done() + IN_TRANSACTION


def test_begin_and_one_write_in_one_request_are_one_write() -> None:
    """And in the same request as it writes."""
    stage = lazy()
    assert stage.send(pbe("BEGIN") + pbe("INSERT INTO t VALUES (1)") + SYNC) == ONE + TWO + done("BEGIN")
    assert sent(stage) == "PBEPBES"
    stage.say(BEGUN_FIRST + ONE + TWO + done("INSERT 0 1") + IN_TRANSACTION)
    assert stage.client.take() == ONE + TWO + done("INSERT 0 1") + IN_TRANSACTION


# What has been read already.


def test_what_must_come_before_any_query_is_refused_after_a_read() -> None:
    """SET TRANSACTION after a read is PostgreSQL's error 25001: the server is told that there was one."""
    stage = in_lazy()
    stage.turn(query("SELECT 1"), done() + READY)
    sent(stage)
    stage.send(query("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"))
    out = stage.servers[0].transport.take()
    assert tags(out) == "PBEPBEQ"
    assert out.index(b"BEGIN") < out.index(b"SELECT WHERE false") < out.index(b"SET TRANSACTION")
    stage.say(BEGUN_FIRST + ONE + TWO + done("SELECT 0") + error("25001") + FAILED)
    assert stage.client.take() == error("25001") + FAILED


# Isolation.


@pytest.mark.parametrize("level", [None, "repeatable read", "serializable"])
def test_reads_at_another_level_are_inside(level: str | None) -> None:
    """What is not known is not READ COMMITTED: only BEGIN is kept back."""
    stage = in_lazy(isolation=level)
    stage.send(query("SELECT 1"))
    assert sent(stage) == "PBEQ"


@pytest.mark.parametrize(
    ("begin", "outside"),
    [("BEGIN ISOLATION LEVEL READ COMMITTED", True), ("BEGIN ISOLATION LEVEL SERIALIZABLE", False)],
)
def test_the_level_that_begin_names_counts(begin: str, outside: bool) -> None:
    """Whatever the server's default is."""
    stage = lazy(isolation="repeatable read" if outside else "read committed")
    stage.send(query(begin))
    stage.send(query("SELECT 1"))
    assert sent(stage) == ("Q" if outside else "PBEQ")


@pytest.mark.parametrize(
    "change",
    [
        "SET default_transaction_isolation = 'serializable'",
        "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE",
    ],
)
def test_the_level_that_the_session_has_set_counts(change: str) -> None:
    """A session that asked for SERIALIZABLE gets it."""
    stage = lazy()
    stage.turn(query(change), done("SET") + READY)
    sent(stage)
    stage.send(query("BEGIN"))
    stage.send(query("SELECT 1"))
    assert sent(stage) == "PBEQ"


def test_with_begin_the_first_statement_makes_it_real() -> None:
    """lazy_transactions = "begin" keeps BEGIN back and nothing more."""
    stage = Stage(lazy="begin")
    assert stage.send(query("BEGIN")) == done("BEGIN") + IN_TRANSACTION
    stage.send(query("SELECT 1"))
    assert sent(stage) == "PBEQ"


@pytest.mark.parametrize("pool_mode", ["session", "statement"])
def test_other_pool_modes_keep_nothing_back(pool_mode: str) -> None:
    """A session with a server of its own has no use for it; in statement mode BEGIN is refused."""
    stage = Stage(lazy="reads", pool_mode=pool_mode)
    got = stage.send(query("BEGIN"))
    assert (sent(stage), code(messages(got)[0]) if got else None) in [("Q", None), ("", "0A000")]


def test_a_pinned_session_keeps_nothing_back() -> None:
    """A session that listens has its server, and its transactions are as sent."""
    stage = lazy()
    stage.turn(query("LISTEN x"), done("LISTEN") + READY)
    sent(stage)
    stage.send(query("BEGIN"))
    assert sent(stage) == "Q"


# Savepoints.


def test_savepoints_are_kept_back_and_follow_begin() -> None:
    """Django's nested atomic() costs nothing before the first write; those that are left go in the same write."""
    stage = in_lazy()
    for sql, tag in [
        ("SAVEPOINT a", "SAVEPOINT"),
        ("SAVEPOINT b", "SAVEPOINT"),
        ("RELEASE b", "RELEASE"),
        ("SAVEPOINT c", "SAVEPOINT"),
        ("ROLLBACK TO a", "ROLLBACK"),
        ("SAVEPOINT d", "SAVEPOINT"),
    ]:
        assert stage.send(query(sql)) == done(tag) + IN_TRANSACTION
    assert sent(stage) == ""
    stage.send(query("DELETE FROM t"))
    out = stage.servers[0].transport.take()
    assert tags(out) == "PBE" + 2 * "PBEC" + "Q"
    assert out.index(b"SAVEPOINT a") < out.index(b"SAVEPOINT d")
    assert b"SAVEPOINT b" not in out
    stage.say(BEGUN_FIRST + 2 * (ONE + TWO + done("SAVEPOINT") + THREE) + done("DELETE 0") + IN_TRANSACTION)
    assert stage.client.take() == done("DELETE 0") + IN_TRANSACTION


@pytest.mark.parametrize("sql", ["RELEASE nope", "ROLLBACK TO nope", f"SAVEPOINT {'x' * 64}"])
def test_a_savepoint_that_is_unknown_is_for_the_server(sql: str) -> None:
    """Its error, or its notice, is PostgreSQL's."""
    stage = in_lazy()
    stage.send(query(sql))
    assert sent(stage) == "PBEQ"


# Errors.


@pytest.mark.parametrize("request_", [query("SELECT 1/0"), pbe("SELECT 1/0") + SYNC])
def test_a_read_that_fails_is_had_again_inside(request_: bytes) -> None:
    """So the error and the aborted state are PostgreSQL's own; of the first failure the client sees nothing."""
    stage = in_lazy()
    simple = request_[:1] == b"Q"
    stage.send(request_)
    first = sent(stage)
    stage.say((b"" if simple else ONE + TWO) + error("22012") + READY)
    assert stage.client.take() == b""
    assert sent(stage) == "PBE" + (first if simple else "PBES")
    stage.say(BEGUN_FIRST + (b"" if simple else ONE + TWO) + error("22012") + FAILED)
    assert stage.client.take() == (b"" if simple else ONE + TWO) + error("22012") + FAILED
    assert stage.turn(query("ROLLBACK"), done("ROLLBACK") + READY) == done("ROLLBACK") + READY


def long_failure(stage: Stage) -> None:
    """A read fails when its client has had a part of the reply."""
    stage.send(query("SELECT 1/(9-x) FROM t"))
    rows = 2000 * ROW
    stage.say(rows)
    assert stage.client.take() == rows
    stage.say(error("22012") + READY)
    assert stage.client.take() == error("22012") + FAILED
    sent(stage)


def test_a_read_that_fails_late_leaves_a_failed_transaction() -> None:
    """It cannot be had again: the client has a part of it. Its end is PgBeam's to answer."""
    stage = in_lazy()
    long_failure(stage)
    assert stage.send(query("COMMIT")) == done("ROLLBACK") + READY
    assert sent(stage) == ""


def test_in_such_a_transaction_the_server_refuses_what_comes() -> None:
    """It is made real, and failed, before it sees the next statement: 25P02 is its own."""
    stage = in_lazy()
    long_failure(stage)
    stage.send(query("INSERT INTO t VALUES (1)"))
    assert sent(stage) == "PBEBS"
    stage.say(BEGUN_FIRST + error("26000") + FAILED)
    assert sent(stage) == "Q"
    stage.say(error("25P02") + FAILED)
    assert stage.client.take() == error("25P02") + FAILED


def test_nothing_runs_where_the_failed_transaction_could_not_be_made() -> None:
    """A statement that had to be refused must not run outside of a transaction."""
    stage = in_lazy()
    long_failure(stage)
    stage.send(query("INSERT INTO t VALUES (1)"))
    sent(stage)
    stage.say(error("57014") + READY)
    assert stage.client.gone is not None
    assert "Q" not in sent(stage)


def test_a_savepoint_leads_out_of_such_a_transaction() -> None:
    """ROLLBACK TO works as ever, and reads go on."""
    stage = in_lazy()
    stage.send(query("SAVEPOINT a"))
    long_failure(stage)
    assert stage.send(query("ROLLBACK TO a")) == done("ROLLBACK") + IN_TRANSACTION
    assert stage.turn(query("SELECT 1"), done() + READY) == done() + IN_TRANSACTION


def test_a_begin_that_fails_lets_nothing_run() -> None:
    """The server skips the statement behind it; the client is in a failed transaction, not outside of one."""
    stage = in_lazy()
    stage.send(query("INSERT INTO t VALUES (1)"))
    sent(stage)
    stage.say(error("57014", "canceling statement due to statement timeout"))
    assert sent(stage) == "S"
    stage.say(READY)
    assert code(messages(stage.client.take())[0]) == "57014"
    assert stage.conversation.session.status == b"E"
    assert stage.send(query("ROLLBACK")) == done("ROLLBACK") + READY


def test_a_refusal_fails_a_transaction_without_a_server() -> None:
    """A plugin's error in a transaction that is kept back ends in the state that PostgreSQL's would."""
    stage, _ = staged(lambda asked: REFUSAL if asked.statement.reads else None, lazy="reads")
    stage.send(query("BEGIN"))
    got = stage.send(query("SELECT 1"))
    assert tags(got) == "EZ"
    assert got.endswith(FAILED)
    assert stage.send(query("ROLLBACK")) == done("ROLLBACK") + READY
    assert sent(stage) == ""


def test_no_server_to_be_had_fails_it_too() -> None:
    """And the session lives."""
    stage = Stage(servers=0, lazy="reads")
    stage.send(query("BEGIN"))
    stage.send(query("SELECT 1"))
    stage.pools.waiting.pop().errback(ServerUnavailable("down"))
    got = stage.client.take()
    assert tags(got) == "EZ"
    assert got.endswith(FAILED)


def test_a_read_whose_server_is_lost_is_had_elsewhere() -> None:
    """As outside of a transaction, and before the client has seen a byte."""
    stage = in_lazy(servers=2)
    stage.send(query("SELECT 1"))
    stage.servers[0].connectionLost()
    assert stage.client.take() == b""
    stage.say(ROW + done() + READY, stage.servers[1])
    assert stage.client.take() == ROW + done() + IN_TRANSACTION


@pytest.mark.parametrize("said", [b"", error("57P01", "terminating connection", "FATAL")])
def test_a_read_that_loses_two_servers_is_told_so(said: bytes) -> None:
    """Had elsewhere once, and lost again, with a goodbye that nobody has seen: an error, never nothing at all."""
    stage = in_lazy(servers=3)
    stage.send(query("SELECT 1"))
    stage.servers[0].connectionLost()
    if said:
        stage.say(said, stage.servers[1])
    stage.servers[1].connectionLost()
    got = stage.client.take()
    assert tags(got).startswith("E")
    assert stage.client.gone is not None or got.endswith(FAILED)


def test_a_lost_server_in_the_middle_of_rows_fails_it() -> None:
    """What the client has of the reply cannot be taken back."""
    stage = in_lazy(servers=2)
    stage.send(query("SELECT x FROM t"))
    stage.say(2000 * ROW)
    stage.client.take()
    stage.servers[0].connectionLost()
    got = stage.client.take()
    assert tags(got) == "EZ"
    assert got.endswith(FAILED)
    assert stage.client.gone is None


# Ends.


def real_reader(begin: str, read: str = "SELECT 1") -> Stage:
    """A transaction that is real, and has only read."""
    stage = lazy(isolation="read committed")
    stage.send(query(begin))
    stage.turn(query(read), BEGUN_FIRST + ROW + done() + IN_TRANSACTION)
    sent(stage)
    return stage


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
@pytest.mark.parametrize(
    ("begin", "read"), [("BEGIN ISOLATION LEVEL REPEATABLE READ", "SELECT 1"), ("BEGIN", "SELECT now()")]
)
def test_the_end_of_one_that_only_read_is_answered_at_once(begin: str, read: str, end: str) -> None:
    """The server is told without anyone waiting, and is free when it has answered."""
    stage = real_reader(begin, read)
    assert stage.send(query(end)) == done(end) + READY
    assert sent(stage) == "Q"
    assert stage.pools.idle == []
    stage.say(done(end) + READY)
    assert stage.client.take() == b""
    assert stage.pools.idle == stage.servers


@pytest.mark.parametrize("begin", ["BEGIN ISOLATION LEVEL SERIALIZABLE"])
def test_the_end_of_a_serializable_one_is_waited_for(begin: str) -> None:
    """It may fail even if it only read."""
    stage = real_reader(begin)
    assert stage.send(query("COMMIT")) == b""
    assert sent(stage) == "Q"


@pytest.mark.parametrize("sql", [*WRITES, "SELECT nextval('s')", "SELECT f()"])
def test_the_end_of_one_that_did_more_is_waited_for(sql: str) -> None:
    """Whoever is told of a commit can rely on it."""
    stage = in_lazy()
    stage.turn(query(sql), BEGUN_FIRST + done("X") + IN_TRANSACTION)
    if sql == "SELECT now()":
        return
    sent(stage)
    assert stage.send(query("COMMIT")) == b""
    assert sent(stage) == "Q"


def test_plugins_hear_of_every_end() -> None:
    """transaction_over is fired for one that stayed lazy as for any."""
    stage, plugin = staged(lazy="reads")
    for sql in ("BEGIN", "COMMIT", "BEGIN", "ROLLBACK"):
        stage.send(query(sql))
    assert plugin.over == [True, False]


def test_a_kept_answer_serves_a_read_outside() -> None:
    """A cached reply costs no server and no transaction; the client sees T."""
    stage, _ = staged(lambda asked: ANSWER if asked.answerable else None, lazy="reads")
    stage.send(query("BEGIN"))
    assert stage.send(query("SELECT 1")) == WHOLE + IN_TRANSACTION
    assert sent(stage) == ""


def test_of_a_kept_answer_come_as_many_rows_as_are_asked_for() -> None:
    """As PostgreSQL stops at so many, were they the last ones; and a portal that is read in parts is not answered."""
    three = answer(["a"], [["1"], ["2"], ["3"]])
    row = len(three.rows) // 3
    stage = staged(lambda _: three, lazy="reads")[0]
    ask = parse("SELECT 1") + bind()
    for limit, end in ((1, SUSPENDED), (3, SUSPENDED), (4, three.complete), (0, three.complete), (-1, three.complete)):
        rows = three.rows[: limit * row] if limit > 0 else three.rows
        assert stage.send(ask + execute(rows=limit) + SYNC) == ONE + TWO + rows + end + READY
    assert stage.send(ask + execute(rows=1) + execute() + SYNC) == b""
    assert sent(stage) == "PBEES"


def test_a_client_that_leaves_costs_no_server() -> None:
    """There is nothing to roll back."""
    stage = in_lazy()
    stage.client.hang_up("gone")
    assert stage.conversation.phase is Phase.GONE
    assert stage.pools.idle == stage.servers


def test_variables_of_pgbeam_follow_a_lazy_transaction() -> None:
    """SET LOCAL pgbeam.* holds to its end, SET is taken back by its rollback, and neither makes it real."""
    stage = in_lazy()
    stage.send(query("SET LOCAL pgbeam.debug = on"))
    assert stage.conversation.session.variable("debug") == "on"
    stage.turn(query("SELECT 1"), done() + READY)
    assert stage.conversation.session.variable("debug") == "on"
    sent(stage)
    stage.send(query("SET pgbeam.debug = on"))
    stage.send(query("ROLLBACK"))
    assert stage.conversation.session.variable("debug") is None
    assert sent(stage) == ""


# Code of users.


def test_a_read_that_may_run_code_of_users_is_inside() -> None:
    """What a view's function sets with SET LOCAL has to hold to the end of the transaction."""
    stage = in_lazy()
    stage.known = Catalog([("runs", "read", "v", "f")])
    stage.send(query("SELECT x FROM v"))
    assert sent(stage) == "PBEQ"


def test_a_read_waits_for_the_catalog_to_be_known() -> None:
    """The first read after the start is outside like any other, a moment later."""
    stage = in_lazy()
    known, stage.known = stage.known, None
    stage.catalog_comes = Deferred()
    stage.send(query("SELECT x FROM t"))
    assert stage.conversation.phase is Phase.ASKING
    stage.known = known
    stage.catalog_comes.callback(None)
    assert sent(stage) == "Q"
    stage.say(ROW + done() + READY)
    assert stage.client.take() == ROW + done() + IN_TRANSACTION


def test_without_a_catalog_reads_are_inside() -> None:
    """What is not known may do anything."""
    stage = in_lazy()
    stage.known = None
    stage.send(query("SELECT x FROM t"))
    assert sent(stage) == "PBEQ"


# Forms of a request that some drivers use.


FLUSHED = {
    "Parse": parse("SELECT 1") + FLUSH + SYNC,
    "Describe": describe(kind=frontend.STATEMENT) + FLUSH + SYNC,
    "Execute": bind() + FLUSH + execute() + FLUSH + SYNC,
}
"""pg8000 has a Flush behind each message and sends a request for each step."""


def test_a_flush_in_the_middle_of_a_whole_request_is_passed_over() -> None:
    """There is nothing for the client to wait for: its request is the usual one, and its transaction stays lazy."""
    stage = in_lazy()
    stage.turn(FLUSHED["Parse"], ONE + READY)
    stage.turn(FLUSHED["Describe"], backend.ParameterDescription(()).to_bytes() + backend.NO_DATA + READY)
    assert stage.turn(FLUSHED["Execute"], TWO + done() + READY) == TWO + done() + IN_TRANSACTION
    assert stage.send(query("COMMIT")) == done("COMMIT") + READY
    assert sent(stage) == "PSDSBES"


@pytest.mark.parametrize("cut", range(1, len(FLUSHED["Execute"])))
def test_a_flush_is_waited_behind_where_the_rest_has_not_come(cut: int) -> None:
    """In whatever parts it comes, the client gets the same."""
    stage = lazy()
    stage.turn(parse("SELECT 1") + SYNC, ONE + READY)
    assert stage.send(FLUSHED["Execute"][:cut]) == b""
    stage.clock.advance(1)
    assert stage.turn(FLUSHED["Execute"][cut:], TWO + done() + READY) == TWO + done() + READY


def test_several_executions_are_flushed_as_sent() -> None:
    """The client wants the first result before the second."""
    stage = lazy()
    stage.send(pbe("SELECT 1") + FLUSH + bind() + execute() + SYNC)
    assert sent(stage) == "PBEHBES"


@pytest.mark.parametrize("portal", [b"", b"p"])
def test_a_portal_that_is_closed_where_it_was_made_is_no_reason_for_a_transaction(portal: bytes) -> None:
    """As sqlx and R2DBC have it: a kept answer has a place for CloseComplete too."""
    ask = parse("SELECT 1") + bind(portal=portal) + execute(portal) + close(portal, frontend.PORTAL) + SYNC
    stage, _ = staged(lambda asked: ANSWER if asked.answerable else None, lazy="reads")
    stage.send(query("BEGIN"))
    assert stage.send(ask) == ONE + TWO + ANSWER.rows + ANSWER.complete + THREE + IN_TRANSACTION
    assert sent(stage) == ""
