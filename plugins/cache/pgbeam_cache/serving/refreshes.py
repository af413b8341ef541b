"""Refreshes in the background: one at a time for a key, each with a limit, all of them ended with the cache."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from pgbeam_core import Beam, Result

_PAUSE_S = 1.0
"""After a failed refresh the next one of the same key waits that long."""
_MOST_PAUSES = 10_000

log = Logger(__name__)


class Refreshes:
    """Runs queries again. `failed` is called once for each that gave no reply to keep."""

    def __init__(self, beam: Beam, failed: Callable[[], None]) -> None:
        self._beam = beam
        self._failed = failed
        self._running: dict[bytes, Deferred[Any]] = {}
        self._not_before: dict[bytes, float] = {}

    def __len__(self) -> int:
        return len(self._running)

    def start(
        self, key: bytes, run: Callable[[], Deferred[Result]], seconds: float, keep: Callable[[Result], bool]
    ) -> bool:
        """Refresh a reply, unless that is going on or has just failed; gives whether it was started.

        `run` runs its query again; `keep` takes the result and tells whether it could be kept.
        """
        now = self._beam.now()
        if key in self._running or self._not_before.get(key, 0.0) > now:
            return False
        self._not_before.pop(key, None)
        running = self._running[key] = maybeDeferred(run)
        running.addTimeout(seconds, self._beam.reactor)
        running.addCallback(keep)
        running.addErrback(_no)
        running.addCallback(self._over, key)
        return True

    def close(self) -> None:
        """Give up whatever is going on."""
        for running in list(self._running.values()):
            running.cancel()

    def _over(self, kept: bool, key: bytes) -> None:
        del self._running[key]
        if not kept:
            if len(self._not_before) >= _MOST_PAUSES:
                self._not_before.clear()
            self._not_before[key] = self._beam.now() + _PAUSE_S
            self._failed()


def _no(failure: Failure) -> bool:
    log.debug("a refresh failed: {error}", error=failure.getErrorMessage())
    return False
