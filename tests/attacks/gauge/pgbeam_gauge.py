"""A plugin for tests alone: measures how long the loop is held, more finely than the product does.

`gauge.read` on the control socket gives what was measured since it was last asked, of each worker. `gauge.harm`
does harm, for the harness to see: `work` and `sleep` seconds on the loop, `keep` bytes that stay, `fail` in the log.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

from pgbeam_core import Beam, hookimpl
from pgbeam_core.telemetry import watchdog

watchdog.BEAT_S = 0.004
watchdog.REST_S = float("inf")  # it never lets the loop sleep


class Gauge:
    """A watchdog that begins anew each time it is read."""

    def __init__(self) -> None:
        self._beam: Beam
        self._watchdog: watchdog.Watchdog
        self._kept: list[bytes] = []

    @hookimpl
    def startup(self, beam: Beam) -> None:
        """Begin to measure."""
        self._beam = beam
        self._begin()
        beam.control.answer("gauge.read", self._read, merge=lambda results: [row for rows in results for row in rows])
        beam.control.answer("gauge.harm", self._harm)

    @hookimpl
    def shutdown(self) -> None:
        """Measure no more."""
        self._watchdog.stop()

    @hookimpl
    def variable(self, name: str, value: str | None) -> str | None:
        """`SET pgbeam.hold = 200` holds the loop for so many milliseconds."""
        if name != "hold":
            return None
        self._harm({"work": int(value or 0) / 1000})
        return value or "0"

    def _begin(self) -> None:
        self._watchdog = watchdog.Watchdog(self._beam.reactor)
        self._watchdog.start()

    def _read(self, _: Mapping[str, Any]) -> list[dict[str, Any]]:
        read = self._watchdog
        read.stop()
        self._begin()
        return [{"pid": os.getpid(), "held_s": read.longest_held_s, "gap_s": read.longest_s, "where": read.worst}]

    def _harm(self, request: Mapping[str, Any]) -> None:
        until = time.thread_time() + request.get("work", 0)
        while time.thread_time() < until:
            pass
        time.sleep(request.get("sleep", 0))
        self._kept.append(b"x" * request.get("keep", 0))
        if "fail" in request:
            raise ValueError("harm was asked for")


gauge = Gauge()
