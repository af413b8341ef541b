"""Tables that were changed past PgBeam: what servers have prepared is not what a client would get direct."""

from __future__ import annotations

import pytest

from pgbeam_core.wire import backend
from tests.session.plugins import code
from tests.session.stage import IN_TRANSACTION, ONE, READY, SYNC, TWO, Stage, done, error, messages, pbe, query, tags

FAILED = b"Z\0\0\0\5E"
READ = "SELECT a FROM t WHERE a = $1"
STALE = backend.error_response("ERROR", "0A000", "cached plan must not change result type")
GERMAN = STALE.replace(b"cached plan must not change result type", b"gespeicherter Plan darf den Typ nicht !")


def remembered() -> Stage:
    """A client has parsed the read so often that its server has it under a name."""
    stage = Stage()
    stage.turn(pbe(READ) + SYNC, ONE + TWO + done() + READY)
    stage.turn(pbe(READ) + SYNC, ONE + TWO + done() + READY)
    stage.sent()
    stage.client.take()
    stage.send(pbe(READ) + SYNC)
    assert tags(stage.sent()) == "BES"
    return stage


@pytest.mark.parametrize("sqlstate", ["42883", "42703", "42P01", "42804", "42846"])
def test_what_fails_by_an_old_plan_is_parsed_anew(sqlstate: str) -> None:
    """Direct, the client's Parse would have met the table as it is now: so it does here, and there is no error."""
    stage = remembered()
    stage.say(error(sqlstate) + READY)
    sent = stage.sent()
    assert tags(sent).replace("C", "") == "PBES"
    stage.say(b"3\0\0\0\4" * tags(sent).count("C") + ONE + TWO + done() + READY)
    assert stage.client.take() == ONE + TWO + done() + READY


def test_what_code_of_users_has_dropped_is_parsed_anew() -> None:
    """DEALLOCATE ALL in a function takes what PgBeam has prepared for others: these do not hear of it."""
    stage = remembered()
    stage.say(error("26000", 'prepared statement "pgbeam_1" does not exist') + READY)
    assert tags(stage.sent()) == "CPBES"
    stage.say(b"3\0\0\0\4" + ONE + TWO + done() + READY)
    assert stage.client.take() == ONE + TWO + done() + READY


def test_an_error_that_stays_is_told_once() -> None:
    """The table is gone: the client hears that, after one more try."""
    stage = remembered()
    stage.say(error("42P01") + READY)
    sent = stage.sent()
    stage.say(b"3\0\0\0\4" * tags(sent).count("C") + error("42P01") + READY)
    got = messages(stage.client.take())
    assert (code(got[-2]), got[-1]) == ("42P01", READY)


@pytest.mark.parametrize("sqlstate", ["42501", "22P02", "57014"])
def test_other_errors_are_not_tried_again(sqlstate: str) -> None:
    """A right that is missing, a value that is wrong, a cancel: the first answer is the answer."""
    stage = remembered()
    stage.say(error(sqlstate) + READY)
    assert stage.sent() == b""
    assert stage.client.take() == ONE + error(sqlstate) + READY


@pytest.mark.parametrize("failure", [error("42883"), STALE, GERMAN])
def test_after_an_error_in_a_transaction_parse_is_the_servers(failure: bytes) -> None:
    """The transaction has failed, as it must; a client that parses the text again gets what it means now."""
    stage = remembered()
    stage.say(TWO + done() + READY)
    stage.turn(query("BEGIN"), done("BEGIN") + IN_TRANSACTION)
    stage.sent()
    stage.send(pbe(READ) + SYNC)
    assert tags(stage.sent()) == "BES"
    stage.say(failure + FAILED)
    stage.turn(query("ROLLBACK"), done("ROLLBACK") + READY)
    stage.sent()
    stage.send(pbe(READ) + SYNC)
    assert "P" in tags(stage.sent())


def test_a_stale_plan_puts_all_servers_in_doubt() -> None:
    """Where one statement has other columns now, others may have too, on all servers."""
    stage = remembered()
    before = stage.epoch
    stage.say(STALE + READY)
    assert stage.epoch > before


def test_errors_in_postgresqls_words_have_its_routine() -> None:
    """asyncpg, pgjdbc and postgres.js decide by it whether to prepare anew."""
    fields = backend.error_fields(STALE)
    assert (fields["F"], fields["R"]) == ("plancache.c", "RevalidateCachedQuery")
    assert "R" not in backend.error_fields(error("0A000", "transaction blocks are not allowed"))
