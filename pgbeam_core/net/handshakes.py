"""Handshakes with clients that have failed: each counts, and the log tells of them now and then."""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger

log = Logger(__name__)

EVERY_S = 10.0
"""Between two lines: whoever knocks a thousand times a second fills no disk."""


class FailedHandshakes:
    """Of one PgBeam. `now` gives monotonic seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._told_at: float | None = None
        self._untold = 0
        self.count = 0
        """Since the start."""

    def failed(self, address: str, reason: str) -> None:
        """One more, for that reason."""
        self.count += 1
        self._untold += 1
        now = self._now()
        if self._told_at is not None and now - self._told_at < EVERY_S:
            log.debug("could not accept TLS from {address}: {reason}", address=address, reason=reason)
            return
        others, self._untold, self._told_at = self._untold - 1, 0, now
        log.warn(
            "could not accept TLS from {address}: {reason}; {others} others since the last line like this",
            address=address,
            reason=reason,
            others=others,
        )
