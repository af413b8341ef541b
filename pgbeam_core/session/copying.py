"""COPY from the client: what it sends goes on to the server without being understood."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgbeam_core.errors import ProtocolViolation
from pgbeam_core.internal.stray_syncs import StraySyncs
from pgbeam_core.session.progress import Progress
from pgbeam_core.session.state import Phase

if TYPE_CHECKING:
    from pgbeam_core.session.conversation import Conversation
    from pgbeam_core.session.turns import Turn

_COPY_DATA = ord("d")
_COPY_OR_SYNC = frozenset(b"dHS")
_SYNC = ord("S")


class Copying:
    """Copy-in mode of one conversation."""

    __slots__ = ("_conversation",)

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation

    def begin_copy_in(self) -> None:
        conversation = self._conversation
        if conversation.phase is Phase.COPYING:
            raise ProtocolViolation("server asks for COPY data while it gets them")
        if conversation.phase is not Phase.GONE:
            conversation.state.enter(Phase.COPYING)
            conversation.input.resume()

    def comes_early(self, frame: bytes) -> None:
        """CopyData that nobody has asked for, yet: for a COPY whose Execute is under way, or to be ignored."""
        conversation = self._conversation
        turn = conversation.turn
        if turn is not None and turn.script and turn.progress is not Progress.SKIPPING:
            conversation.input.inbox.put_back(frame)
            conversation.state.enter(Phase.BUSY)
            conversation.extended_sender.probe()

    def was_not_wanted(self) -> None:
        """The server has done all that was sent so far, and does not wait for CopyData."""
        conversation = self._conversation
        if conversation.phase is Phase.BUSY and conversation.turn is not None and not conversation.turn.ended:
            conversation.state.enter(Phase.OPEN)
            conversation.input.resume()

    def pass_on(self) -> bool:
        """Send on what the client has sent, as much as is there. False when there is nothing."""
        conversation = self._conversation
        turn = conversation.turn
        assert turn is not None
        rows = conversation.input.inbox.take_all(_COPY_DATA)
        if rows:
            conversation.sender.send_copy_data(rows)
            return True
        frame = conversation.input.inbox.next_message()
        if frame is None:
            return False
        conversation.sender.send_copy_data(frame)
        if frame[0] == _SYNC:
            turn.syncs += 1
        if frame[0] not in _COPY_OR_SYNC:
            # CopyDone, CopyFail, or something that makes the server end the COPY with an error.
            conversation.state.enter(Phase.BUSY if turn.ended else Phase.OPEN)
        return True

    def asks_for_syncs(self, turn: Turn, ready: bytes) -> bool:
        """Whether a COPY has failed with Syncs of the client's among its data: the turn is over when they are."""
        conversation, completion = self._conversation, self._conversation.completion
        lease = conversation.session.lease
        turn.syncs = 0
        if turn.error is None or lease is None:
            return False
        if conversation.phase is not Phase.BUSY:
            conversation.state.enter(Phase.BUSY)
        StraySyncs(
            lease.server,
            lambda: conversation.client.write(ready),
            lambda: completion.turn_over(turn, ready),
            lambda reason: completion.turn_lost(turn, reason),
        ).ask()
        return True
