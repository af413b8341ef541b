"""Strings that PostgreSQL reads as the present moment when they become a date or a time."""

from __future__ import annotations

import re

LOOK_BYTES = 64 * 1024
"""Longer values are not looked at: they may mention anything."""

# A letter on either side makes another word of it; the date parser takes all else as separators ("%now%" is a time).
_CLOCK = re.compile(rb"(?<![a-z])(?:now|today|tomorrow|yesterday)(?![a-z])", re.IGNORECASE)


def mentions_clock(value: bytes) -> bool:
    """Whether a literal or a parameter value might mean now, today, tomorrow or yesterday under a cast to date or time.

    It finds the word anywhere in the value ("{now}", "[today,)", " Tomorrow 10:00"), so arrays and ranges count.
    """
    return len(value) > LOOK_BYTES or _CLOCK.search(value) is not None


def may_mention_clock(sql: bytes) -> bool:
    """A cheap first question about a whole text: False is certain."""
    if len(sql) > LOOK_BYTES:
        return True
    lowered = sql.lower()
    return b"now" in lowered or b"today" in lowered or b"tomorrow" in lowered or b"yesterday" in lowered
