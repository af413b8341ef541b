"""Servers that answer the question who a database is with something else."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred

from pgbeam_core.net.identifying import Identification, Told
from pgbeam_core.session.turns import Turn
from pgbeam_core.wire import backend


def answered(owner: Any, row: bytes) -> None:
    """The server answers with that row."""
    owner.deliver(row)
    owner.turn_over(Turn(owner, simple=True), backend.READY_IDLE)


@pytest.mark.parametrize("oid", ["x", "", "-1", "²", "1.5"])
def test_what_is_no_answer_about_the_identity_tells_nothing(oid: str) -> None:
    """A number that is none is not taken for an identifier."""
    asked = Identification()
    got: list[Told] = []
    answer: Deferred[Told] = asked.answer
    answer.addCallback(got.append)
    answered(asked, backend.data_row([oid, "2", "3", "read committed", "f", "f"]))
    assert got == [Told()]
