"""A circuit breaker: after some failures in a row nobody waits for a target that does not answer."""

from __future__ import annotations

from collections.abc import Callable

OPENS_AFTER = 3
"""Connection failures in a row."""
FIRST_PROBE_S = 5.0
LONGEST_PROBE_S = 60.0


class Breaker:
    """Of one target. Closed: all may connect. Open: one may, to probe, when it is time; a success closes it.

    An attempt that was allowed while it was open is the probe; what others come to that began before tells nothing new,
    unless they succeed.
    """

    __slots__ = ("_failures", "_now", "_probe_at", "_probing", "_wait")

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._failures = 0
        self._wait = FIRST_PROBE_S
        self._probe_at = 0.0
        self._probing = False

    @property
    def open(self) -> bool:
        """Whether the target counts as unreachable."""
        return self._failures >= OPENS_AFTER

    @property
    def failures(self) -> int:
        """Connection failures in a row."""
        return self._failures

    @property
    def retry_s(self) -> float | None:
        """Seconds until the next attempt may be made; None while it is closed."""
        return max(self._probe_at - self._now(), 0.0) if self.open else None

    @property
    def state(self) -> str:
        """In a word: closed, open, or probing."""
        return "closed" if not self.open else "probing" if self._probing else "open"

    def allows(self) -> bool:
        """Whether a connection may be tried now; in an open breaker that is the probe."""
        if not self.open:
            return True
        if self._probing or self._now() < self._probe_at:
            return False
        self._probing = True
        return True

    def succeeded(self) -> None:
        """The target answered, if only to refuse a login."""
        self._failures = 0
        self._wait = FIRST_PROBE_S
        self._probing = False

    def failed(self, *, probe: bool = False) -> None:
        """The target did not answer."""
        was_open = self.open
        self._failures += 1
        if probe and was_open:
            self._wait = min(2 * self._wait, LONGEST_PROBE_S)
            self._probing = False
        if self.open and (probe or not was_open):
            self._probe_at = self._now() + self._wait

    def given_up(self, *, probe: bool = False) -> None:
        """The attempt ended without an answer either way."""
        if probe:
            self._probing = False
