"""A reply that its client gets from another server, or does not want any more."""

from __future__ import annotations

from pgbeam_core.api.pool import Lease
from pgbeam_core.internal.owner import InternalOwner
from pgbeam_core.session.turns import Turn


class Leftover(InternalOwner):
    """Takes the turn over from its client, and gives the server back when the reply has ended."""

    def __init__(self, lease: Lease) -> None:
        self._lease = lease

    def turn_over(self, turn: Turn, ready: bytes) -> None:
        self._lease.release()

    def turn_lost(self, turn: Turn, reason: str) -> None:
        self._lease.release()
