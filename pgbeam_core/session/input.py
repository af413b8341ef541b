"""What a client has sent and nothing has been done about yet: taken in, held back, and acted on in slices.

What comes while a request is under way stays in the inbox. Messages of the extended protocol are held back until a
Sync or Flush, or until there is a part of a request that is worth sending. Whether the client is read at all is decided
here too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pgbeam_core.errors import ProtocolViolation
from pgbeam_core.session import query_size
from pgbeam_core.session.inbox import EXTENDED, Inbox
from pgbeam_core.session.large_messages import LARGE_BYTES
from pgbeam_core.session.pace import PART_BYTES
from pgbeam_core.session.state import Phase
from pgbeam_core.wire import backend
from pgbeam_core.wire.large import HEAD_BYTES, size_of

if TYPE_CHECKING:
    from pgbeam_core.session.conversation import Conversation
    from pgbeam_core.session.runtime import ClientConnection

_HIGH = 256 * 1024
"""Bytes a client may send ahead before it is not read any more: about what two socket buffers would hold."""

_IDLE: Final = Phase.IDLE  # a look at a member of an enum takes longer than most lines here
_QUERY, _FUNCTION_CALL, _SYNC, _FLUSH, _TERMINATE = b"QFSHX"
_COPY = frozenset(b"dcf")
_BEHIND_A_BATCH = frozenset(b"QFdcf")
"""What ends the part of a request that is held back, beside Sync and Flush."""
_NEVER_SKIPPED = frozenset((_SYNC, _TERMINATE))


class Input:
    """The messages of one client, from its bytes to the requests that they make."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self.inbox = Inbox(conversation.runtime.settings.max_message_bytes)
        self.most_text = query_size.bound(conversation.runtime.settings.max_query_bytes)
        """Bytes that a text may have."""
        self.skipping = False
        """An error of PgBeam's own came before the end of a request: the rest of it is passed over, up to its Sync."""
        self.listens = True
        """The client is read."""
        self._batch: list[bytes] = []
        self._batch_size = 0
        self._has_large = False
        self._advancing = False

    @property
    def is_empty(self) -> bool:
        """Something has been done about all that the client has sent."""
        return not (self._batch or self.inbox.holds)

    @property
    def client(self) -> ClientConnection:
        """The one that sends all this."""
        return self._conversation.client

    def received(self, data: bytes) -> None:
        """The client sent bytes. Raises ProtocolViolation."""
        conversation = self._conversation
        conversation.stats.received_bytes += len(data)
        phase = conversation.phase
        if (  # nothing is under way, nothing came before: it may be all of a request
            phase is _IDLE
            and not (self._batch or self.skipping or conversation.client_is_full or self.inbox.holds)
            and self.listens
            and conversation.session.status != b"E"
            and conversation.fast_path.recognise(data)
        ):
            return
        self.inbox.add(data)
        if phase is _IDLE or phase is Phase.OPEN or phase is Phase.COPYING:
            self._advance()
        self.mind_reading()

    def mind_reading(self) -> None:
        """Stop reading a client that is too far ahead; a message that is still growing must be let in."""
        conversation, phase = self._conversation, self._conversation.phase
        waiting = (
            conversation.client_is_full or conversation.pace.waits or phase in (Phase.ASKING, Phase.WAITING, Phase.BUSY)
        )
        size = len(self.inbox)
        reading = not conversation.server_is_full and not (waiting and size > _HIGH)
        if size > LARGE_BYTES or self._has_large:
            reading = self._may_read_large(size) and reading
        if reading is not self.listens and phase is not Phase.GONE:
            self.listens = reading
            (conversation.client.resume if reading else conversation.client.pause)()

    def _may_read_large(self, size: int) -> bool:
        conversation = self._conversation
        if conversation.phase is Phase.GONE:
            size = 0
        self._has_large = size > LARGE_BYTES
        return conversation.runtime.large_messages.may_read(self, size if self._has_large else 0)

    def read_on(self) -> None:
        """There may be room for more of a large message."""
        self.mind_reading()

    def resume(self) -> None:
        """Go on with what has come meanwhile; called when a wait is over, from outside `_advance`."""
        conversation = self._conversation
        if self.listens and not self.inbox.holds and conversation.phase is _IDLE:
            return
        try:
            self._advance()
        except ProtocolViolation as error:
            farewell = backend.error_response("FATAL", error.sqlstate, error.message, None, error.hint)
            conversation.client.hang_up(error.message, farewell)
            return
        self.mind_reading()

    def _advance(self) -> None:
        """Take messages for as long as nothing is owed, and others need not wait too long."""
        conversation = self._conversation
        pace = conversation.pace
        if self._advancing or pace.waits:
            return  # what was waited for had come before the wait began: the loop that asked goes on
        self._advancing = True
        pace.begin_slice()
        try:
            while not conversation.client_is_full:
                if not self.inbox.holds:
                    self._mind_the_batch()
                    return
                if pace.slice_is_over(acted=not self._batch):
                    return
                if conversation.phase is Phase.COPYING:
                    if not conversation.copying.pass_on():
                        return
                    continue
                if conversation.phase is not _IDLE and (conversation.phase is not Phase.OPEN or self._too_far_ahead()):
                    return
                if self._take_run():
                    continue
                frame = self.inbox.next_message()
                if frame is None:
                    self._mind_the_batch()
                    return
                self._message(frame)
        finally:
            self._advancing = False

    def _take_run(self) -> bool:
        """Put by what comes before a Sync or Flush. True if there was enough of it to be acted on."""
        turn, pace = self._conversation.turn, self._conversation.pace
        if self.skipping or (turn is not None and turn.is_passed_over):
            return False
        batch = self._batch
        before = len(batch)
        self._batch_size += self.inbox.take_run(batch, pace.part - before)
        pace.messages += len(batch) - before
        if len(batch) < pace.part and self._batch_size <= PART_BYTES:
            return False
        self._flush_batch()
        return True

    def _too_far_ahead(self) -> bool:
        turn = self._conversation.turn
        return turn is not None and self._conversation.pace.too_far(turn)

    def _mind_the_batch(self) -> None:
        """What is held back is not held back for long; a message that is still growing is waited for."""
        if self._batch and not self.inbox.holds:
            self._conversation.runtime.unfinished.begin(self._go_ahead)

    def _go_ahead(self) -> None:
        """The client has paused in the middle of a request: PostgreSQL would have begun with what is there."""
        phase = self._conversation.phase
        if self._batch and (phase is _IDLE or phase is Phase.OPEN):
            self._flush_batch()

    def _message(self, frame: bytes) -> None:
        conversation, tag = self._conversation, frame[0]
        turn = conversation.turn
        if (self.skipping or (turn is not None and turn.is_passed_over)) and tag not in _NEVER_SKIPPED:
            return
        if self._batch and tag in _BEHIND_A_BATCH:
            self.inbox.put_back(frame)  # what stands before it may have to wait for a plugin or a server
            self._flush_batch()
        elif self.skipping and tag == _SYNC:
            self.skipping = False
            conversation.ended = True
            conversation.client.write(conversation.ready_for_query())
        elif tag == _QUERY:
            conversation.requests.handle_query(frame)
        elif tag == _FLUSH and conversation.phase is _IDLE and self.inbox.flushes_in_vain(self._batch):
            return
        elif tag in EXTENDED or tag == _SYNC or tag == _FLUSH:
            self._batch.append(frame)
            self._batch_size += len(frame) if len(frame) < HEAD_BYTES else size_of(frame)
            part = conversation.pace.part
            if tag == _SYNC or tag == _FLUSH or len(self._batch) >= part or self._batch_size > PART_BYTES:
                self._flush_batch()
        elif tag == _FUNCTION_CALL:
            conversation.requests.function_call(frame)
        elif tag == _TERMINATE:
            conversation.client.hang_up("client terminated the session")
        elif tag in _COPY:
            conversation.copying.comes_early(frame)
        else:
            raise ProtocolViolation(f"invalid frontend message type {tag}")

    def _flush_batch(self) -> None:
        """Act on the messages of the extended protocol that were held back."""
        frames, size, self._batch, self._batch_size = self._batch, self._batch_size, [], 0
        if not frames:
            return
        if size > self.most_text and (longest := query_size.longest_text(frames)) > self.most_text:
            self._conversation.requests.refuse_long(longest, ended=frames[-1][0] == _SYNC)
            return
        self._conversation.requests.handle_extended(frames)

    def drop_batch(self) -> None:
        """What was held back of a pipeline will not be sent."""
        self._batch.clear()
        self._batch_size = 0

    def stop(self) -> None:
        """The client has left: what it sent is let go."""
        self.drop_batch()
        self.inbox.clear()
        self.inbox = Inbox()
        self._conversation.runtime.unfinished.met(self._go_ahead)
        if self._has_large:
            self._may_read_large(0)
