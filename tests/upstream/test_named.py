"""An upstream of one host that is a name: its addresses are tried in turn, and left when it stands for others."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from pgbeam_core.api.pool import Identity
from pgbeam_core.api.query import Role, Target
from pgbeam_core.errors import PasswordNeeded, ServerRefused, ServerUnavailable
from pgbeam_core.upstream.named import MOVED, NamedOpener
from pgbeam_core.upstream.names import LOOKUP_S, Names

TARGET = Target("shop", Role.PRIMARY, "db", 5432)
WHO = Identity("anna", "shop")
TTL = 15.0
DEAD = ServerUnavailable("could not connect to db:5432: Connection refused")


class FakeServer:
    """One that was opened at an address."""

    def __init__(self, address: str | None) -> None:
        self.address = address
        self.ended: Any = None


class FakeRelay:
    """spent: a client was asked for its password."""

    def __init__(self, *, spent: bool) -> None:
        self.spent = spent


class World:
    """A name server that says what it is told to, or nothing, and addresses that are served, dead or silent."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.found: list[str] | Exception | None = ["10.0.0.1", "10.0.0.2"]
        self.lookups = 0
        self.says: dict[str, Any] = {}
        """What an address says that is no server; None: nothing at all."""
        self.tried: list[str | None] = []
        self.given_up: list[str | None] = []
        self.moved: list[tuple[str | None, str]] = []
        names = Names(TARGET, self.clock, self._lookup, ttl=lambda: TTL)
        self.opener = NamedOpener(names, self._at, self.clock, ttl=lambda: TTL, timeout=lambda: 12.0)
        self.opener.on_moved(lambda server, why: self.moved.append((server.address, why)))

    def _lookup(self, host: str, port: int) -> Deferred[list[str]]:
        self.lookups += 1
        answer: Deferred[list[str]] = Deferred()
        if isinstance(self.found, Exception):
            answer.errback(self.found)
        elif self.found is not None:
            answer.callback(list(self.found))
        return answer

    def _at(self, place: Target) -> Any:
        def open_(identity: Identity, name: str | None, relay: Any) -> Deferred[Any]:
            self.tried.append(place.hostaddr)

            def cancelled(deferred: Deferred[Any]) -> None:
                self.given_up.append(place.hostaddr)
                deferred.errback(ServerUnavailable("given up"))

            opened: Deferred[Any] = Deferred(cancelled)
            says = self.says.get(place.hostaddr or "", "a server")
            if isinstance(says, Exception):
                opened.errback(says)
            elif says is not None:
                opened.callback(FakeServer(place.hostaddr))
            return opened

        return open_

    def open(self, relay: Any = None) -> list[Any]:
        """Filled with the server, or what kept it from being opened."""
        came: list[Any] = []
        self.opener(WHO, None, relay).addCallbacks(came.append, lambda failure: came.append(failure.value))
        return came


@pytest.fixture
def world():
    return World()


def test_the_next_address_is_tried(world):
    """The first address is dead: the client gets a server at the second."""
    world.says["10.0.0.1"] = DEAD
    assert world.open()[0].address == "10.0.0.2"
    assert world.tried == ["10.0.0.1", "10.0.0.2"]


def test_an_address_that_swallows_everything_has_its_share_of_the_time(world):
    """The second address is tried after half of `connect_timeout_s`, not when all of it is over."""
    world.says["10.0.0.1"] = None
    came = world.open()
    world.clock.advance(5.9)
    assert not came
    world.clock.advance(0.2)
    assert came[0].address == "10.0.0.2"
    assert world.given_up == ["10.0.0.1"]


def test_all_are_dead(world):
    """What the last one said is what the client is told."""
    world.says = {"10.0.0.1": ServerUnavailable("one"), "10.0.0.2": ServerUnavailable("two")}
    assert str(world.open()[0]) == "two"


@pytest.mark.parametrize("error", [ServerRefused("no", b"", sqlstate="28P01"), PasswordNeeded("no password")])
def test_a_server_that_answers_is_not_passed_over(world, error):
    """A wrong password at the first address is no reason to try it at the second."""
    world.says["10.0.0.1"] = error
    assert world.open() == [error]
    assert world.tried == ["10.0.0.1"]


def test_a_client_that_was_asked_for_its_password_is_not_asked_by_another_server(world):
    """Its answer was for the first one."""
    world.says["10.0.0.1"] = DEAD
    assert world.open(FakeRelay(spent=True)) == [DEAD]
    world.says["10.0.0.1"] = None
    came = world.open(FakeRelay(spent=True))
    world.clock.advance(11)
    assert not came
    assert not world.given_up


def test_servers_at_an_address_that_was_left_serve_to_the_end(world):
    """The name stands for another address after `dns_max_ttl_s`: the pool is told to let the old ones go."""
    came = world.open()
    world.found = ["10.0.0.7"]
    world.clock.advance(TTL - 1)
    assert not world.moved
    world.clock.advance(2)
    assert world.moved == [("10.0.0.1", MOVED)]
    assert world.open()[0].address == "10.0.0.7"
    came[0].ended(True)
    world.moved.clear()
    world.clock.advance(TTL + 1)
    assert not world.moved


def test_a_lost_connection_is_a_reason_to_look_again(world):
    """A failover by DNS is followed at the next attempt, not after `dns_max_ttl_s`."""
    came = world.open()
    world.clock.advance(2)
    world.found = ["10.0.0.7"]
    came[0].ended(False)
    assert world.open()[0].address == "10.0.0.7"
    assert world.lookups == 2


def test_a_resolver_that_hangs_keeps_nobody_for_long(world):
    """A name that was never known fails after some seconds; one that was keeps its addresses."""
    world.found = None
    came = world.open()
    world.clock.advance(LOOKUP_S - 0.1)
    assert not came
    world.clock.advance(0.2)
    assert "its name is still being looked up" in str(came[0])
    assert not world.tried
    known = World()
    known.open()
    known.clock.advance(TTL + 1)
    known.found = None
    known.says["10.0.0.1"] = DEAD
    came = known.open()
    known.clock.advance(LOOKUP_S + 0.1)
    assert came[0].address == "10.0.0.2"


def test_a_name_that_stands_for_nothing_says_so(world):
    """The client is told why, as when a connection is refused."""
    world.found = OSError(-2, "Name or service not known")
    assert str(world.open()[0]) == "could not connect to db:5432: Name or service not known"


def test_who_leaves_meanwhile_leaves_nothing(world):
    """A client that goes while its server is opened, or its name looked up: no timer stays, no server is opened."""
    world.says["10.0.0.1"] = None
    for found in (["10.0.0.1", "10.0.0.2"], None):
        world.found = found
        failed: list[Failure] = []
        opened = world.opener(WHO, None, None)
        opened.addErrback(failed.append)
        opened.cancel()
        assert len(failed) == 1
        world.clock.advance(TTL + 2)
    assert world.tried == ["10.0.0.1"]
    assert not world.clock.getDelayedCalls()


def test_nobody_looks_when_all_has_ended(world):
    """No timer turns for a target that has no servers, or is in no settings any more."""
    came = world.open()
    came[0].ended(True)
    world.clock.advance(TTL + 1)
    assert not world.clock.getDelayedCalls()
    world.open()
    world.opener.close()
    assert not world.clock.getDelayedCalls()
