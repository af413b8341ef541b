"""The phases of a conversation: what may follow what, and that nobody goes another way."""

from __future__ import annotations

import pytest

from pgbeam_core.session import state
from pgbeam_core.session.state import FOLLOWS, Phase, State


def test_every_phase_has_its_row() -> None:
    """Each phase but GONE leads on, to IDLE or to where that can be reached from, and all end in GONE."""
    assert set(FOLLOWS) == set(Phase)
    assert not FOLLOWS[Phase.GONE]
    for phase in set(Phase) - {Phase.GONE}:
        assert Phase.GONE in FOLLOWS[phase]


@pytest.mark.parametrize("before", Phase)
@pytest.mark.parametrize("after", Phase)
def test_only_what_the_table_has_is_entered(before: Phase, after: Phase) -> None:
    """A step that nobody has thought of is found by the tests, not by users."""
    here = State()
    here.phase = before
    if after in FOLLOWS[before]:
        here.enter(after)
        assert here.phase is after
    else:
        with pytest.raises(AssertionError, match=f"from {before.value} to {after.value}"):
            here.enter(after)


def test_the_tests_run_with_the_check() -> None:
    """Else the table would be a wish."""
    assert state.CHECKED
