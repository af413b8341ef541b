"""Logins have places of their own: whoever knocks and says no more costs those who are in nothing."""

from __future__ import annotations

from pgbeam_core import Identity, PoolExhausted, ServerRefused
from pgbeam_pool.logins import GRACE_S, TOO_MANY
from pgbeam_pool.upkeep import QUIET_S
from tests.plugins.pool.machinery import ANNA, BOB, Asked, Machinery


def half_open(machinery: Machinery, address: str = "192.0.2.66") -> Asked:
    """A client that begins a login, and does not answer what the server asks."""
    asked = machinery.login(BOB, address)
    asked.relay.unanswered = True
    return asked


def test_logins_have_a_quarter_of_the_servers() -> None:
    """However many knock, three quarters are there for those who are in."""
    machinery = Machinery(max_active=8)
    knocking = [half_open(machinery) for _ in range(300)]
    assert len(machinery.openings.pending) == 2
    assert all(asked.waits for asked in knocking)
    for _ in range(6):
        machinery.leased()
    machinery.check()


def test_the_places_of_logins_are_a_setting() -> None:
    """max_logins, and never more than there are servers."""
    machinery = Machinery(max_active=8, max_logins=5)
    for place in range(20):
        half_open(machinery, f"192.0.2.{place}")
    assert len(machinery.openings.pending) == 5
    assert Machinery(max_active=3, max_logins=5).budget.settings.login_places == 3


def test_who_is_in_waits_for_no_login() -> None:
    """A query finds its idle server at once, whatever stands in the queue of the logins."""
    machinery = Machinery(max_active=4)
    machinery.pool.upkeep.clients = {ANNA: 1}
    machinery.leased().lease.release()  # type: ignore[union-attr]
    for _ in range(300):
        half_open(machinery)
    for _ in range(10):
        asked = machinery.lease()
        assert asked.lease is not None
        asked.lease.release()
        machinery.pass_time(0.5)
        machinery.check()
    assert asked.server.alive


def test_a_login_takes_no_server_that_is_in_use() -> None:
    """Not even an idle one, unless nobody has used it for a while."""
    machinery = Machinery(max_active=1)
    machinery.pool.upkeep.clients = {ANNA: 1}
    used = machinery.leased()
    used.lease.release()  # type: ignore[union-attr]
    bob = machinery.login(BOB)
    machinery.pass_time(QUIET_S / 2)
    assert used.server.alive
    machinery.pass_time(QUIET_S)
    assert not used.server.alive
    machinery.openings.succeed()
    assert bob.lease is not None
    machinery.check()


def wanted(machinery: Machinery) -> list[Identity]:
    """Whose servers are being opened."""
    return [identity for _, identity, _ in machinery.openings.pending]


class Flood:
    """Anna's clients want all servers, again and again."""

    def __init__(self, machinery: Machinery, clients: int) -> None:
        self._machinery = machinery
        machinery.pool.upkeep.clients = {ANNA: clients}
        self._asked = [machinery.lease() for _ in range(clients)]

    def run(self, seconds: float) -> None:
        """A server comes back every tenth of a second."""
        machinery = self._machinery
        for _ in range(round(seconds * 10)):
            while ANNA in wanted(machinery):
                machinery.openings.succeed(wanted(machinery).index(ANNA))
            machinery.pass_time(0.1)
            for place, asked in enumerate(self._asked):
                if asked.lease is not None:
                    asked.lease.release()
                    self._asked[place] = machinery.lease()
            machinery.check()
            assert wanted(machinery).count(BOB) <= 1


def test_a_flood_keeps_nobody_out() -> None:
    """While one user's clients want all servers, another's login has a place within a second, his others behind it."""
    machinery = Machinery(max_active=4)
    flood = Flood(machinery, 10)
    flood.run(0.2)
    bobs = [machinery.login(BOB) for _ in range(3)]
    annas = [machinery.login(ANNA) for _ in range(20)]
    flood.run(1.2)
    assert wanted(machinery) == [BOB]
    assert all(asked.waits for asked in annas)
    machinery.openings.succeed()
    assert bobs[0].lease is not None
    bobs[0].lease.release()
    assert wanted(machinery) == [BOB]  # in the place of his own server: nobody else misses one


def test_who_knocks_in_a_flood_has_one_place_at_a_time() -> None:
    """However many begin a login and say no more: one server at most is kept from those who are in."""
    machinery = Machinery(max_active=8)
    flood = Flood(machinery, 20)
    flood.run(0.2)
    for place in range(50):
        half_open(machinery, f"192.0.2.{place}")
    flood.run(3.0)
    assert machinery.budget.logins.waiting < 50


def test_servers_of_users_who_have_left_make_room_at_once() -> None:
    """A login need not wait for what nobody will miss."""
    machinery = Machinery(max_active=1)
    left = machinery.leased()
    left.lease.release()  # type: ignore[union-attr]
    machinery.login(BOB)
    assert not left.server.alive
    assert len(machinery.openings.pending) == 1


def test_who_does_not_answer_makes_room_for_who_does() -> None:
    """After a second, the oldest first, with 53300 and the reason; not while nobody waits."""
    machinery = Machinery(max_active=4)
    silent = half_open(machinery)
    machinery.pass_time(10 * GRACE_S)
    assert silent.waits
    honest = machinery.login(ANNA, "198.51.100.1")
    machinery.pass_time(0.1)
    assert isinstance(silent.error, PoolExhausted)
    assert silent.message == TOO_MANY
    machinery.openings.succeed()
    assert honest.lease is not None
    machinery.check()


def test_who_answers_keeps_the_place() -> None:
    """Only the client's own silence counts, not how long the server takes."""
    machinery = Machinery(max_active=4)
    slow = machinery.login(BOB)
    machinery.login(ANNA)
    machinery.pass_time(10 * GRACE_S)
    assert slow.waits
    slow.relay.unanswered = True
    machinery.pass_time(GRACE_S / 2)
    slow.relay.unanswered = False
    machinery.pass_time(GRACE_S)
    assert slow.waits


def test_one_address_leaves_places_to_others() -> None:
    """With eight places it has six; a login from elsewhere begins at once."""
    machinery = Machinery(max_active=32)
    for _ in range(300):
        half_open(machinery)
    assert len(machinery.openings.pending) == 6
    honest = machinery.login(ANNA, "198.51.100.1")
    machinery.openings.succeed(-1)
    assert honest.lease is not None


def test_addresses_take_turns() -> None:
    """Who comes with one login does not stand behind somebody's three hundred."""
    machinery = Machinery(max_active=4)
    first = machinery.login(BOB, "192.0.2.66")
    for _ in range(300):
        machinery.login(BOB, "192.0.2.66")
    honest = machinery.login(ANNA, "198.51.100.1")
    machinery.openings.succeed()
    assert first.lease is not None
    assert [identity for _, identity, _ in machinery.openings.pending] == [BOB]
    machinery.openings.succeed()
    machinery.openings.succeed()
    assert honest.lease is not None


def test_an_ipv6_network_is_one_address() -> None:
    """A /64 has more addresses than there are places."""
    machinery = Machinery(max_active=32)
    for place in range(300):
        half_open(machinery, f"2001:db8::{place:x}")
    assert len(machinery.openings.pending) == 6


def test_who_is_in_and_has_no_room_gets_that_of_a_silent_login() -> None:
    """max_active holds for all servers; those of logins are given up for queries."""
    machinery = Machinery(max_active=2, max_logins=2)
    silent = [half_open(machinery, f"192.0.2.{place}") for place in range(2)]
    query = machinery.lease()
    machinery.pass_time(2 * GRACE_S)
    assert [asked.waits for asked in silent].count(False) == 1
    machinery.openings.succeed(-1)
    assert query.lease is not None
    machinery.check()


def test_where_postgresql_has_no_room_a_silent_login_gives_way() -> None:
    """53300 of the server is no query's error while a place can be freed."""
    machinery = Machinery()
    silent = half_open(machinery)
    query = machinery.lease()
    machinery.openings.fail(ServerRefused("sorry, too many clients already", b"", sqlstate="53300"), -1)
    assert query.waits
    assert not silent.waits
    machinery.pass_time(0.1)
    machinery.openings.succeed()
    assert query.lease is not None
    machinery.check()


def test_a_login_does_not_close_all_that_is_idle() -> None:
    """PostgreSQL has no room for it: servers in use stay."""
    machinery = Machinery()
    machinery.pool.upkeep.clients = {ANNA: 5}
    leased = [machinery.leased() for _ in range(5)]
    for asked in leased:
        asked.lease.release()  # type: ignore[union-attr]
    for _ in range(5):
        machinery.login(BOB)
        machinery.openings.fail(ServerRefused("sorry, too many clients already", b"", sqlstate="53300"))
    assert all(asked.server.alive for asked in leased)


def test_a_queue_of_logins_has_an_end() -> None:
    """Each one that waits costs memory."""
    machinery = Machinery(max_active=4)
    machinery.budget.logins.waiting = 10_000
    assert machinery.login().message == TOO_MANY


def test_logins_that_leave_or_fail_free_their_places() -> None:
    """Whichever way they end, the next one begins."""
    machinery = Machinery(max_active=4, wait_timeout_s=5)
    first, second, third, fourth = (machinery.login() for _ in range(4))
    first.deferred.cancel()  # type: ignore[union-attr]
    machinery.openings.fail(ServerRefused("no", b"", sqlstate="28P01"))
    assert second.error is not None
    machinery.openings.succeed().close("done")
    assert third.lease is not None
    assert fourth.waits
    machinery.clock.advance(5)
    assert isinstance(fourth.error, PoolExhausted)
    assert (machinery.budget.logins.places, machinery.budget.logins.waiting) == (0, 0)
    assert machinery.openings.pending == []
    machinery.check()


def test_logins_of_a_closed_pool_are_refused() -> None:
    """Nobody waits for what will not come."""
    machinery = Machinery(max_active=4)
    asked = [machinery.login() for _ in range(5)]
    machinery.pool.close("stopping")
    assert not any(one.waits for one in asked)
    assert machinery.budget.servers == 0
