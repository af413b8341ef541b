"""Has a server parse a client's statement under the client's own name, for SQL that speaks of it."""

from __future__ import annotations

from pgbeam_core.internal.owner import InternalOwner
from pgbeam_core.session.prepared import Key, ServerStatements
from pgbeam_core.session.turns import Turn


class NamedParse(InternalOwner):
    """Owns that turn. Should it fail, SQL does not find the statement there."""

    def __init__(self, statements: ServerStatements, name: bytes, key: Key) -> None:
        statements.client_names[name] = key
        self._statements = statements
        self._name = name

    def turn_over(self, turn: Turn, ready: bytes) -> None:
        """After an error the name stands for nothing there, and the next request tries again."""
        if turn.error is not None:
            self._statements.client_names.pop(self._name, None)

    def turn_lost(self, turn: Turn, reason: str) -> None:
        """Nothing to undo: what was prepared on a server is forgotten with it."""
