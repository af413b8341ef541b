"""Host names of an upstream are looked up again in each round."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from pgbeam_core.api.query import Role, Target
from pgbeam_core.upstream.names import LOOKUP_S, MOST_ADDRESSES, Names, is_literal

TARGET = Target("shop", Role.PRIMARY, "db", 5432, hosts=(("db", 5432), ("10.0.0.9", 5433)))


class Lookups:
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.asked: list[Deferred[list[str]]] = []

    def __call__(self, host: str, port: int) -> Deferred[list[str]]:
        answer: Deferred[list[str]] = Deferred()
        self.asked.append(answer)
        return answer


@pytest.fixture
def lookups():
    return Lookups()


def addresses(names: Names) -> list[list[tuple[str, str | None]]]:
    """Filled when the places are known."""
    found: list[list[tuple[str, str | None]]] = []
    names.places().addCallback(lambda places: found.append([(place.host, place.hostaddr) for place in places]))
    return found


def test_each_address_of_a_name_is_a_candidate(lookups):
    """A name with several addresses is several hosts; an address in the URL is one, and nothing is looked up for it."""
    found = addresses(Names(TARGET, Clock(), lookups))
    lookups.asked[0].callback(["10.0.0.1", "10.0.0.2", "10.0.0.1"])
    assert found == [[("db", "10.0.0.1"), ("db", "10.0.0.2"), ("10.0.0.9", None)]]
    assert len(lookups.asked) == 1


def test_a_name_that_stands_for_another_address_now_is_followed(lookups):
    """DNS is changed at a failover: the next round asks the new address, and the old one no more."""
    names = Names(TARGET, Clock(), lookups)
    addresses(names)
    lookups.asked[0].callback(["10.0.0.1"])
    found = addresses(names)
    lookups.asked[1].callback(["10.0.0.2"])
    assert found == [[("db", "10.0.0.2"), ("10.0.0.9", None)]]


def test_the_addresses_from_before_stay_while_there_is_no_name_server(lookups):
    """A name server that fails, or says nothing, is no failure of the database."""
    clock = Clock()
    names = Names(TARGET, clock, lookups)
    addresses(names)
    lookups.asked[0].callback(["10.0.0.1"])
    failing = addresses(names)
    lookups.asked[1].errback(OSError("no name server"))
    silent, second = addresses(names), addresses(names)
    assert len(lookups.asked) == 3  # one question at a time
    clock.advance(LOOKUP_S)
    assert failing == silent == second == [[("db", "10.0.0.1"), ("10.0.0.9", None)]]
    lookups.asked[2].callback(["10.0.0.3"])  # late, and good for the next round
    assert len(lookups.asked) == 3
    assert not clock.getDelayedCalls()


def test_a_name_that_never_stood_for_anything_is_a_candidate(lookups):
    """It is said to be down, and why, instead of being left out."""
    found = addresses(Names(TARGET, Clock(), lookups))
    lookups.asked[0].errback(OSError("unknown"))
    assert found == [[("db", None), ("10.0.0.9", None)]]


def test_a_name_has_not_endlessly_many_addresses(lookups):
    """Each of them is asked in each round."""
    found = addresses(Names(TARGET, Clock(), lookups))
    lookups.asked[0].callback([f"10.0.1.{last}" for last in range(100)])
    assert len(found[0]) == MOST_ADDRESSES + 1


@pytest.mark.parametrize(
    ("host", "literal"), [("10.0.0.1", True), ("::1", True), ("fe80::1%eth0", True), ("/tmp", True), ("db", False)]
)
def test_what_is_looked_up(host, literal):
    """Names are; addresses and sockets are not."""
    assert is_literal(host) is literal


def test_addresses_hold_for_their_time(lookups):
    """Within `dns_max_ttl_s` nobody is asked again; after it somebody is."""
    clock = Clock()
    names = Names(TARGET, clock, lookups, ttl=lambda: 15.0)
    addresses(names)
    lookups.asked[0].callback(["10.0.0.1"])
    clock.advance(14.9)
    assert addresses(names) == [[("db", "10.0.0.1"), ("10.0.0.9", None)]]
    assert len(lookups.asked) == 1
    clock.advance(0.2)
    addresses(names)
    assert len(lookups.asked) == 2


def test_where_there_is_doubt_they_hold_for_a_second(lookups):
    """After a failover by DNS nobody waits for the end of `dns_max_ttl_s`, and no name server is flooded."""
    clock = Clock()
    names = Names(TARGET, clock, lookups, ttl=lambda: 15.0)
    addresses(names)
    lookups.asked[0].callback(["10.0.0.1"])
    names.places(doubted=True)
    assert len(lookups.asked) == 1
    clock.advance(1.1)
    names.places(doubted=True)
    assert len(lookups.asked) == 2


def test_a_name_that_is_not_known_is_asked_for_again_soon(lookups):
    """A record that is made a moment too late is not missed for `dns_max_ttl_s`."""
    clock = Clock()
    names = Names(TARGET, clock, lookups, ttl=lambda: 15.0)
    addresses(names)
    lookups.asked[0].errback(OSError(-2, "Name or service not known"))
    assert names.why["db"] == "Name or service not known"
    addresses(names)
    assert len(lookups.asked) == 1
    clock.advance(1.1)
    found = addresses(names)
    lookups.asked[1].callback(["10.0.0.1"])
    assert found == [[("db", "10.0.0.1"), ("10.0.0.9", None)]]
    assert not names.why
