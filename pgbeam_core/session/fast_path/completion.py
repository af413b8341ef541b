"""What is done when a plain statement went well: nothing has changed but what is counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgbeam_core.session import counting, outcome
from pgbeam_core.session.reporting import report_server
from pgbeam_core.wire import backend

if TYPE_CHECKING:
    from pgbeam_core.session.conversation import Conversation
    from pgbeam_core.session.turns import Turn

_READY_SIZE = len(backend.READY_IDLE)


def complete(conversation: Conversation, turn: Turn, reply: bytes) -> None:
    """Hand on the reply, ReadyForQuery included. Its twin is `TurnCompletion.turn_over`."""
    completion = conversation.completion
    now = conversation.runtime.now()
    begun = completion.server_began_at(turn, now)
    if completion.has_left():
        return
    conversation.extended_sender.forget()
    conversation.turn = None
    turn.size = len(turn.prefix) + len(reply) - _READY_SIZE
    if turn.kept is not None and turn.size <= turn.keep:
        turn.kept.append(reply[:-_READY_SIZE])
    else:
        turn.kept = None
    lease, query = conversation.session.lease, turn.queries[0]
    assert lease is not None
    counting.fast_turn_over(conversation.stats, turn, now)
    if turn.outside or not query.in_transaction:
        conversation.client_statements.portals.clear()
    if query.statement.shareable:
        query.statement._cost.learn(now - begun, turn.size)
    notices = report_server(conversation, query, outcome.plain_result(turn, now), lease)
    if notices or turn.outside:
        reply = b"".join((reply[:-_READY_SIZE], notices, conversation.ready_for_query()))
    completion.end_reply(turn.prefix + reply if turn.prefix else reply)
