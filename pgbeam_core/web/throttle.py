"""How often somebody may try to get in who does not know how."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable

from pgbeam_core.web.replies import Refused

MOST_FAILURES = 10
"""Wrong tokens and passwords of one address within WINDOW_S; after that it has to wait, whatever it brings."""
WINDOW_S = 60.0
MOST_ADDRESSES = 1_000
"""Addresses whose failures are remembered; beyond that those of all others count together."""
_EVERYBODY = ""


class LoginThrottle:
    """Counts the failures of each address."""

    def __init__(self, now: Callable[[], float], neighbourhood: Callable[[str], str]) -> None:
        self._now = now
        self._neighbourhood = neighbourhood
        self._failed: OrderedDict[str, deque[float]] = OrderedDict()

    def check(self, address: str) -> None:
        """Raises Refused, 429, after too many."""
        where = self._where(address)
        failures = self._failed.get(where)
        if failures is None:
            return
        self._forget_old(where, failures)
        if len(failures) >= MOST_FAILURES:
            wait = str(max(1, int(failures[0] + WINDOW_S - self._now()) + 1))
            told = "too many wrong tokens or passwords from this address"
            raise Refused(429, told, f"Wait {wait} s.", Retry_After=wait)

    def failed(self, address: str) -> None:
        """One more. A try whose outcome is not known yet counts as one until it is `forgiven`."""
        self._failed.setdefault(self._where(address), deque()).append(self._now())

    def forgive(self, address: str) -> None:
        """The last one that was counted was no failure."""
        where = self._where(address)
        failures = self._failed.get(where)
        if failures:
            failures.pop()
            if not failures:
                del self._failed[where]

    def _where(self, address: str) -> str:
        """Where failures are counted; no more addresses are remembered than there is room for."""
        address = self._neighbourhood(address)
        if address in self._failed or len(self._failed) < MOST_ADDRESSES:
            return address
        oldest, failures = next(iter(self._failed.items()))
        self._forget_old(oldest, failures)
        return address if len(self._failed) < MOST_ADDRESSES else _EVERYBODY

    def _forget_old(self, address: str, failures: deque[float]) -> None:
        while failures and failures[0] <= self._now() - WINDOW_S:
            failures.popleft()
        if not failures:
            self._failed.pop(address, None)
