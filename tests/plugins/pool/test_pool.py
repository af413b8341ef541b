"""Which server a client gets, and what becomes of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from pgbeam_core import PoolExhausted
from pgbeam_pool import Pools
from pgbeam_pool.upkeep import SPARE
from tests.plugins.pool.machinery import ANNA, BOB, Machinery


def test_an_idle_server_is_used_again() -> None:
    """The second query of a client costs no login."""
    machinery = Machinery()
    first = machinery.leased()
    first.lease.release()  # type: ignore[union-attr]
    second = machinery.lease()
    assert second.server is first.server
    assert second.lease is not None
    assert second.lease.waited == 0


def test_a_server_that_has_the_settings_is_preferred() -> None:
    """Else the one used last, which has the warmest caches."""
    machinery = Machinery()
    leases = [machinery.leased() for _ in range(3)]
    for asked, value in zip(leases, ("a", "b", "c"), strict=True):
        asked.server.settings = {"search_path": value}
        asked.lease.release()  # type: ignore[union-attr]
    assert machinery.lease(settings={"search_path": "b"}).server is leases[1].server
    assert machinery.lease(settings={"search_path": "z"}).server is leases[2].server


def test_who_came_first_is_served_first() -> None:
    """With one server, in order of asking; also before somebody who asks just when it comes back."""
    machinery = Machinery(max_active=1)
    holder = machinery.leased()
    queue = [machinery.lease() for _ in range(3)]
    for place, asked in enumerate(queue):
        (holder if place == 0 else queue[place - 1]).lease.release()  # type: ignore[union-attr]
        assert asked.lease is not None
        assert [other.waits for other in queue[place + 1 :]] == [True] * (2 - place)
        machinery.check()


def test_waiting_is_measured() -> None:
    """The debug notice says how long a query stood in the queue."""
    machinery = Machinery(max_active=1)
    holder, waiter = machinery.leased(), machinery.lease()
    machinery.clock.advance(2)
    holder.lease.release()  # type: ignore[union-attr]
    assert waiter.lease is not None
    assert waiter.lease.waited == 2


def test_a_wait_ends_with_53300() -> None:
    """After wait_timeout_s, with PgBeam's words to the letter; the next one in the queue is not disturbed."""
    machinery = Machinery(max_active=1, wait_timeout_s=5)
    holder, waiter = machinery.leased(), machinery.lease()
    machinery.clock.advance(3)
    later = machinery.lease()
    machinery.clock.advance(2)
    assert isinstance(waiter.error, PoolExhausted)
    assert waiter.message == "timed out waiting for a server connection"
    holder.lease.release()  # type: ignore[union-attr]
    assert later.lease is not None
    machinery.check()


def test_zero_is_no_limit() -> None:
    """wait_timeout_s = 0 waits for ever."""
    machinery = Machinery(max_active=1, wait_timeout_s=0)
    machinery.leased()
    waiter = machinery.lease()
    machinery.clock.advance(100_000)
    assert waiter.waits


def test_a_waiter_that_leaves_is_forgotten() -> None:
    """Its place goes to the next, and a server opened for it is kept."""
    machinery = Machinery(max_active=1)
    asked = machinery.lease()
    asked.deferred.cancel()  # type: ignore[union-attr]
    behind = machinery.lease()
    server = machinery.openings.succeed()
    assert behind.server is server
    machinery.check()


def test_those_behind_one_who_gives_up_are_looked_at_again() -> None:
    """A client that could be served but stood behind one that could not does not wait for the next event."""
    machinery = Machinery(max_active=1, wait_timeout_s=5)
    machinery.openings.password = {ANNA, BOB}
    machinery.pool.upkeep.clients = {ANNA: 1}
    login = machinery.login(ANNA)
    machinery.openings.succeed()
    stuck = machinery.login(BOB)
    machinery.clock.advance(1)
    behind = machinery.lease(ANNA)
    login.lease.release()  # type: ignore[union-attr]
    machinery.clock.advance(4)
    assert isinstance(stuck.error, PoolExhausted)
    assert behind.lease is not None


def test_who_cannot_be_served_does_not_hold_up_the_rest() -> None:
    """An idle server that only those behind can use is theirs at once."""
    machinery = Machinery(max_active=1)
    machinery.openings.password = {ANNA, BOB}
    machinery.pool.upkeep.clients = {ANNA: 1}
    login = machinery.login(ANNA)
    machinery.openings.succeed()
    machinery.login(BOB)
    behind = machinery.lease(ANNA)
    login.lease.release()  # type: ignore[union-attr]
    assert behind.lease is not None


@pytest.mark.parametrize(("status", "owed"), [(b"T", 0), (b"E", 0), (b"I", 1)])
def test_a_server_in_the_middle_of_something_is_closed(status: bytes, owed: int) -> None:
    """Whatever it was doing is rolled back by closing it."""
    machinery = Machinery()
    asked = machinery.leased()
    server = asked.server
    server.status, server.owed = status, owed
    asked.lease.release()  # type: ignore[union-attr]
    assert server.closed is not None
    machinery.check()


def test_state_left_behind_is_reset_before_anybody_else() -> None:
    """DISCARD ALL first; only then is the server idle."""
    machinery = Machinery(max_active=1)
    asked = machinery.leased()
    server = asked.server
    server.state = {"temp_table"}
    asked.lease.release()  # type: ignore[union-attr]
    waiter = machinery.lease()
    assert waiter.waits
    server.resets[0].callback(None)
    assert waiter.server is server


def test_a_cancel_request_under_way_is_waited_for() -> None:
    """It could hit the next client's query."""
    machinery = Machinery(max_active=1)
    asked = machinery.leased()
    server = asked.server
    settled: Deferred[None] = Deferred()
    server.cancelling = settled
    asked.lease.release()  # type: ignore[union-attr]
    waiter = machinery.lease()
    assert waiter.waits
    server.cancelling = None
    settled.callback(None)
    assert waiter.server is server


def test_a_server_that_dies_in_any_state_is_forgotten() -> None:
    """Leased, idle, being reset: its place is free again, and lost ones are counted."""
    machinery = Machinery(max_active=1)
    machinery.leased().server.die()
    machinery.check()
    idle = machinery.leased()
    idle.lease.release()  # type: ignore[union-attr]
    idle.server.die()
    machinery.check()
    reset = machinery.leased()
    server = reset.server
    server.state = {"listen"}
    reset.lease.release()  # type: ignore[union-attr]
    server.die()
    server.resets[0].callback(None)
    machinery.check()
    assert machinery.pool.lost == 3
    assert machinery.budget.servers == 0


def test_an_idle_server_makes_place_for_another_identity() -> None:
    """One that the newcomer cannot use is closed, the one unused longest first."""
    machinery = Machinery(max_active=2)
    one, two = machinery.leased(ANNA), machinery.leased(ANNA)
    one.lease.release()  # type: ignore[union-attr]
    machinery.clock.advance(1)
    two.lease.release()  # type: ignore[union-attr]
    bob = machinery.lease(BOB)
    assert one.server.closed is not None
    assert two.server.alive
    machinery.openings.succeed()
    assert bob.lease is not None
    machinery.check()


def test_pools_of_one_project_share_their_budget() -> None:
    """A replica's idle server makes place for the primary's."""
    machinery = Machinery(max_active=1)
    other = machinery.another()
    asked = machinery.leased()
    asked.lease.release()  # type: ignore[union-attr]
    other.lease(ANNA, {})
    assert asked.server.closed is not None
    machinery.check()


def test_the_last_server_of_clients_with_passwords_is_kept() -> None:
    """Neither idle_timeout_s nor max_lifetime_s nor another identity takes it from them."""
    machinery = Machinery(max_active=1, idle_timeout_s=10, max_lifetime_s=20)
    machinery.openings.password = {ANNA}
    machinery.pool.upkeep.clients = {ANNA: 1}
    login = machinery.login()
    machinery.openings.succeed()
    login.lease.release()  # type: ignore[union-attr]
    bob = machinery.lease(BOB)
    machinery.clock.advance(25)
    machinery.pool.tidy()
    assert login.server.alive
    assert bob.waits
    machinery.pool.upkeep.clients.clear()
    machinery.pool.tidy()
    assert not login.server.alive
    machinery.check()


@pytest.mark.parametrize(("random", "age"), [(0.0, 90), (1.0, 110)])
def test_lifetimes_are_spread(random: float, age: float) -> None:
    """A server is closed at max_lifetime_s give or take a tenth, so that not all go at once."""
    machinery = Machinery(max_lifetime_s=100, random=random, idle_timeout_s=0)
    asked = machinery.leased()
    asked.lease.release()  # type: ignore[union-attr]
    machinery.clock.advance(age - 1)
    machinery.pool.tidy()
    assert asked.server.alive
    machinery.clock.advance(2)
    machinery.pool.tidy()
    assert not asked.server.alive


def test_a_leased_server_past_its_lifetime_goes_when_it_comes_back() -> None:
    """Never in the middle."""
    machinery = Machinery(max_lifetime_s=100)
    asked = machinery.leased()
    machinery.clock.advance(200)
    machinery.pool.tidy()
    assert asked.server.alive
    asked.lease.release()  # type: ignore[union-attr]
    assert not asked.server.alive


def test_idle_servers_go_but_for_those_kept_ready() -> None:
    """idle_timeout_s closes what nobody used; min_idle of a user that is connected stay, and are opened ahead."""
    machinery = Machinery(min_idle=2, idle_timeout_s=10, max_lifetime_s=0)
    machinery.pool.upkeep.clients = {ANNA: 1}
    for asked in [machinery.leased() for _ in range(4)]:
        asked.lease.release()  # type: ignore[union-attr]
    machinery.clock.advance(11)
    machinery.pool.tidy()
    assert len(machinery.pool.servers.idle[ANNA]) == 2
    machinery.pool.upkeep.clients = {ANNA: 1, BOB: 1}
    machinery.pool.tidy()
    assert [identity for _, identity, _ in machinery.openings.pending] == [BOB, BOB]
    machinery.pool.tidy()
    assert len(machinery.openings.pending) == 2
    machinery.check()


def test_a_closed_pool_has_nothing_left() -> None:
    """Idle servers go at once, leased ones when they come back, openings are given up, who waits is refused."""
    machinery = Machinery(max_active=3, wait_timeout_s=0)
    held, idle = machinery.leased(), machinery.leased()
    idle.lease.release()  # type: ignore[union-attr]
    opening = machinery.lease(BOB)
    waiting = [machinery.lease(BOB) for _ in range(2)]
    machinery.pool.close("stopping")
    assert not idle.server.alive
    assert held.server.alive
    assert machinery.openings.pending == []
    assert all(asked.error is not None for asked in [opening, *waiting])
    held.lease.release()  # type: ignore[union-attr]
    assert not held.server.alive
    assert machinery.lease().message == "stopping"
    assert machinery.budget.servers == 0


# The plugin.


def session_of(pools: Pools, identity: Any) -> Any:
    """A session of the project `shop`."""
    return SimpleNamespace(project=SimpleNamespace(name="shop"), identity=identity, notes={})


def test_clients_are_counted_while_they_are_logged_in() -> None:
    """A login that never succeeded counts nowhere, and leaving counts once."""
    machinery, pools = Machinery(), Pools()
    pools._budgets["shop"] = machinery.budget
    first, second, third = (session_of(pools, ANNA) for _ in range(3))
    pools.authenticated(first)
    pools.authenticated(second)
    assert machinery.pool.upkeep.clients == {ANNA: 2}
    for session in (first, third, first, second):
        pools.disconnect(session)
    assert machinery.pool.upkeep.clients == {}


def test_a_pool_that_came_later_counts_its_own_clients() -> None:
    """A client from before the pool must not be subtracted from it."""
    machinery, pools = Machinery(), Pools()
    pools._budgets["shop"] = machinery.budget
    first, second = session_of(pools, ANNA), session_of(pools, ANNA)
    pools.authenticated(first)
    later = machinery.another()
    pools.authenticated(second)
    pools.disconnect(first)
    assert later.upkeep.clients == {ANNA: 1}


def test_counts_are_by_state() -> None:
    """What `stats` shows adds up."""
    machinery, pools = Machinery(max_active=2), Pools()
    pools._budgets["shop"] = machinery.budget
    active, busy = machinery.leased(), machinery.leased()
    busy.server.status = b"T"
    machinery.lease()
    counts = pools.stats()["pool"]["shop"]
    assert active.lease is not None
    assert {name: count for name, count in counts.items() if count} == {
        "servers": 2,
        "servers_active": 1,
        "servers_in_transaction": 1,
        "clients_waiting": 1,
    }


def test_logins_one_after_another_do_not_pile_up_servers() -> None:
    """A thousand short-lived clients must not use up PostgreSQL's connections."""
    machinery = Machinery()
    for _ in range(30):
        asked = machinery.login()
        machinery.openings.succeed(-1)
        assert asked.lease is not None
        asked.lease.release()
    assert len(machinery.pool.servers) == SPARE
    machinery.check()
