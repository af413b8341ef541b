"""Logins: clients that wait for a server to log in on, and those whose server is being asked to let them in.

Anybody may begin a login. So logins have places of their own, fewer than there are servers; no address can have all of
them; and whoever does not answer loses his place as soon as somebody else waits for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import chain, islice

from pgbeam_core import PoolExhausted
from pgbeam_pool.waiting import Waiter

GRACE_S = 1.0
"""Seconds for a client to answer its server while others wait."""
CROWDED_GRACE_S = 0.25
"""The same while more wait than there are places: a round trip around the world."""
MOST_WAITING = 10_000
_LOOK = 256
"""Of those who wait, looked at for the one whose user has least."""
TOO_MANY = "too many connections that have not logged in"


class LoginQueue:
    """Of one project. Waiting ones stand in one queue for each address, and addresses take turns."""

    def __init__(self) -> None:
        self.waiting = 0
        self._queues: dict[str, dict[Waiter, None]] = {}
        """By address, the one whose turn it is first."""
        self._places: dict[Waiter, float | None] = {}
        """Whose server is being opened, and since when it is its client who makes it wait."""
        self._of: Counter[str] = Counter()
        """Places by address."""

    @property
    def places(self) -> int:
        return len(self._places)

    def wait(self, waiter: Waiter) -> bool:
        """Queue, or fail where too many do."""
        if self.waiting >= MOST_WAITING:
            waiter.fail(PoolExhausted(TOO_MANY))
            return False
        self._queues.setdefault(waiter.address, {})[waiter] = None
        self.waiting += 1
        return True

    def forget(self, waiter: Waiter) -> None:
        """It does not wait any more, and has no place."""
        queue = self._queues.get(waiter.address)
        if queue is not None and waiter in queue:
            del queue[waiter]
            self.waiting -= 1
            if not queue:
                del self._queues[waiter.address]
        if waiter in self._places:
            del self._places[waiter]
            self._of[waiter.address] -= 1
            if not self._of[waiter.address]:
                del self._of[waiter.address]

    def next(self, places: int) -> Waiter | None:
        """Who may have a place now, if there are that many: one address alone leaves a quarter to others."""
        if not self.waiting or len(self._places) >= places:
            return None
        most = max(1, places - places // 4)
        address = next((address for address in self._queues if self._of[address] < most), None)
        return None if address is None else next(iter(self._queues[address]))

    def least(self, share: Callable[[str], float]) -> Waiter | None:
        """Whose user has least, and of those the one that has waited for longest; as far as a look at some tells."""
        firsts = islice(chain.from_iterable(islice(queue, _LOOK // 4) for queue in self._queues.values()), _LOOK)
        return min(firsts, key=lambda waiter: (share(waiter.identity.user), waiter.since), default=None)

    def take_place(self, waiter: Waiter) -> None:
        """A server is being opened for it. Its address goes behind the others."""
        self.forget(waiter)
        queue = self._queues.pop(waiter.address, None)
        if queue is not None:
            self._queues[waiter.address] = queue
        self._places[waiter] = None
        self._of[waiter.address] += 1

    def look(self, now: float) -> None:
        """Called again and again: who is waited for, and since when?"""
        for waiter, since in self._places.items():
            if waiter.relay is None or not waiter.relay.unanswered:
                self._places[waiter] = None
            elif since is None:
                self._places[waiter] = now

    @property
    def grace(self) -> float:
        """Seconds that a client has for its answer now."""
        return CROWDED_GRACE_S if self.waiting > len(self._places) else GRACE_S

    def displace(self, before: float) -> bool:
        """Take the place of the one that has not answered for longest, since `before` at least. False if none has.

        Of the address with most places first: who knocks most is let in last.
        """
        late = [
            (-self._of[waiter.address], since, waiter) for waiter, since in self._places.items() if since is not None
        ]
        late = [entry for entry in late if entry[1] <= before]
        if not late:
            return False
        waiter = min(late, key=lambda entry: entry[:2])[2]
        waiter.fail(PoolExhausted(TOO_MANY))
        waiter.pool.cancelled(waiter)
        return True

    def opening_of(self, pool: object) -> list[Waiter]:
        """Whose server of that pool is being opened."""
        return [waiter for waiter in self._places if waiter.pool is pool]

    def of_pool(self, pool: object) -> list[Waiter]:
        """Who waits for a server of that pool."""
        return [waiter for queue in self._queues.values() for waiter in queue if waiter.pool is pool]
