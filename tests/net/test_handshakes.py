"""Operators hear of handshakes that fail, and not of each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from twisted.internet.task import Clock
from twisted.logger import LogLevel, formatEvent, globalLogPublisher

from pgbeam_core.net.handshakes import EVERY_S, FailedHandshakes


@contextmanager
def heard() -> Iterator[list[str]]:
    """What operators see at the level warn."""
    lines: list[str] = []

    def observe(event: dict[str, Any]) -> None:
        if event["log_level"] >= LogLevel.warn:
            lines.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)
    try:
        yield lines
    finally:
        globalLogPublisher.removeObserver(observe)


def test_a_thousand_failures_are_one_line() -> None:
    """A scanner fills no disk; the next line says how many there were."""
    clock = Clock()
    failed = FailedHandshakes(clock.seconds)
    with heard() as lines:
        for _ in range(1000):
            failed.failed("192.0.2.7", "NO_SHARED_CIPHER")
        clock.advance(EVERY_S)
        failed.failed("192.0.2.8", "UNKNOWN_CA")
    assert failed.reasons == {"no_shared_cipher": 1000, "unknown_ca": 1}
    assert len(lines) == 2
    assert "192.0.2.7: NO_SHARED_CIPHER; 0 others" in lines[0]
    assert "192.0.2.8: UNKNOWN_CA; 999 others" in lines[1]
