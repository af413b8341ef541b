"""A pool's places are shared fairly between users: one user's flood does not starve another."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from pgbeam_core import Identity, SettingsError
from pgbeam_core.settings.build import build
from pgbeam_pool.settings import PoolSettings
from tests.plugins.pool.machinery import ANNA, BOB, Asked, Machinery

CARL = Identity("carl", "shop")
TURN = 0.01
"""Seconds that each query of a flood takes."""


class Floods:
    """Users who each want more servers than there are, all of the time; and what each has got."""

    def __init__(self, **settings: Any) -> None:
        self.machinery = Machinery(wait_timeout_s=0, **settings)
        self.machinery.openings.at_once = True
        self.asked: list[Asked] = []
        self.served: Counter[str] = Counter()
        self.opened = 0

    def flood(self, identity: Identity, clients: int) -> None:
        self.asked += [self.machinery.lease(identity) for _ in range(clients)]

    def run(self, seconds: float) -> None:
        """Whoever has a server gives it back after a turn and asks anew."""
        for _ in range(round(seconds / TURN)):
            self.machinery.clock.advance(TURN)
            self.machinery.budget.watch(self.machinery.clock.seconds())
            for place, asked in enumerate(self.asked):
                if asked.lease is not None:
                    identity = asked.server.identity
                    asked.lease.release()
                    self.served[identity.user] += 1
                    self.asked[place] = self.machinery.lease(identity)
            self.machinery.check()

    @property
    def places(self) -> dict[str, int]:
        """Servers by user."""
        return dict(self.machinery.budget.waiting.places)


def test_a_flood_leaves_others_their_part() -> None:
    """A user who comes to a pool that another one fills gets half of it, as servers come back, and keeps it."""
    floods = Floods(max_active=10)
    floods.flood(ANNA, 200)
    floods.run(0.1)
    assert floods.places == {"anna": 10}
    floods.flood(BOB, 200)
    floods.run(0.1)
    assert floods.places == {"anna": 5, "bob": 5}
    before = floods.machinery.budget.waiting.turns
    floods.run(2)
    assert floods.places == {"anna": 5, "bob": 5}
    assert floods.machinery.budget.waiting.turns == before, "no server is closed and opened for nothing"


def test_one_query_is_not_behind_a_flood() -> None:
    """Who wants one server has it as soon as one comes back, though a thousand asked before."""
    machinery = Machinery(max_active=2)
    machinery.openings.at_once = True
    holders = [machinery.leased() for _ in range(2)]
    for _ in range(1000):
        machinery.lease()
    bob = machinery.lease(BOB)
    assert bob.waits
    holders[0].lease.release()  # type: ignore[union-attr]
    assert bob.lease is not None


def test_a_quiet_user_keeps_what_he_uses() -> None:
    """A client that asks now and then finds its server again, however many others wait for a place."""
    floods = Floods(max_active=4)
    floods.flood(ANNA, 50)
    asked = floods.machinery.lease(BOB)
    floods.run(0.05)
    assert asked.lease is not None
    server = asked.server
    asked.lease.release()
    for _ in range(5):
        floods.run(0.5)
        again = floods.machinery.lease(BOB)
        assert again.server is server
        assert again.lease is not None
        again.lease.release()
    floods.run(1.5)
    assert floods.places == {"anna": 4}


def test_who_is_alone_has_everything() -> None:
    """Idle servers of users who want nothing are no obstacle."""
    machinery = Machinery(max_active=4)
    machinery.openings.at_once = True
    for asked in [machinery.leased(BOB) for _ in range(4)]:
        asked.lease.release()  # type: ignore[union-attr]
    machinery.clock.advance(1.5)
    assert all(machinery.lease(ANNA).lease for _ in range(4))
    assert machinery.budget.waiting.places == {"anna": 4}


@pytest.mark.parametrize(("weights", "wanted"), [({"anna": 3.0}, (9, 3)), ({"bob": 0.5}, (8, 4)), ({}, (6, 6))])
def test_weights(weights: dict[str, float], wanted: tuple[int, int]) -> None:
    """Of two floods each gets the part that its weight says."""
    floods = Floods(max_active=12, weights=weights)
    floods.flood(ANNA, 100)
    floods.flood(BOB, 100)
    floods.run(1)
    assert (floods.places["anna"], floods.places["bob"]) == wanted


def test_fewer_places_than_users_go_round() -> None:
    """With one place and three floods each gets a turn of it, about as often as the others."""
    floods = Floods(max_active=1)
    for identity in (ANNA, BOB, CARL):
        floods.flood(identity, 30)
    floods.run(9)
    assert min(floods.served.values()) > 0.7 * max(floods.served.values())
    assert len(floods.served) == 3


def test_the_odd_place_goes_round() -> None:
    """Of three places two floods get one and a half each, in the long run."""
    floods = Floods(max_active=3)
    floods.flood(ANNA, 30)
    floods.flood(BOB, 30)
    floods.run(20)
    assert min(floods.served.values()) > 0.8 * max(floods.served.values())


def test_shared_servers_do_not_keep_others_out() -> None:
    """Reads that stand one behind another all of the time make way for a user who has no server at all."""
    machinery = Machinery(max_active=1)
    machinery.openings.at_once = True
    budget = machinery.budget
    first = Asked(machinery.pool.lease(ANNA, {}, shared=True))
    assert first.lease is not None
    bob = Asked(machinery.pool.lease(BOB, {}, shared=True))
    later = [Asked(machinery.pool.lease(ANNA, {}, shared=True)) for _ in range(3)]
    machinery.clock.advance(0.2)
    assert all(asked.waits for asked in (bob, *later))
    first.lease.release()
    assert bob.lease is not None
    assert budget.waiting.places == {"bob": 1}


def test_within_a_user_who_came_first_is_served_first() -> None:
    """Whatever databases he asks for, and however many others wait."""
    machinery = Machinery(max_active=1)
    machinery.openings.at_once = True
    holder = machinery.leased()
    other = Identity("anna", "other")
    queue = [machinery.lease(identity) for identity in (ANNA, other, ANNA, other)]
    for place, asked in enumerate(queue):
        assert holder.lease is not None
        holder.lease.release()
        assert asked.lease is not None
        assert all(later.waits for later in queue[place + 1 :])
        holder = asked


def test_a_reload_changes_weights() -> None:
    """They hold from the next place on."""
    floods = Floods(max_active=12)
    floods.flood(ANNA, 100)
    floods.flood(BOB, 100)
    floods.run(0.5)
    assert floods.places == {"anna": 6, "bob": 6}
    floods.machinery.budget.set(PoolSettings(max_active=12, wait_timeout_s=0, weights={"anna": 2.0}))
    floods.run(0.5)
    assert floods.places == {"anna": 8, "bob": 4}


def test_a_weight_is_more_than_nothing() -> None:
    """A user with none would wait for ever: that is an error of the settings."""
    with pytest.raises(SettingsError, match="weights: bob: 0"):
        build(PoolSettings, {"weights": {"bob": 0}})


class Counting:
    """A pool that counts who is looked at."""

    def __init__(self, pool: Any) -> None:
        self.pool = pool
        self.looked_at = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.pool, name)

    def serve(self, waiter: Any, **how: Any) -> bool:
        """Count it, and go on."""
        self.looked_at += 1
        served: bool = self.pool.serve(waiter, **how)
        return served


@pytest.mark.parametrize("waiting", [100, 10_000])
def test_a_long_line_costs_no_more_than_a_short_one(waiting: int) -> None:
    """What is done when a server comes back does not grow with those who wait."""
    machinery = Machinery(max_active=1, wait_timeout_s=0)
    holder = machinery.leased()
    for _ in range(waiting):
        machinery.lease()
    counting: Any = Counting(machinery.pool)
    for waiter in machinery.budget.waiting:
        waiter.pool = counting
    assert holder.lease is not None
    holder.lease.release()
    assert counting.looked_at < 50
