"""Positions in the write-ahead log."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgbeam_replica.positions import Position, Positions, SessionWrites, lsn


@pytest.fixture
def positions() -> Positions:
    """The primary was at 100, 200 and 300, asked every ten seconds, and took one second to tell."""
    made = Positions()
    for number in range(3):
        made.add(Position(10.0 * number, 10.0 * number + 1, 100 * (number + 1), 100 * (number + 1) + 5))
    return made


@given(st.integers(0, 2**64 - 1))
def test_a_position_is_a_number_in_two_parts(number):
    """High and low 32 bits in hex; a position right behind a page's header is the end of the page before."""
    found = lsn(f"{number >> 32:X}/{number & 0xFFFFFFFF:X}")
    assert found == (number - number % 8192 if number % 8192 in (24, 40) else number)


def test_lag_is_the_age_of_the_oldest_position_not_replayed(positions):
    """Counted from when the primary had told it: a replica is never taken for later than it is."""
    assert positions.lag(300, asked=30) == 0
    assert positions.lag(299, asked=30) == 9
    assert positions.lag(150, asked=30) == 19
    assert positions.lag(99, asked=30) == 29
    assert Positions().lag(0, asked=30) == 0


def test_a_write_is_covered_by_the_first_position_asked_for_after_it(positions):
    """A position asked for at the time of the write or before may lie in front of it."""
    assert positions.covering(9.9) == 205
    assert positions.covering(10.0) == 305
    assert positions.covering(20.0) is None


def test_writes_are_in_once_a_covering_position_is_replayed(positions):
    """Until the primary was asked after the write, no replica will do."""
    writes = SessionWrites()
    assert writes.are_in(None, positions)
    writes.wrote(25.0, committed=True)
    assert not writes.are_in(10**9, positions)
    positions.add(Position(30.0, 31.0, 400, 400))
    assert not writes.are_in(399, positions)
    assert not writes.are_in(None, positions)
    assert writes.are_in(400, positions)
    writes.wrote(32.0, committed=True)
    assert not writes.are_in(400, positions)


def test_what_a_transaction_wrote_counts_from_its_end(positions):
    """The write-ahead log position of the commit is what others see."""
    writes = SessionWrites()
    writes.wrote(5.0, committed=False)
    assert writes.are_in(0, positions)
    writes.transaction_over(15.0)
    assert not writes.are_in(304, positions)
    assert writes.are_in(305, positions)
    writes.transaction_over(40.0)
    assert writes.are_in(305, positions)
