"""The checker of histories finds what it is there for: each kind of violation is planted once."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .histories import SLACK_S, History, Register


def honest() -> tuple[History, list[int]]:
    """Four that were confirmed, one of which nobody knows, one that failed, a register at version 2."""
    history = History(pairs=[(1, 2), (7, 8)])
    history.failed.add(6)
    history.was_sent([1, 2, 3, 4, 5])
    history.was_committed([1, 2, 3, 4])
    history.registers[1] = register = Register()
    for moment in (10.0, 20.0):
        register.confirmed(register.next(), moment)
    history.errors["08006"] += 1
    return history, [1, 2, 3, 4, 5]


def lost(history: History, rows: list[int]) -> None:
    """A confirmed write is not there."""
    rows.remove(3)


def doubled(history: History, rows: list[int]) -> None:
    """A write is there twice."""
    rows.append(3)


def unknown_doubled(history: History, rows: list[int]) -> None:
    """One whose end nobody knows is there twice: it was tried again."""
    rows.append(5)


def failed_and_there(history: History, rows: list[int]) -> None:
    """What was rolled back is there."""
    rows.append(6)


def torn(history: History, rows: list[int]) -> None:
    """Half of a transaction is there."""
    history.was_sent([7, 8])
    rows.append(7)


def foreign(history: History, rows: list[int]) -> None:
    """A client got another one's reply."""
    history.expect("SELECT 'mine'", [("yours",)], [("mine",)])


def too_old(history: History, rows: list[int]) -> None:
    """A read is older than promised."""
    history.was_read(1, 1, 20.0 + 3.0 + SLACK_S, 2.0)


def own_write_unseen(history: History, rows: list[int]) -> None:
    """A read that may not be old at all is."""
    history.was_read(1, 0, 10.0 + SLACK_S, 0.0)


def from_nowhere(history: History, rows: list[int]) -> None:
    """A version that nobody has written."""
    history.was_read(1, 3, 30.0, 2.0)


def to_a_fenced_primary(history: History, rows: list[int]) -> None:
    """An old primary got a write after it had come back."""
    history.fenced.append({9})


def undocumented(history: History, rows: list[int]) -> None:
    """An error that no page has."""
    history.errors["XX000"] += 1


VIOLATIONS: tuple[Callable[[History, list[int]], None], ...] = (
    *(lost, doubled, unknown_doubled, failed_and_there, torn, foreign, too_old, own_write_unseen, from_nowhere),
    *(to_a_fenced_primary, undocumented),
)


def test_an_honest_history_passes() -> None:
    """What nobody knows may be there or not, and reads may be as old as is promised."""
    history, rows = honest()
    history.was_read(1, 1, 21.0, 2.0)
    history.was_read(1, 2, 21.0, 0.0)
    history.check(rows)
    history.check(rows[:-1])


@pytest.mark.parametrize("plant", VIOLATIONS, ids=lambda plant: plant.__name__)
def test_a_violation_is_found(plant: Callable[[History, list[int]], None]) -> None:
    """Whatever a bad day does not excuse fails the checker."""
    history, rows = honest()
    plant(history, rows)
    with pytest.raises(AssertionError):
        history.check(rows)
