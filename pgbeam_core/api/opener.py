"""What opens servers. Whoever gives one inherits from it, which an interpreted class cannot from one that is compiled:
this file never is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from pgbeam_core.api.pool import Identity, Relay, Server


class Opener(Protocol):
    """Opens servers of one target."""

    def __call__(self, identity: Identity, application_name: str | None, relay: Relay | None) -> Deferred[Server]:
        """Connect and log in. Fails with ServerRefused, or ServerUnavailable when there is no server to ask.

        The server's identity has the oids that it told. If others were asked for, it fails with IdentityChanged.
        Without a relay PgBeam answers itself, if it has what the server asks for. Cancelling the Deferred gives up.
        """

    # What an opener that inherits from this one need not say: the defaults are those of one fixed host.

    @property
    def missing(self) -> bool:
        """Whether there is no server to connect to, as far as is known: of several hosts none is the primary."""
        return False

    @property
    def holds(self) -> bool:
        """Whether it waits for a server by itself: who waits at a pool is not sent away because others had no luck."""
        return False

    def on_found(self, call: Callable[[], None]) -> None:
        """Call that whenever a server was found again that had been `missing`. A pool asks for it once."""
        del call  # it is never missing

    def on_moved(self, call: Callable[[Server, str], None]) -> None:
        """Call that with each server, and why, that is to go as soon as nobody has it: its target is elsewhere now."""
        del call  # it never moves
