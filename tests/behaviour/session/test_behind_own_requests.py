"""A plain statement that stands behind a request of PgBeam's own."""

from __future__ import annotations

import pytest

from tests.session.stage import ONE, READY, SYNC, TWO, Stage, done, pbe, query

READ = "SELECT a FROM t"


@pytest.mark.parametrize("together", [True, False])
def test_a_parse_is_completed_once(together: bool) -> None:
    """The client's settings go ahead of its request: however the replies arrive, it hears ParseComplete once."""
    stage = Stage()
    other, _ = stage.join()
    for _ in range(2):  # then the server has it under a name, and Parse is PgBeam's to answer
        stage.send(pbe(READ) + SYNC, other)
        stage.say(ONE + TWO + done() + READY)
    stage.turn(query("SET work_mem = '1MB'"), done("SET") + READY)
    stage.send(pbe(READ) + SYNC, other)
    stage.say(done("RESET") + READY)
    stage.say(TWO + done() + READY)
    other.take()
    assert stage.send(pbe(READ) + SYNC) == b""
    replies = [done("SET") + READY, TWO + done() + READY]
    for data in [b"".join(replies)] if together else replies:
        stage.say(data)
    assert stage.client.take() == ONE + TWO + done() + READY
