"""Failed logins, by address."""

from __future__ import annotations

from collections import deque

WINDOW_S = 60.0
MOST_ADDRESSES = 10_000
"""Addresses remembered; when there are more, the one that failed longest ago is forgotten."""


class FailedLogins:
    """When the logins of each address failed, as far as that is in the window."""

    def __init__(self) -> None:
        self._times: dict[str, deque[float]] = {}
        """The address that failed last comes last."""

    def __len__(self) -> int:
        return len(self._times)

    def add(self, address: str, now: float) -> None:
        times = self._times.pop(address, None) or deque()
        times.append(now)
        self._times[address] = times
        if len(self._times) > MOST_ADDRESSES:
            del self._times[next(iter(self._times))]

    def count(self, address: str, now: float) -> int:
        """How many there were in the last minute."""
        times = self._times.get(address)
        if times is None:
            return 0
        while times and times[0] <= now - WINDOW_S:
            times.popleft()
        if not times:
            del self._times[address]
        return len(times)
