"""The bench of failovers: what its figures are made of."""

from __future__ import annotations

from pathlib import Path

from bench.failover import AFTER_S, Losses, logged


def test_figures_are_those_of_the_worst_client_too() -> None:
    """A gap of one client is seen though the others go on, and one that lasts to the end of the run counts."""
    losses = Losses([0.25, 1.0, 1.5], {3, 4})
    losses.commits = {3: [-0.5, 2.0, AFTER_S], 4: [0.0, 1.0, 30.0], 5: [float(second) for second in range(41)]}
    assert losses.figures() == (2, 3, 1.25, 1.0, 38.0)


def test_nobody_lost_anything() -> None:
    """No error is no second of errors."""
    losses = Losses(commits={1: [float(second) for second in range(41)]})
    assert losses.figures() == (0, 0, 0.0, 1.0, 1.0)


def test_moments_come_from_pgbenchs_logs(tmp_path: Path) -> None:
    """Of every pgbench that the client has started, and of no other client's; what failed is not counted."""
    (tmp_path / "c1-0.100").write_text("0 1 2500 0 1000 500000 10\n0 2 failed 0 1001 0 10\n")
    (tmp_path / "c1-1.101").write_text("0 1 2500 0 1004 0 10\n")
    (tmp_path / "c11-0.102").write_text("0 1 2500 0 1009 0 10\n")
    assert sorted(logged(tmp_path, 1, 1000.0)) == [0.5, 4.0]
    assert logged(tmp_path, 2, 1000.0) != []
