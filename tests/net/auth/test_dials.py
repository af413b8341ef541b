"""Servers that are opened to see who a user is: one at a time for each, and none that is needless."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred

from pgbeam_core.api.pool import Identity
from pgbeam_core.api.query import Role, Target
from pgbeam_core.errors import ServerUnavailable
from pgbeam_core.net.auth.dials import Dials

TARGET = Target("shop", Role.PRIMARY, "db", 5432)
ANNA = Identity("anna", "shop")


class World:
    """A pool that opens servers when it is told to, and calls of the next iteration."""

    def __init__(self) -> None:
        self.later: list[Any] = []
        self.asked: list[Deferred[Any]] = []
        self.dials = Dials(self.later.append)

    def login(self) -> Deferred[Any]:
        self.asked.append(Deferred())
        return self.asked[-1]

    def open(self) -> list[Any]:
        """Filled with what came, or with the error."""
        came: list[Any] = []
        opened = self.dials.open(TARGET, ANNA, self.login)
        opened.addCallbacks(came.append, lambda failure: came.append(failure.value))
        return came

    def wait(self) -> list[Any]:
        """Somebody who stands behind the one under way."""
        came: list[Any] = []
        waiting = self.dials.of(TARGET, ANNA)
        assert waiting is not None
        waiting.addCallbacks(came.append, lambda failure: came.append(failure.value))
        return came

    def iterate(self) -> None:
        """The loop's next iteration."""
        calls, self.later[:] = list(self.later), []
        for call in calls:
            call()


@pytest.fixture
def world():
    return World()


def test_others_stand_behind_the_one_under_way(world):
    """They go on when it has its server, and fail with what is wrong for all."""
    first, second = world.open(), world.wait()
    world.asked[0].callback("lease")
    assert (first, second) == (["lease"], [None])
    first, second = world.open(), world.wait()
    error = ServerUnavailable("gone")
    world.asked[1].errback(error)
    assert (first, second) == ([error], [error])
    assert world.dials.of(TARGET, ANNA) is None


def test_what_another_server_has_told_lets_all_of_them_in(world):
    """All servers are in use, and stay so: nobody waits for one, once some server has said who they are."""
    first, second = world.open(), world.wait()
    world.dials.known(TARGET, ANNA._replace(oids=(10, 10, 5)))
    world.iterate()
    assert (first, second) == ([None], [None])
    assert world.dials.of(TARGET, ANNA) is None
    world.dials.known(TARGET, ANNA)
    assert not world.later


def test_one_that_has_its_server_already_keeps_it(world):
    """The news come in the same moment: nothing is given up, and nothing is told twice."""
    first = world.open()
    world.dials.known(TARGET, ANNA)
    world.asked[0].callback("lease")
    world.iterate()
    assert first == ["lease"]


def test_who_leaves_lets_the_others_go_on(world):
    """A client that hangs up takes nobody with it."""
    opened = world.dials.open(TARGET, ANNA, world.login)
    opened.addErrback(lambda _: None)
    second = world.wait()
    opened.cancel()
    assert second == [None]
