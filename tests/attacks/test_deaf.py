"""Clients that do not read what they are told."""

from __future__ import annotations

import time

import pytest

from tests.attacks.conftest import Fort
from tests.attacks.siege import MB, besiege
from tests.behaviour import frames
from tests.behaviour.beams import Beam

pytestmark = pytest.mark.pg


def test_notifications_for_a_client_that_does_not_read(fort: Fort) -> None:
    """80 MB of notifications wait at PostgreSQL, not in PgBeam's memory."""

    def attack(beam: Beam) -> None:
        with beam.wire() as deaf, beam.cluster.connect() as other:
            deaf.ask(frames.query("LISTEN news"))
            other.execute(
                "SELECT count(pg_notify('news', repeat('x', 7900) || i)) FROM generate_series(1, 10000) i",
                prepare=False,
            )
            time.sleep(1)

    besiege(fort(), attack).check(grown=32 * MB)


@pytest.mark.parametrize("sql", ["SELECT repeat('x', 100000)", "SHOW pgbeam.debug", "no such thing"])
def test_a_pipeline_whose_replies_nobody_reads(fort: Fort, sql: str) -> None:
    """A client that only sends is not read any more either, whoever answers it."""

    def attack(beam: Beam) -> None:
        with beam.wire() as deaf:
            deaf.socket.settimeout(1)
            batch = frames.query(sql) * 1000
            for _ in range(2000):
                deaf.socket.sendall(batch)

    report = besiege(fort(), attack)
    report.check(grown=32 * MB)
    assert report.refused, "it was read for ever"
