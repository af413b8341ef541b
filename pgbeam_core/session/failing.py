"""A transaction that has failed while it was kept back is made a failed one on a server too."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pgbeam_core.internal.owner import InternalOwner
from pgbeam_core.session.state import Phase
from pgbeam_core.session.turns import Turn
from pgbeam_core.wire import backend

if TYPE_CHECKING:
    from pgbeam_core.session.conversation import Conversation

_NOT_FAILED = backend.error_response("FATAL", "08006", "the transaction could not be continued on a server")


class Failing(InternalOwner):
    """Owns the turn that takes a server into a failed transaction."""

    def __init__(self, conversation: Conversation, send_request: Callable[[], None]) -> None:
        self._conversation = conversation
        self._go = send_request

    def turn_over(self, turn: Turn, ready: bytes) -> None:
        """The server is where the client is, or nothing that the client sends would do what it is meant to."""
        conversation = self._conversation
        if conversation.phase is Phase.GONE:
            return
        if ready[5:6] != b"E":
            conversation.client.hang_up("a failed transaction could not be made real", _NOT_FAILED)
            return
        conversation.transaction.ready(b"E")
        conversation.state.enter(Phase.IDLE)
        self._go()
        conversation.input.resume()

    def turn_lost(self, turn: Turn, reason: str) -> None:
        """The conversation, which holds the server, is told too."""
