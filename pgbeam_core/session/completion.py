"""How the turns of a conversation end: with ReadyForQuery, with the loss of their server, or sent once more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pgbeam_core.api.pool import Lease, Server
from pgbeam_core.api.results import Refusal
from pgbeam_core.internal.leftover import Leftover
from pgbeam_core.session import counting, outcome
from pgbeam_core.session.dispatch import CANCELLED
from pgbeam_core.session.reporting import report, report_batch, report_unexecuted
from pgbeam_core.session.retry import Retry
from pgbeam_core.session.state import Phase
from pgbeam_core.session.turns import Fate, Owner, Turn
from pgbeam_core.wire import backend

if TYPE_CHECKING:
    from pgbeam_core.session.conversation import Conversation

_IDLE: Final = Phase.IDLE
_READY_SIZE = len(backend.READY_IDLE)


class TurnCompletion:
    """Settles what a conversation's turns have come to.

    The order of `turn_over` is the point of it:

    1. Is it the end at all? Where the client has left, where a reply of which it has no byte is to be had once more,
       where COPY has swallowed a Sync, nothing of the turn may be counted, told or booked.
    2. `doubt` comes before `forget`: what may be outdated is told by the plan, which is then gone.
    3. What succeeded has its effects before `tracker.server_ready` looks at the transaction status. A COMMIT has said
       by its tag how its transaction ended; the status tells that only of one that ended without.
    4. While the client's transaction is kept back, the status is that of a server which knows nothing of it. What ends
       is what was the request's, the portals; only an error says something of the transaction itself.
    5. What the request has set, its server has once the effects are booked: until then it counts as having what it had.
    6. Plugins hear of the results, and of transactions that ended, before the client gets its ReadyForQuery. It may
       tell others, and what these read must not come from a cache that has not heard of the write.
    7. `end_reply` is last, and in it `resume`: that may begin with the next request before it returns.
    """

    __slots__ = ("_conversation", "_fatal", "cancelled", "retry", "said_goodbye", "told_error", "unsaid")

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._fatal = False
        """It was an error after which PostgreSQL itself ends the session, whatever the server's state."""
        self.retry = Retry(conversation)
        """What might be sent once more."""
        self.cancelled = False
        """The client has asked that what is under way be cancelled."""
        self.said_goodbye = False
        """The server has said goodbye outside of any turn: a session that ends with it is told nothing more."""
        self.told_error = False
        """The server has said goodbye with an error that the client has got."""
        self.unsaid: list[bytes] = []
        """What another server of the session has said in the middle of a reply."""

    def turn_over(self, turn: Turn, ready: bytes) -> None:
        conversation, session = self._conversation, self._conversation.session
        now = conversation.runtime.now()
        begun, was, status = self.server_began_at(turn, now), session.server_status, ready[5:6]
        if self.has_left():
            return
        if turn.fate is Fate.STALE and turn.again is not None:
            turn.again(turn)
            return
        if turn.fate is Fate.RETRIED:
            self.retry.send_once_more()
            return
        if turn.syncs and conversation.copying.asks_for_syncs(turn, ready):
            return
        counting.turn_over(conversation.stats, conversation.transaction, turn, was, status, now)
        if turn.error is not None:
            conversation.extended_sender.doubt(turn.error, turn.queries)
        transaction = conversation.transaction
        conversation.sender.apply_effects(turn)
        conversation.extended_sender.forget()
        if not transaction.kept_back:
            conversation.tracker.server_ready(was, status, failed=turn.error is not None)
            if status == b"I" and outcome.left_open(turn) and not conversation.tracker.ended_transactions:
                # Plugins hear of executions as parts of an open transaction: here is the end of that pipeline's.
                conversation.tracker.ended_transactions.append(turn.error is None)
        else:
            conversation.client_statements.portals.clear()
            if turn.error is not None:
                transaction.fail()
        if session.lease is not None:
            conversation.tracker.server_has_settings(session.lease.server, status)
        transaction.server_ready(status)
        conversation.turn = None
        turn.release_withheld()
        notices = self._results(turn, session.status, begun, now)
        conversation.tell_of_ends()
        if turn.at_flush:
            conversation.input.skipping = turn.error is not None
            self.end_reply(b"")
        else:
            conversation.ended = True
            self.end_reply(notices + conversation.ready_for_query())

    def report_finished(self, turn: Turn) -> None:
        """Report the executions that are through, of a request that goes out in parts: it may have any number."""
        conversation = self._conversation
        lease = conversation.session.lease
        if (
            not turn.finished
            or not turn.queries
            or lease is None
            or len(turn.queries) + turn.reported < 2
            or conversation.phase is Phase.GONE
        ):
            return
        results = outcome.finished_results(turn, conversation.runtime.now())
        # Gone from the turn, or they would be reported once more when it ends, and kept for as long as it lasts.
        queries, turn.queries = turn.queries[: len(results)], turn.queries[len(results) :]
        turn.reported += len(results)
        turn.finished = None
        del turn.tags[:-1]
        notices = report_batch(conversation, queries, results, lease)
        if notices:
            turn.said.append(notices)
        conversation.tell_of_ends()

    def end_reply(self, last: bytes) -> None:
        """The client gets the end of its reply, and may go on."""
        conversation = self._conversation
        if self.unsaid:
            # Notices and the like may stand anywhere, but behind ReadyForQuery they would come in the next reply.
            before = len(last) - _READY_SIZE if last else 0
            last = b"".join([last[:before], *self.unsaid, last[before:]])
            self.unsaid.clear()
        if last:
            conversation.client.write(last)
        conversation.state.enter(_IDLE)
        # The server goes first: the client's next request waits in line as everybody's does, and may want another one.
        conversation.leasing.release_unless_kept()
        conversation.input.resume()

    def server_began_at(self, turn: Turn, now: float) -> float:
        """When the server could begin with a turn that has ended: once those before it were through."""
        lease = self._conversation.session.lease
        if not turn.shared or lease is None:
            return turn.sent_at
        before, lease.server.paid_at = lease.server.paid_at, now
        return max(turn.sent_at, before)

    def _results(self, turn: Turn, status: bytes, begun: float, now: float) -> bytes:
        """Report what came of each execution; give the notices. begun: when the server could begin with it."""
        if turn.unexecuted:
            report_unexecuted(self._conversation, turn, status, now)
        if not turn.queries:
            return b"".join(turn.said)
        lease = self._conversation.session.lease
        assert lease is not None
        results = outcome.server_results(turn, now, status)
        if len(turn.queries) == 1 and turn.queries[0].statement.shareable:
            turn.queries[0].statement._cost.learn(now - begun, turn.size)
        notices = report_batch(self._conversation, turn.queries, results, lease)
        return b"".join([*turn.said, notices]) if turn.said else notices

    def turn_lost(self, turn: Turn, reason: str) -> None:
        """The server went away with the rest of the reply; if it was this client's alone, `server_gone` follows."""
        conversation = self._conversation
        if self.has_left():
            return
        if turn.may_be_retried and self.retry.may_resend(turn):
            self.retry.server_lost(reason)
            self.retry.send_once_more()
            return
        turn.withheld.clear()  # of a reply that will have no end
        error = Refusal("08006", f"server connection was lost: {reason}")
        now = conversation.runtime.now()
        for query in (*turn.queries, *turn.unexecuted):
            report(conversation, query, outcome.refused(query, "server", error, now))
        conversation.tracker.queries_lost(turn.queries)
        conversation.turn = None
        # Words of ours inside half a row would be read as the rest of it.
        torn = turn.torn and turn.began
        # An error that was withheld has reached nobody.
        self.told_error = (turn.error is not None and turn.began) or torn
        self._fatal = torn or (turn.error is not None and outcome.ends_the_session(turn.error))
        # A server tells who holds it alone that it is gone; those who share it hear of their turns only.
        if turn.shared and conversation.session.lease is not None:
            self.server_gone(conversation.session.lease.server, reason)

    def reassign(self) -> Owner | None:
        """A shared turn is not to wait any longer. Gives who takes what the server still owes for it."""
        lease = self._conversation.session.lease
        if self._conversation.phase is Phase.GONE or lease is None or not self.retry.has_request:
            return None
        lease.server.state.add("moved_on")  # nobody will know what was prepared there for the sake of this turn
        self._conversation.leasing.set_lease(None)
        self.retry.send_once_more()
        return Leftover(lease)

    def cancel_behind(self, turn: Turn, lease: Lease) -> None:
        """The client cancels a shared turn that the server has not begun with: others' turns must not be hit."""
        conversation = self._conversation
        lease.server.state.add("moved_on")
        turn.pass_to(Leftover(lease))
        conversation.leasing.set_lease(None)
        conversation.turn = None
        self.retry.forget()
        conversation.extended_sender.forget()
        conversation.state.enter(_IDLE)
        conversation.dispatch.refuse(turn.queries, "pgbeam", CANCELLED)
        conversation.input.resume()

    def has_left(self) -> bool:
        """Whether the client of a shared turn has left before its reply came; then nothing more is to be done."""
        conversation = self._conversation
        if conversation.phase is not Phase.GONE:
            return False
        lease = conversation.leasing.set_lease(None)
        if lease is not None:
            lease.release()
        conversation.forget()
        return True

    def forget(self) -> None:
        """The client has left, and nothing of it is under way."""
        self.retry.forget()

    def server_gone(self, server: Server, reason: str) -> None:
        """A server of this session is gone. Without state on it the session goes on."""
        conversation = self._conversation
        if not conversation.leasing.holds_server(server):
            return  # what was under way on it is being sent once more elsewhere
        told, parted = self.told_error, self.said_goodbye
        self.told_error = self.said_goodbye = conversation.server_is_full = False
        conversation.extended_sender.forget()
        needed = conversation.leasing.server_lost(server)
        message = f"server connection was lost: {reason}"
        # A client that has not ended its request would go on with what was meant for the lost server, and one with
        # state there would believe that it still has it: only the end of the session tells both.
        if needed or self._fatal or conversation.phase in (Phase.OPEN, Phase.COPYING):
            torn = conversation.turn is not None and conversation.turn.began  # on another server
            farewell = b"" if told or torn or parted else backend.error_response("FATAL", "08006", message)
            conversation.client.hang_up(message, farewell)
        elif conversation.phase is Phase.BUSY:
            conversation.state.enter(_IDLE)
            error = b"" if told else backend.error_response("ERROR", "08006", message)
            if conversation.transaction.kept_back:
                conversation.transaction.fail()
            conversation.input.skipping = not conversation.ended
            conversation.client.write(error + conversation.ready_for_query() if conversation.ended else error)
            conversation.input.resume()
