"""Ends what a client waits for, or its session, from outside of it: cancel requests, times that are over, its going."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from pgbeam_core.api.results import Refusal
from pgbeam_core.session import outcome
from pgbeam_core.session.state import Phase

if TYPE_CHECKING:
    from pgbeam_core.session.conversation import Conversation


def cancel(conversation: Conversation) -> Deferred[None] | None:
    """The client asks that what it waits for be cancelled. Gives None, or what fires when that has been seen to."""
    lease, turn = conversation.session.lease, conversation.turn
    if conversation.pending is not None:
        conversation.pending.cancel()
    elif lease is None:
        return None
    elif turn is None:
        return lease.server.settled()
    elif lease.shared and not lease.server.is_at_head(turn):
        conversation.completion.cancel_behind(turn, lease)
    else:
        conversation.completion.cancelled = True
        return lease.server.cancel(turn)
    return None


def is_idle(conversation: Conversation) -> bool:
    """Nothing is owed, and the client has not begun to ask: it is the client who is waited for."""
    if conversation.phase is not Phase.IDLE or conversation.client_is_full:
        return False
    return conversation.ended and conversation.input.is_empty


def end_session(conversation: Conversation, refusal: Refusal) -> None:
    """End the session with that error, as FATAL, and with it what its server does for it."""
    lease, turn = conversation.session.lease, conversation.turn
    torn = False
    if lease is not None and turn is not None:
        torn = turn.began and lease.server.midway  # words of PgBeam's would be read as the rest of a row
        if not lease.shared:
            lease.server.cancel(turn)  # closing its connection is nothing that a running query notices
    conversation.client.hang_up(refusal.message, b"" if torn else outcome.refusal_frame(refusal, "FATAL"))


def dissolve(conversation: Conversation) -> None:
    """The connection of a client that has left is closed: let go of what knows its conversation and is known by it.

    Python would free it too, in its time; with a thousand clients a second that takes a tenth of the time. Where a
    server has not done with what it owes the client, it is left to that.
    """
    c = conversation
    if c.phase is not Phase.GONE or c.turn is not None or c.session.lease is not None:
        return
    del c.client_statements, c.tracker, c.sender, c.extended_sender, c.leasing, c.finder, c.boundaries, c.outside
    del c.dispatch, c.input, c.requests, c.completion, c.copying, c.fast_path, c.pace
