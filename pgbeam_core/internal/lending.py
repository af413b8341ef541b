"""Has a server parse a client's statement under the client's own name, for SQL that speaks of it."""

from __future__ import annotations

from pgbeam_core.internal.owner import InternalOwner
from pgbeam_core.session.prepared import Key, ServerStatements
from pgbeam_core.session.turns import Turn


class Lending(InternalOwner):
    """Owns that turn. Should it fail, SQL does not find the statement there."""

    def __init__(self, held: ServerStatements, name: bytes, key: Key) -> None:
        held.lent[name] = key
        self._held = held
        self._name = name

    def turn_over(self, turn: Turn, ready: bytes) -> None:
        """It stands there, or does not."""
        if turn.error is not None:
            self._held.lent.pop(self._name, None)

    def turn_lost(self, turn: Turn, reason: str) -> None:
        """Nor does anything else."""
