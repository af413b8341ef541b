"""Puts a server into the failed transaction that its client is in.

PgBeam refuses statements of its own accord, and fails a transaction that no server knows of yet. Were the server not to
fail too, it would go on with what the client believes to be aborted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from pgbeam_core.internal.owner import InternalOwner
from pgbeam_core.session.beginning import Beginning
from pgbeam_core.session.progress import Progress
from pgbeam_core.session.rewrite import PROVOKE
from pgbeam_core.session.server_settings import send_settings
from pgbeam_core.session.state import Phase
from pgbeam_core.session.steps import Owed
from pgbeam_core.session.turns import Turn
from pgbeam_core.wire import backend, frontend

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
        conversation.transaction.server_ready(b"E")
        conversation.state.enter(Phase.IDLE)
        self._go()
        conversation.input.resume()

    def turn_lost(self, turn: Turn, reason: str) -> None:
        """The conversation, which holds the server, is told too."""


def provoke(conversation: Conversation, error: bytes, *, ended: bool) -> None:
    """An error of PgBeam's own that puts the server's transaction into the failed state too.

    ended: the request that it refuses has come to its Sync, or needs none. Else the client's Sync will follow.
    """
    sender, turn = conversation.sender, conversation.turn
    request = PROVOKE + frontend.SYNC if ended else PROVOKE
    step = Owed(b"2", instead_of_error=error)
    if turn is not None and not turn.ended:
        # Only a Query comes to this behind an unfinished pipeline, and it has its own ReadyForQuery.
        turn.add([step])
        if ended:
            turn.enter(Progress.ENDED)
        elif not turn.is_passed_over:
            turn.enter(Progress.SPOILT)
        sender.server.write(request)
        conversation.request_sent(turn)
        return
    turn = sender.new_turn([], simple=False, ended=ended)
    if not ended:
        turn.enter(Progress.SPOILT)
    turn.script = deque([step])
    sender.send(turn, request)


def fail_first(conversation: Conversation, send_request: Callable[[], None]) -> None:
    """The client is in a failed transaction that no server knows of: have the server in one too, and go on."""
    server = conversation.sender.server
    conversation.transaction.has_read = False  # of no account any more
    # A savepoint may lead out of it, and nobody gives a server anything in a transaction.
    send_settings(conversation.session, server)
    beginning = Beginning(conversation.transaction, server.statements, ())
    turn = Turn(Failing(conversation, send_request), simple=False)
    turn.script = deque([*beginning.script, Owed(b"2")])
    conversation.state.enter(Phase.BUSY)
    server.send(turn, b"".join([*beginning.frames, PROVOKE, frontend.SYNC]))
