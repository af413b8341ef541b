"""Failed logins, by the address that they came from."""

from __future__ import annotations

from collections import deque

MOST_ADDRESSES = 10_000
"""Addresses remembered; when there are more, the one that failed longest ago is forgotten."""


class FailedLogins:
    """When the logins of each address failed, as far as that is in the window."""

    def __init__(self) -> None:
        self._times: dict[str, deque[float]] = {}
        """The address that failed last comes last."""

    def __len__(self) -> int:
        return len(self._times)

    def add(self, address: str, now: float, most: int) -> None:
        """One more; no more than `most` of an address need be known."""
        times = self._times.pop(address, None) or deque()
        times.append(now)
        while len(times) > max(most, 1):
            times.popleft()
        self._times[address] = times
        if len(self._times) > MOST_ADDRESSES:
            del self._times[next(iter(self._times))]

    def count(self, address: str, now: float, window_s: float) -> int:
        """How many there were within the window."""
        times = self._times.get(address)
        if times is None:
            return 0
        while times and times[0] <= now - window_s:
            times.popleft()
        if not times:
            del self._times[address]
        return len(times)

    def counts(self, now: float, window_s: float) -> dict[str, int]:
        """How many there were, of each address that has any."""
        found = {address: self.count(address, now, window_s) for address in list(self._times)}
        return {address: count for address, count in found.items() if count}
