"""When what is known of tables, functions and roles counts as outdated: not before others can see what has changed."""

from __future__ import annotations

import pytest

from pgbeam_core.wire import frontend
from tests.session.stage import IN_TRANSACTION, READY, Stage, done, query


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK", "PREPARE TRANSACTION 'x'"])
def test_what_is_learnt_while_a_definition_is_open_is_outdated_at_its_end(end: str) -> None:
    """A catalog that was read while the transaction was open does not show what it defined."""
    stage = Stage()
    stage.turn(query("BEGIN"), done("BEGIN") + IN_TRANSACTION)
    stage.turn(query("CREATE TABLE t ()"), done("CREATE TABLE") + IN_TRANSACTION)
    read_at = stage.epoch
    stage.turn(query(end), done(end.split("'", maxsplit=1)[0].strip()) + READY)
    assert stage.epoch > read_at


def test_a_transaction_without_definitions_outdates_nothing() -> None:
    """Plain writes leave what is prepared and known as it is."""
    stage = Stage()
    for sql, tag in (("BEGIN", "BEGIN"), ("UPDATE t SET v = 1", "UPDATE 1")):
        stage.turn(query(sql), done(tag) + IN_TRANSACTION)
    stage.turn(query("COMMIT"), done("COMMIT") + READY)
    assert stage.epoch == 0


def test_a_definition_outdates_once_its_reply_is_complete() -> None:
    """CommandComplete comes before the commit: who looked in between has to look again."""
    stage = Stage()
    stage.send(query("CREATE TABLE t ()"))
    stage.say(done("CREATE TABLE"))
    read_at = stage.epoch
    stage.say(READY)
    assert stage.epoch > read_at


def test_two_phase_commit_outdates() -> None:
    """Whatever was prepared, definitions perhaps, is there now."""
    stage = Stage()
    stage.turn(query("COMMIT PREPARED 'x'"), done("COMMIT PREPARED") + READY)
    assert stage.epoch > 0


def test_a_lost_server_may_have_committed() -> None:
    """The outcome of a definition whose connection is lost is unknown, so nothing that was known holds."""
    stage = Stage()
    stage.send(query("CREATE TABLE t ()"))
    stage.servers[0].connectionLost()
    assert stage.epoch > 0


def test_a_client_that_leaves_in_commit_may_have_committed() -> None:
    """The server goes on with what it was sent."""
    stage = Stage()
    stage.turn(query("BEGIN"), done("BEGIN") + IN_TRANSACTION)
    stage.turn(query("ALTER TABLE t ADD b int"), done("ALTER TABLE") + IN_TRANSACTION)
    stage.send(query("COMMIT"))
    read_at = stage.epoch
    stage.conversation.gone("left")
    assert stage.epoch > read_at


def test_terminate_is_not_an_end_of_definitions_that_were_never_made() -> None:
    """A client that has defined nothing goes without a trace."""
    stage = Stage()
    stage.turn(query("SELECT 1"), done("SELECT 1") + READY)
    stage.send(frontend.TERMINATE)
    assert stage.epoch == 0
