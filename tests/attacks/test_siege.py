"""The harness itself: it sees a loop that is held, memory that is kept, a traceback and a death."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest

from pgbeam_core import ask_running
from tests.attacks.conftest import Fort
from tests.attacks.siege import MB, Report, besiege, doubling, state_dir
from tests.behaviour import frames
from tests.behaviour.beams import Beam

pytestmark = pytest.mark.pg


def harm(beam: Beam, **what: Any) -> Report:
    """A report on harm that was asked for."""
    return besiege(beam, lambda beam: ask_running(state_dir(beam), "gauge.harm", **what), settle_s=0.5)


@pytest.mark.parametrize("workers", [1, 2])
def test_who_does_no_harm_is_not_accused(fort: Fort, workers: int) -> None:
    """A client that is only there passes all checks; an attack that is refused says so."""
    for report in doubling(fort(workers=workers), lambda beam, size: beam.wire().close(), first=1, bound=2):
        report.check()
    refused = besiege(fort(workers=workers), lambda beam: beam.wire("nobody"))
    assert "does not exist" in refused.refused


def test_a_held_loop_is_seen(fort: Fort) -> None:
    """What works on the loop is measured and named; what sleeps there is measured, and not taken for work."""
    report = harm(fort(), work=0.3)
    assert 0.25 < report.held_s < 0.5
    assert "Gauge._harm" in report.where
    with pytest.raises(AssertionError, match="the loop was held"):
        report.check()
    slept = harm(fort(), sleep=0.3)
    assert slept.gap_s > 0.25
    assert slept.held_s < 0.05


def test_the_log_names_code_and_client(fort: Fort) -> None:
    """PgBeam itself says where in the code its loop was held, and for whom."""
    beam = fort(settings={"log_level": "warn"})
    deadline = time.monotonic() + 60
    said = re.compile(r"the loop was held for .* in pgbeam_gauge\.Gauge\._harm, line \d+, for <Session \d+ app@shop ")
    with beam.wire() as client, beam.wire():
        while not said.search(beam.log):  # it says so now and then only, and a loaded machine holds loops too
            client.ask(frames.query("SET pgbeam.hold = 300"))
            assert time.monotonic() < deadline, beam.log


def test_kept_memory_is_seen(fort: Fort) -> None:
    """What an attack leaves behind counts, and what it needed meanwhile."""
    report = harm(fort(), keep=100 * MB)
    assert 80 * MB < report.after - report.before < 160 * MB
    with pytest.raises(AssertionError, match="were left behind"):
        report.check(held_s=9)
    with pytest.raises(AssertionError, match="memory grew by"):
        report.check(held_s=9, grown=50 * MB)


def test_a_traceback_is_seen(fort: Fort) -> None:
    """A failure that the log tells of fails the test."""

    def attack(beam: Beam) -> None:
        with pytest.raises(Exception, match="see the log"):
            ask_running(state_dir(beam), "gauge.harm", fail=True)

    beam = fort(settings={"log_level": "warn"})
    with pytest.raises(AssertionError, match="Traceback"):
        besiege(beam, attack).check()
    beam.process.kill()
    beam.process.wait()


def test_a_death_is_seen(fort: Fort) -> None:
    """A process that ends fails the test, whatever else is well."""

    def attack(beam: Beam) -> None:
        beam.process.kill()
        beam.process.wait()

    with pytest.raises(AssertionError, match=r"not served|no reply|has ended"):
        besiege(fort(settings={"log_level": "error"}), attack)
