"""Prepared statements of clients on servers that they share."""

from __future__ import annotations

from pgbeam_core.wire import backend, frontend
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

STATEMENT = ord("S")
RUN = ONE + TWO + done() + READY
AGAIN = TWO + done() + READY
PARAMETERS = backend.ParameterDescription(()).to_bytes()


def test_a_named_statement_is_prepared_under_a_name_of_pgbeams_own() -> None:
    """Two clients may both call a statement `s`."""
    stage = Stage()
    assert stage.turn(pbe("SELECT 1", b"s") + SYNC, RUN) == RUN
    assert messages(stage.sent()) == [parse("SELECT 1", b"pgbeam_1"), bind(b"pgbeam_1"), execute(), SYNC]


def test_a_parse_that_the_server_need_not_see_is_answered() -> None:
    """What another client has prepared serves this one too."""
    stage = Stage()
    stage.turn(pbe("SELECT 1", b"s") + SYNC, RUN)
    stage.sent()
    other, _ = stage.join()
    assert stage.send(pbe("SELECT 1", b"mine") + SYNC, other) == ONE
    assert messages(stage.sent()) == [bind(b"pgbeam_1"), execute(), SYNC]
    stage.say(AGAIN)
    assert other.take() == AGAIN


def test_a_statement_follows_its_client_to_another_server() -> None:
    """A Bind finds its statement on any server: one that lacks it is made to prepare it, unseen."""
    stage = Stage(servers=2)
    stage.turn(parse("SELECT 1", b"s") + SYNC, ONE + READY)
    stage.pools.idle = [stage.servers[1]]
    assert stage.turn(bind(b"s") + execute() + SYNC, RUN, stage.servers[1]) == AGAIN
    assert messages(stage.sent(stage.servers[1])) == [
        parse("SELECT 1", b"pgbeam_1"),
        bind(b"pgbeam_1"),
        execute(),
        SYNC,
    ]


def test_a_describe_finds_its_statement_on_another_server_too() -> None:
    """Describe of a statement that only the first server has."""
    stage = Stage(servers=2)
    stage.turn(parse("SELECT 1", b"s") + SYNC, ONE + READY)
    stage.pools.idle = [stage.servers[1]]
    reply = PARAMETERS + backend.NO_DATA + READY
    assert stage.turn(describe(b"s", STATEMENT) + SYNC, ONE + reply, stage.servers[1]) == reply
    assert tags(stage.sent(stage.servers[1])) == "PDS"


def test_a_parse_that_fails_elsewhere_is_the_binds_error() -> None:
    """The table is gone meanwhile: the client sees one error in answer to its Bind, and is in step."""
    stage = Stage(servers=2)
    stage.turn(parse("SELECT 1", b"s") + SYNC, ONE + READY)
    stage.pools.idle = [stage.servers[1]]
    assert stage.turn(bind(b"s") + execute() + SYNC, error() + READY, stage.servers[1]) == error() + READY
    assert not stage.servers[1].statements.names


def test_the_unnamed_statement_of_another_client_is_not_reused() -> None:
    """A Bind of the unnamed statement by a client that has none is told that there is none."""
    stage = Stage(prepare_once=False)
    stage.turn(pbe("SELECT 'secret'") + SYNC, RUN)
    stage.sent()
    other, _ = stage.join()
    for _ in range(2):
        stage.send(bind() + execute() + SYNC, other)
        assert tags(stage.sent()) == "CBES"
        stage.say(THREE + error("26000") + READY)
        assert tags(other.take()) == "EZ"


def test_even_when_the_close_before_it_was_skipped() -> None:
    """A client without an unnamed statement binds it behind an error: what was skipped must not count as done."""
    stage = Stage(prepare_once=False)
    stage.turn(pbe("SELECT 'secret'") + SYNC, RUN)
    stage.send(parse("broken", b"s") + FLUSH)
    stage.say(error())
    stage.send(bind() + execute() + SYNC)
    stage.say(READY)
    stage.sent()
    other, _ = stage.join()
    stage.send(bind() + execute() + SYNC, other)
    assert tags(stage.sent()) == "CBES"


def test_a_query_ends_the_unnamed_statement() -> None:
    """As in PostgreSQL: a Bind of the unnamed statement behind a Query has none."""
    stage = Stage(prepare_once=False)
    stage.turn(parse("SELECT 1") + SYNC, ONE + READY)
    stage.turn(query("SELECT 2"), done() + READY)
    stage.sent()
    stage.send(bind() + execute() + SYNC)
    assert tags(stage.sent()) == "CBES"


def test_a_query_behind_a_pipeline_ends_the_unnamed_statement_too() -> None:
    """The server has dropped it: the next client's Parse must go out."""
    stage = Stage(prepare_once=False)
    assert tags(stage.turn(pbe("SELECT 1") + FLUSH + query("SELECT 2"), ONE + TWO + done() + done() + READY)) == "12CCZ"
    stage.sent()
    stage.send(pbe("SELECT 1") + SYNC)
    assert tags(stage.sent()) == "PBES"


def test_an_unnamed_text_that_comes_again_is_prepared_once() -> None:
    """Drivers that parse the same text for every query get it planned once."""
    stage = Stage()
    stage.turn(pbe("SELECT 1") + SYNC, RUN)
    stage.turn(pbe("SELECT 2") + SYNC, RUN)
    stage.turn(pbe("SELECT 1") + SYNC, RUN)
    assert stage.servers[0].statements.names
    stage.sent()
    assert stage.turn(pbe("SELECT 1") + SYNC, AGAIN) == RUN
    assert tags(stage.sent()) == "BES"


def test_the_oldest_statements_are_closed_over_the_limit() -> None:
    """A server keeps as many statements as it was allowed; the client of an evicted one notices nothing."""
    stage = Stage(prepared_limit=2)
    for number in range(3):
        stage.turn(parse(f"SELECT {number}", b"s%d" % number) + SYNC, ONE + READY)
    stage.sent()
    assert stage.turn(parse("SELECT 3", b"s3") + SYNC, THREE + ONE + READY) == ONE + READY
    assert messages(stage.sent()) == [close(b"pgbeam_1"), parse("SELECT 3", b"pgbeam_4"), SYNC]
    assert stage.turn(bind(b"s0") + execute() + SYNC, THREE + RUN) == AGAIN
    assert messages(stage.sent())[:2] == [close(b"pgbeam_2"), parse("SELECT 0", b"pgbeam_5")]


def test_a_name_that_is_taken_is_refused_by_the_server() -> None:
    """Parse of the same name twice is an error, also when the two come in one request."""
    stage = Stage()
    stage.turn(parse("SELECT 1", b"s") + SYNC, ONE + READY)
    assert tags(stage.turn(parse("SELECT 2", b"s") + SYNC, error("42P05") + READY)) == "EZ"
    assert stage.turn(bind(b"s") + execute() + SYNC, AGAIN) == AGAIN


def test_a_name_that_is_taken_is_refused_for_pgbeams_own_statements() -> None:
    """The same for a statement that PgBeam answers itself."""
    stage = Stage()
    assert stage.send(parse("SHOW pgbeam.debug", b"s") + SYNC) == ONE + READY
    got = stage.send(parse("SHOW pgbeam.debug", b"s") + SYNC)
    assert tags(got) == "EZ"
    assert backend.error_fields(messages(got)[0])["C"] == "42P05"


def test_an_unknown_name_is_the_servers_to_refuse() -> None:
    """A name that PgBeam does not know may be one of SQL's PREPARE: it passes as it is."""
    stage = Stage()
    stage.send(bind(b"nowhere") + execute() + SYNC)
    assert messages(stage.sent())[0] == bind(b"nowhere")
    stage.say(error("26000") + READY)
    assert tags(stage.client.take()) == "EZ"


def test_close_of_a_statement_makes_its_name_free() -> None:
    """After Close a Parse may take the name again, for another text."""
    stage = Stage()
    stage.turn(parse("SELECT 1", b"s") + SYNC, ONE + READY)
    stage.turn(close(b"s") + parse("SELECT 2", b"s") + SYNC, ONE + READY)
    assert stage.client.gone is None
    assert stage.conversation.client_statements.statements[b"s"].statement.text == b"SELECT 2"


def test_close_of_nothing_is_no_error() -> None:
    """As in PostgreSQL."""
    stage = Stage()
    assert tags(stage.turn(close(b"nowhere") + SYNC, THREE + READY)) == "3Z"


def test_close_of_a_portal_goes_to_the_server() -> None:
    """Portals live on the server."""
    stage = Stage()
    reply = ONE + TWO + THREE + READY
    request = parse("SELECT 1") + bind(b"", b"p") + close(b"p", ord("P")) + SYNC
    assert stage.turn(request, reply) == reply


def test_pgbeams_own_statements_run_in_their_place_in_a_pipeline() -> None:
    """SET pgbeam.debug between two queries is answered between their replies, and the server never sees it."""
    stage = Stage()
    reply = ONE + TWO + done()
    got = stage.turn(pbe("SELECT 1") + pbe("SET pgbeam.debug = on") + pbe("SELECT 2") + SYNC, reply + reply + READY)
    assert tags(got) == "12C12C12CZ"
    assert b"pgbeam.debug" not in stage.sent()
    assert stage.conversation.session.variable("debug") == "on"


def test_pgbeams_own_statements_take_no_values() -> None:
    """A Bind that has some is refused as PostgreSQL refuses it, and nothing is set."""
    stage = Stage()
    bound = frontend.Bind(b"", b"s", (b"1", None)).to_bytes()
    parsed, refused, ready = messages(stage.send(parse("SET pgbeam.debug = on", b"s") + bound + execute() + SYNC))
    assert (parsed, ready) == (ONE, READY)
    assert b'bind message supplies 2 parameters, but prepared statement "s" requires 0' in refused
    assert b"C08P01" in refused
    assert stage.conversation.session.variable("debug") != "on"


def test_an_error_of_pgbeams_own_stops_a_pipeline_as_the_servers_would() -> None:
    """SHOW pgbeam.nonsense in a pipeline: the client sees its 42704, and the server skips to the Sync too."""
    stage = Stage()
    said = stage.turn(
        pbe("SELECT 1") + pbe("SHOW pgbeam.nonsense") + pbe("SELECT 2") + SYNC,
        ONE + TWO + done() + error("26000", 'prepared statement "pgbeam: refused" does not exist') + READY,
    )
    assert tags(said) == "12C12EZ"
    assert backend.error_fields(messages(said)[5])["C"] == "42704"


def test_a_parse_in_a_failed_transaction_is_the_servers_to_refuse() -> None:
    """Even of a statement that the server has: 25P02, not ParseComplete."""
    stage = Stage()
    stage.turn(parse("SELECT 1", b"s") + SYNC, ONE + READY)
    stage.turn(query("BEGIN"), done("BEGIN") + IN_TRANSACTION)
    stage.turn(query("SELECT 1/0"), error() + FAILED)
    stage.sent()
    stage.send(pbe("SELECT 1", b"t") + SYNC)
    assert tags(stage.sent()) == "PBES"
    stage.say(error("25P02") + FAILED)
    assert b"t" not in stage.conversation.client_statements.statements


def test_a_taken_name_in_a_failed_transaction_is_the_servers_to_refuse_too() -> None:
    """A server that lacks the statement parses next to nothing there: it gets an empty one under a name, which is taken
    then, and is closed afterwards."""
    stage = Stage()
    stage.turn(parse("SELECT 1", b"s") + SYNC, ONE + READY)
    stage.servers[0].statements.forget()
    stage.turn(query("BEGIN"), done("BEGIN") + IN_TRANSACTION)
    stage.turn(query("SELECT 1/0"), error() + FAILED)
    stage.sent()
    stage.send(parse("COMMIT", b"s") + SYNC)
    assert messages(stage.sent()) == [parse("", b"pgbeam_2"), parse("COMMIT", b"pgbeam_2"), SYNC]
    stage.say(ONE + error("42P05", 'prepared statement "pgbeam_2" already exists') + FAILED)
    assert backend.error_fields(messages(stage.client.take())[0])["M"] == 'prepared statement "s" already exists'
    stage.send(pbe("ROLLBACK") + SYNC)
    assert messages(stage.sent())[0] == close(b"pgbeam_2")


def test_rollbacks_of_failed_transactions_leave_no_statements_behind() -> None:
    """A client that prepares its ROLLBACK each time must not fill the server with names that nobody closes."""
    stage = Stage()
    for _ in range(5):
        stage.turn(query("BEGIN"), done("BEGIN") + IN_TRANSACTION)
        stage.turn(query("SELECT 1/0"), error() + FAILED)
        stage.sent()
        stage.send(pbe("ROLLBACK", b"") + SYNC)
        assert not [frame for frame in messages(stage.sent()) if frame[:1] == b"P" and b"pgbeam_" in frame]
        stage.say(ONE + TWO + done("ROLLBACK") + READY)
        stage.client.take()


def test_deallocate_all_forgets_what_the_server_had() -> None:
    """After DEALLOCATE ALL the server has none of PgBeam's names either."""
    stage = Stage()
    stage.turn(parse("SELECT 1", b"s") + SYNC, ONE + READY)
    stage.turn(query("DEALLOCATE ALL"), done("DEALLOCATE ALL") + READY)
    assert not stage.servers[0].statements.names
    assert not stage.conversation.client_statements.statements


def test_an_error_mid_pipeline_forgets_what_was_not_reached() -> None:
    """Statements behind the error do not exist, those before it do."""
    stage = Stage()
    request = parse("SELECT 1", b"a") + parse("broken", b"b") + parse("SELECT 3", b"c") + SYNC
    assert tags(stage.turn(request, ONE + error() + READY)) == "1EZ"
    assert set(stage.conversation.client_statements.statements) == {b"a"}


def test_an_answered_parse_is_remembered() -> None:
    """A client whose first execution came from a cache may bind its statement again."""
    from pgbeam_core import Answer, hookimpl
    from pgbeam_core.testing import answer

    class Cache:
        @hookimpl
        def execute(self, query: object) -> Answer:
            return answer(["a"], [["1"]])

    stage = Stage(plugins={"cache": Cache()})
    assert tags(stage.send(parse("SELECT 1", b"s") + bind(b"s") + describe() + execute() + SYNC)) == "12TDCZ"
    stage.send(bind(b"s") + execute(rows=1) + execute() + SYNC)
    assert tags(stage.sent()) == "PBEES"


def test_a_flush_between_parse_and_bind_does_not_part_them() -> None:
    """A pipeline that is flushed midway, before any reply, still binds what it parsed."""
    stage = Stage()
    stage.send(parse("SELECT 1", b"s") + FLUSH + bind(b"s"))
    stage.send(execute() + SYNC)
    assert messages(stage.sent()) == [parse("SELECT 1", b"pgbeam_1"), FLUSH, bind(b"pgbeam_1"), execute(), SYNC]


def test_a_flush_does_not_confuse_two_unnamed_statements() -> None:
    """A text that the server had unnamed before is parsed again when the same request has replaced it."""
    stage = Stage(prepare_once=False)
    stage.turn(pbe("SELECT 'a'") + SYNC, RUN)
    stage.sent()
    stage.send(pbe("SELECT 'b'") + FLUSH + pbe("SELECT 'a'") + SYNC)
    assert tags(stage.sent()) == "PBEHPBES"


def test_a_long_pipeline_without_sync_keeps_its_statement() -> None:
    """executemany of more than a megabyte goes out in parts: the second part still knows the statement."""
    from pgbeam_core.wire import frontend

    stage = Stage()
    large = frontend.Bind(b"", b"s", values=(b"x" * 700_000,)).to_bytes()
    stage.send(parse("INSERT INTO t VALUES ($1)", b"s") + (large + execute()) * 3 + SYNC)
    assert b"\x00s\x00" not in stage.sent()
