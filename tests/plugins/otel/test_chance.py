"""Which queries become spans, where only some do."""

from __future__ import annotations

import random

import pytest

from pgbeam_otel.chance import Chance


@pytest.mark.parametrize("rate", [0.001, 0.01, 0.25, 0.9, 0.9999])
def test_as_many_are_chosen_as_is_wanted(rate: float) -> None:
    """The share is the rate, and they do not come in steps: a query that repeats regularly is met, too."""
    chance = Chance(random.Random(7).randbytes, rate)
    count = 200_000
    chosen = [number for number in range(count) if chance.hits()]
    assert abs(len(chosen) - rate * count) < 6 * (rate * (1 - rate) * count) ** 0.5 + 1
    assert len({number % 10 for number in chosen}) == 10


def test_none_and_all() -> None:
    """0 and 1 are no matter of chance."""
    assert not any(Chance(random.Random(7).randbytes, 0).hits() for _ in range(100))
    all_of_them = Chance(random.Random(7).randbytes, 1)
    assert all(all_of_them.hits() for _ in range(100))


def test_who_counts_for_himself_is_counted() -> None:
    """Those that are passed over without asking are none more and none less."""
    asked, unasked = (Chance(random.Random(7).randbytes, 0.1) for _ in range(2))
    chosen = [asked.hits() for _ in range(1000)]
    for one in chosen:
        if unasked.passed_over:
            unasked.passed_over -= 1
            assert not one
        else:
            assert one
            assert unasked.hits()
