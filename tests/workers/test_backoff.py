"""How long to wait before a worker is replaced."""

from __future__ import annotations

from pgbeam_core.workers.backoff import LONGEST_S, SHORTEST_S, STEADY_S, Backoff


def test_who_dies_young_again_and_again_is_waited_for_longer() -> None:
    """A worker that something kills at once does not keep the machine busy."""
    backoff = Backoff()
    waits = [backoff.after(1.0) for _ in range(12)]
    assert waits[:4] == [SHORTEST_S, 2 * SHORTEST_S, 4 * SHORTEST_S, 8 * SHORTEST_S]
    assert waits[-1] == LONGEST_S


def test_an_accident_is_forgiven() -> None:
    """After a long life the next one begins at once, and so does the one after that."""
    backoff = Backoff()
    for _ in range(5):
        backoff.after(1.0)
    assert backoff.after(STEADY_S) == SHORTEST_S
    assert backoff.after(1.0) == 2 * SHORTEST_S
