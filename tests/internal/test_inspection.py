"""Servers that answer the question what a session has left on them with something else."""

from __future__ import annotations

from typing import Any

import pytest

from pgbeam_core.internal.inspection import Inspection, InspectionResult
from pgbeam_core.session.turns import Turn
from pgbeam_core.wire import backend


def answered(owner: Any, row: bytes) -> None:
    """The server answers with that row."""
    owner.deliver(row)
    owner.turn_over(Turn(owner, simple=True), backend.READY_IDLE)


@pytest.mark.parametrize(
    "row",
    [
        backend.data_row(["one column"]),
        backend.data_row(["pin", "two columns"]),
        backend.data_row([None]),
        backend.data_row(["kept", "", "many"]),
        backend.data_row([]),
        b"D\0\0\0\x06\0\x05",
        b"D\0\0\0\x0a\0\x01\0\0\0\x09",
    ],
)
def test_what_is_no_answer_about_the_state_is_told_as_an_error(row: bytes) -> None:
    """Once, so that the server is closed and its client goes on."""
    told: list[tuple[InspectionResult | None, str]] = []
    answered(Inspection(lambda found, reason: told.append((found, reason))), row)
    ((found, reason),) = told
    assert found is None
    assert reason
