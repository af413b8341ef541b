"""What the end of a statement means for remembered replies."""

from __future__ import annotations

from pgbeam_cache.consistency.session_state import SessionState
from pgbeam_cache.policy.cacheability import Cacheability
from pgbeam_core import Result, Statement

_UNKNOWN_END = ("08", "40003", "57P", "XX")
"""SQLSTATEs after which a commit may have happened: the server is gone, perhaps while its replicas were waited for."""


def record_writes(
    state: SessionState, statement: Statement, note: Cacheability, result: Result, *, run: bool, times: int = 1
) -> None:
    """Book what a statement wrote, or may have written before its connection was lost. `run`: a server has run it.

    `times`: so many executions, one after the other, have ended in that way.
    """
    error = result.error
    if error is not None and error[0].startswith(_UNKNOWN_END) and result.source == "server":
        state.interrupted()
        return
    for _ in range(times):
        state.heard(note)
    if not run:
        return
    effect = note.effect
    if effect is None:
        # Should the latest one be outdated, everything is recorded when that is found out.
        effect = note.effect_in(statement, state.survey.latest)
    elif effect.unseen:
        effect = note.effect_in(statement, state.survey.peek())
    if error is None:
        if effect is not None:
            state.wrote(effect, committed=result.committed)
        if note.forgets:
            state.discarded()
        if note.sets_role:
            state.set_role()
    elif effect is not None and effect.anyway:
        state.wrote(effect, committed=True)
