"""What a pool is told by who opens its servers: a stranger's Opener says no more than it has to say."""

from __future__ import annotations

from collections.abc import Callable

from pgbeam_core import Server
from tests.plugins.pool.machinery import Machinery, Openings


class Moving(Openings):
    """An Opener whose target is elsewhere all of a sudden."""

    moved: Callable[[Server, str], None]

    def on_moved(self, call: Callable[[Server, str], None]) -> None:
        self.moved = call


def test_an_opener_that_says_nothing_is_of_one_host_that_is_there() -> None:
    """What it inherits is enough for a pool: it never moves, is never missing, and waits for nothing."""
    machinery = Machinery()
    assert machinery.pool.available
    assert not machinery.pool.reaching.holds
    asked = machinery.leased()
    asked.lease.release()
    assert asked.server.alive
    machinery.check()


def test_a_server_whose_target_has_moved_goes_when_nobody_has_it() -> None:
    """One that is idle at once, one that is in use when it comes back; the next one is opened at the new place."""
    machinery = Machinery(opener=Moving)
    asked = machinery.leased()
    machinery.openings.moved(asked.server, "its name stands for other addresses now")
    assert asked.server.alive
    asked.lease.release()
    assert not asked.server.alive
    kept = machinery.leased()
    kept.lease.release()
    assert kept.server.alive
    machinery.openings.moved(kept.server, "its name stands for other addresses now")
    assert not kept.server.alive
    machinery.check()
