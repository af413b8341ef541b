"""What the end of a statement means for remembered replies."""

from __future__ import annotations

from pgbeam_cache.notes import Note
from pgbeam_cache.visits import Visit
from pgbeam_core import Result, Statement

_UNKNOWN_END = ("08", "40003", "57P", "XX")
"""SQLSTATEs after which a commit may have happened: the server is gone, perhaps while its replicas were waited for."""


def booked(visit: Visit, statement: Statement, note: Note, result: Result, *, run: bool) -> None:
    """Book what a statement wrote, or may have written before its connection was lost. `run`: a server has run it."""
    error = result.error
    if error is not None and error[0].startswith(_UNKNOWN_END) and result.source == "server":
        visit.interrupted()
        return
    visit.heard(note)
    if not run:
        return
    effect = note.effect
    if effect is None:
        # Should the latest one be outdated, everything is booked when that is found out.
        effect = note.effect_in(statement, visit.survey.latest)
    elif effect.unseen:
        effect = note.effect_in(statement, visit.survey.peek())
    if error is None:
        if effect is not None:
            visit.wrote(effect, committed=result.committed)
        if note.forgets:
            visit.discarded()
        if note.sets_role:
            visit.set_role()
    elif effect is not None and effect.anyway:
        visit.wrote(effect, committed=True)
