"""Misses of one key at one time share one query to the server: the first client leads, the others follow."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

from twisted.internet.defer import Deferred

from pgbeam_cache.storage.packing import Versions
from pgbeam_core import Answer, Query

Lead = Callable[[Query, "Flight"], None]
"""Get a query ready to go to the server as the leader of a flight."""


class Follower:
    """A client that waits for another's reply. `query` goes alone when it has waited too long."""

    __slots__ = ("deferred", "on_landing", "query", "timer")

    def __init__(self, query: Query, on_landing: Callable[[], None]) -> None:
        self.query = query
        self.on_landing = on_landing
        """To be called just before it is answered."""
        self.deferred: Deferred[Answer | None]
        self.timer: Any


class Flight:
    """One query on its way to the server. write_place, versions: of the writes here, and anywhere, when it left."""

    __slots__ = ("followers", "key", "versions", "write_place")

    def __init__(self, key: Hashable, write_place: int, versions: Versions) -> None:
        self.key = key
        self.write_place = write_place
        self.versions = versions
        self.followers: dict[Follower, None] = {}


class Flights:
    """The flights of this process by key. `lead` makes a follower's query the one that a flight is about."""

    def __init__(self, reactor: Any, lead: Lead) -> None:
        self._reactor = reactor
        self._lead = lead
        self._flights: dict[Hashable, Flight] = {}

    def __len__(self) -> int:
        return len(self._flights)

    def get(self, key: Hashable) -> Flight | None:
        """The flight that newcomers may join."""
        return self._flights.get(key)

    def start(self, flight: Flight) -> None:
        """From now on newcomers join this one, in place of an older one of its key."""
        self._flights[flight.key] = flight

    def follow(
        self, flight: Flight, query: Query, seconds: float, on_landing: Callable[[], None]
    ) -> Deferred[Answer | None]:
        """Wait for the reply; None comes when the query has to go to the server itself. Cancelling leaves."""
        follower = Follower(query, on_landing)
        follower.deferred = Deferred(lambda _: self._leave(flight, follower))
        follower.timer = self._reactor.callLater(seconds, self._alone, flight, follower)
        flight.followers[follower] = None
        return follower.deferred

    def landed(self, flight: Flight, answer: Answer) -> None:
        """The reply has come: it is everybody's."""
        self._close(flight)
        for follower in self._all(flight):
            follower.on_landing()
            follower.deferred.callback(answer)

    def again(self, flight: Flight, ask: Callable[[Query], Any]) -> None:
        """A reply was found on the way: everybody asks for it anew, each by its own terms."""
        self._close(flight)
        for follower in self._all(flight):
            answer = ask(follower.query)
            if isinstance(answer, Deferred):
                answer.addCallback(follower.deferred.callback)
            else:
                follower.deferred.callback(answer)

    def scatter(self, flight: Flight) -> None:
        """The reply cannot be shared, and the next one could not either: all go alone."""
        self._close(flight)
        for follower in self._all(flight):
            follower.deferred.callback(None)

    def failed(self, flight: Flight) -> None:
        """The leader got an error or left: the next one leads.

        Not at once, because it too may be refused at once: a long row of followers would end up on the stack.
        """
        if flight.followers:
            self._reactor.callLater(0, self._next, flight)
        else:
            self._close(flight)

    def _next(self, flight: Flight) -> None:
        if not flight.followers:
            self._close(flight)
            return
        follower = next(iter(flight.followers))
        self._leave(flight, follower)
        self._lead(follower.query, flight)
        follower.deferred.callback(None)

    def _alone(self, flight: Flight, follower: Follower) -> None:
        del flight.followers[follower]
        follower.deferred.callback(None)

    def _leave(self, flight: Flight, follower: Follower) -> None:
        if flight.followers.pop(follower, follower) is None and follower.timer.active():
            follower.timer.cancel()

    def _all(self, flight: Flight) -> list[Follower]:
        followers = list(flight.followers)
        for follower in followers:
            self._leave(flight, follower)
        return followers

    def _close(self, flight: Flight) -> None:
        if self._flights.get(flight.key) is flight:
            del self._flights[flight.key]
