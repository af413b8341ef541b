"""Which queries become spans, where only some do."""

from __future__ import annotations

import random

import pytest

from pgbeam_otel.chance import Chance


@pytest.mark.parametrize("rate", [0.001, 0.01, 0.25, 0.9, 0.9999])
def test_as_many_are_chosen_as_is_wanted(rate: float) -> None:
    """The share is the rate, and they do not come in steps: a query that repeats regularly is met, too."""
    chance = Chance(random.Random(7).randbytes)
    count = 200_000
    chosen = [number for number in range(count) if chance.hits(rate)]
    assert abs(len(chosen) - rate * count) < 6 * (rate * (1 - rate) * count) ** 0.5 + 1
    assert len({number % 10 for number in chosen}) == 10


def test_none_and_all() -> None:
    """0 and 1 are no matter of chance, and another rate holds from the next query on."""
    chance = Chance(random.Random(7).randbytes)
    assert not any(chance.hits(0) for _ in range(100))
    assert all(chance.hits(1) for _ in range(100))
    chance.hits(0.0001)
    assert sum(chance.hits(0.5) for _ in range(100)) > 20
