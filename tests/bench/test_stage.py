"""What is spent on what."""

from __future__ import annotations

from bench.stage import Spent


def test_what_connecting_costs_is_taken_off() -> None:
    """Costs are those of a transaction, however short the run and however many its clients."""
    run = Spent(proxy_s=1.5, postgres_s=2.0, client_s=0.5, units=1_064)
    connecting = Spent(proxy_s=0.5, postgres_s=1.0, client_s=0.25, units=64)
    assert run.less(connecting).per(run.units - connecting.units) == Spent(0.001, 0.001, 0.00025, 1)


def test_nothing_costs_less_than_nothing() -> None:
    """CPU time comes in steps, so a short run may seem cheaper than its connecting."""
    assert Spent(proxy_s=0.01).less(Spent(proxy_s=0.02)).proxy_s == 0
