"""Handshakes with clients that have failed: each counts, and the log tells of them now and then."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

from twisted.logger import Logger

log = Logger(__name__)

EVERY_S = 10.0
"""Between two lines: whoever knocks a thousand times a second fills no disk."""


MOST_REASONS = 50
"""Reasons with a count of their own: clients have a say in what they are."""
_OTHER = "other"
_WORDS = re.compile(r"[A-Z0-9_]{1,60}")


class FailedHandshakes:
    """Of one PgBeam. `now` gives monotonic seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._told_at: float | None = None
        self._untold = 0
        self.reasons: Counter[str] = Counter()
        """How many since the start, by OpenSSL's words for why."""

    def failed(self, address: str, reason: str) -> None:
        """One more, for that reason."""
        self.reasons[self._label(reason)] += 1
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

    def _label(self, reason: str) -> str:
        label = reason.lower() if _WORDS.fullmatch(reason) else _OTHER
        return label if label in self.reasons or len(self.reasons) < MOST_REASONS else _OTHER
