"""How far a turn's request is."""

from __future__ import annotations

import pytest

from pgbeam_core.session.progress import MAY_FOLLOW, Progress
from pgbeam_core.session.turns import Turn
from tests.session.reply_queues import Owner


def test_every_place_has_its_ways() -> None:
    """The table knows each of them, and each is left for ENDED, or there is nothing that a server would answer."""
    assert set(MAY_FOLLOW) == set(Progress)
    assert all(Progress.ENDED in ways for ways in MAY_FOLLOW.values())


@pytest.mark.parametrize("progress", Progress)
def test_a_step_that_there_is_not_is_noticed(progress: Progress) -> None:
    """All tests run with the table checked: a mistake in the code is no hang in production."""
    for then in set(Progress) - MAY_FOLLOW[progress]:
        turn = Turn(Owner(), simple=False, ended=False)
        turn.progress = progress
        with pytest.raises(AssertionError, match="a turn went from"):
            turn.enter(then)


@pytest.mark.parametrize("progress", Progress)
def test_what_is_passed_over(progress: Progress) -> None:
    """Between an error and the Sync nothing has an effect, whoever has said the error."""
    turn = Turn(Owner(), simple=False, ended=False)
    turn.progress = progress
    assert turn.is_passed_over is (progress in (Progress.SPOILT, Progress.SKIPPING))
    assert turn.ended is (progress is Progress.ENDED)
