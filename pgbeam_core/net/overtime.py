"""Ends the sessions whose client sits in a transaction, takes too long for one, or says nothing, for longer than its
project allows.

Requests pay nothing for it: a session says when it was heard of last, and is looked at when the earliest of its times
could be over.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from pgbeam_core.api.results import Refusal
from pgbeam_core.session import ending, query_size

if TYPE_CHECKING:
    from pgbeam_core.session.conversation import Conversation
    from pgbeam_core.session.turns import Turn
    from pgbeam_core.settings import Settings

IDLE_IN_TRANSACTION = Refusal("25P03", "terminating connection due to idle-in-transaction timeout")
TRANSACTION = Refusal("25P04", "terminating connection due to transaction timeout")
IDLE = Refusal("57P05", "terminating connection due to idle-session timeout")
UNANSWERED = Refusal(
    "08006",
    "server connection was lost: it has said nothing for longer than query_timeout_ms",
    hint="Whether what was running has been done is not known. See docs/errors.md#when-a-server-is-lost.",
)
GRACE_S = 5.0
"""So much longer than `query_timeout_ms` a server may say nothing: it ought to have ended the statement itself."""

LOOKS_A_SECOND = 10_000
"""At sessions, if there are so many: with more, short times are kept a little late."""
MOST_AT_ONCE = 200
"""Sessions that are looked at before others have their turn."""
_EXACT = 1e-6
"""Seconds: what is due within them is due, however the clock has rounded."""


class Overtime:
    """The clients that are logged in. `settings` gives those that hold now."""

    def __init__(self, reactor: Any, settings: Callable[[], Settings]) -> None:
        self._reactor = reactor
        self._settings = settings
        self._members: dict[int, Conversation] = {}
        self._due: list[tuple[float, int]] = []
        """A heap of times and session ids, one for each that is to be looked at, and some that have left."""
        self._timer: Any = None
        self._heard: dict[int, tuple[Turn, int, float]] = {}
        """Of sessions whose server owes the reply to a statement: its turn, how much of it had come, and since when."""
        self.ended: dict[str, int] = {
            refusal.sqlstate: 0 for refusal in (IDLE_IN_TRANSACTION, TRANSACTION, IDLE, UNANSWERED)
        }
        """Sessions that were ended since the start, by SQLSTATE."""

    def __len__(self) -> int:
        return len(self._members)

    def join(self, conversation: Conversation) -> None:
        """Its client is logged in."""
        self._members[conversation.session.id] = conversation
        self._put(conversation, self._reactor.seconds())
        self._wait()

    def leave(self, session_id: int) -> None:
        """Its client has left: nothing of it is kept."""
        self._heard.pop(session_id, None)
        if self._members.pop(session_id, None) is None:
            return
        if not self._members:
            self.stop()
        elif len(self._due) > 2 * len(self._members) + 1000:
            self._due = [entry for entry in self._due if entry[1] in self._members]
            heapq.heapify(self._due)

    def reload(self, settings: Settings) -> None:
        """Other bounds may hold now, for clients that are there as well."""
        members = list(self._members.values())
        self.stop()
        now = self._reactor.seconds()
        for conversation in members:
            conversation.input.most_text = query_size.bound(settings.max_query_bytes)
            conversation.input.inbox.max_length = settings.max_message_bytes
            self._members[conversation.session.id] = conversation
            self._put(conversation, now)
        self._wait()

    def stop(self) -> None:
        """Nobody is looked at any more."""
        self._members.clear()
        self._due.clear()
        self._heard.clear()
        self._rest()

    def _rest(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _put(self, conversation: Conversation, now: float) -> bool:
        """Say when it is looked at next; at once, if it is late. False if it is."""
        due, refusal = self._of(conversation, now)
        if refusal is not None and due <= now + _EXACT:
            self.ended[refusal.sqlstate] += 1
            ending.end_session(conversation, refusal)
            return False
        if refusal is not None:
            # Short times of many sessions would be looked at more often than anything else is done.
            heapq.heappush(self._due, (max(due, now + len(self._members) / LOOKS_A_SECOND), conversation.session.id))
        return True

    def _of(self, conversation: Conversation, now: float) -> tuple[float, Refusal | None]:
        """When the first of its times is over at the earliest, and which. None: none of them is set."""
        session = conversation.session
        project = self._settings().projects.get(session.project.name, session.project)
        inside, idle = session.in_transaction, ending.is_idle(conversation)
        times: list[tuple[float, Refusal]] = []
        if project.transaction_timeout_ms and not session.replication:
            since = session.transaction_at or session.active_at if inside else (now if idle else session.active_at)
            times.append((since + project.transaction_timeout_ms / 1000, TRANSACTION))
        if project.idle_transaction_timeout_ms:
            since = session.active_at if inside and idle else now
            times.append((since + project.idle_transaction_timeout_ms / 1000, IDLE_IN_TRANSACTION))
        if project.query_timeout_ms:
            since = self._silent_since(conversation, str(project.query_timeout_ms), now)
            times.append((since + project.query_timeout_ms / 1000 + GRACE_S, UNANSWERED))
        if project.client_idle_timeout_s:
            since = session.active_at if idle and not inside else now
            times.append((since + project.client_idle_timeout_s, IDLE))
        return min(times, key=lambda time: time[0], default=(0.0, None))

    def _silent_since(self, conversation: Conversation, timeout: str, now: float) -> float:
        """Since when a server says nothing that has that time for one statement; now, if that cannot be told."""
        session, turn = conversation.session, conversation.turn
        if turn is None or not _has_one_time(conversation, turn, timeout):
            self._heard.pop(session.id, None)
            return now
        before = self._heard.get(session.id)
        if before is not None and before[0] is turn and before[1] == turn.size:
            return before[2]
        # Of a reply that has begun nobody has noted when the last of it came, nor when others' before it had ended.
        shared = session.lease is not None and session.lease.shared
        since = now if turn.size or shared else turn.sent_at
        self._heard[session.id] = turn, turn.size, since
        return since

    def _wait(self) -> None:
        """Have the timer run out when somebody is due."""
        if not self._due:
            self._rest()
            return
        delay = max(0.0, self._due[0][0] - self._reactor.seconds())
        if self._timer is None:
            self._timer = self._reactor.callLater(delay, self._look)
        elif self._timer.getTime() > self._reactor.seconds() + delay:
            self._timer.reset(delay)

    def _look(self) -> None:
        self._timer = None
        now = self._reactor.seconds()
        for conversation in self._those_due(now):
            self._put(conversation, now)
        self._wait()

    def _those_due(self, now: float) -> Iterable[Conversation]:
        found: list[Conversation] = []
        while self._due and self._due[0][0] <= now + _EXACT and len(found) < MOST_AT_ONCE:
            conversation = self._members.get(heapq.heappop(self._due)[1])
            if conversation is not None:
                found.append(conversation)
        return found


def _has_one_time(conversation: Conversation, turn: Turn, timeout: str) -> bool:
    """Whether the server runs one statement, under `query_timeout_ms` and no time of the client's, and may speak."""
    session, lease = conversation.session, conversation.session.lease
    if lease is None or turn.copying or not turn.ended or conversation.client_is_full:
        return False
    if lease.shared and not lease.server.is_at_head(turn):
        return False
    if session.in_transaction or session.replication or len(turn.queries) != 1 or turn.queries[0].statement.parts:
        return False  # several have a time each, and a transaction may have one of its own
    own = "statement_timeout" in session.settings.now
    return not own and dict(session.identity.parameters).get("statement_timeout") == timeout
