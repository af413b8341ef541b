"""A plugin for tests alone: `SHOW pgbeam.shared_turns` tells how many turns have been on a shared server so far,
`SHOW pgbeam.short_turns` how many plain statements had the reply that was hoped for.

Where it is loaded a read has to prove less, and may be slower, so that most plain reads of a test are shared, however
busy the machine is.
"""

from __future__ import annotations

from pgbeam_core import Query, Refusal, hookimpl
from pgbeam_core.api import _bookkeeping
from pgbeam_core.session.conversation import Conversation
from pgbeam_core.session.turns import Turn

assert min(_bookkeeping.PROVED_BY, _bookkeeping.SHORT_S, _bookkeeping.SLOW_S) > 0
_bookkeeping.PROVED_BY = 0
_bookkeeping.SHORT_S = _bookkeeping.SLOW_S = 2.0


class Witness:
    """Counts them for the whole process."""

    def __init__(self) -> None:
        self.counts = {"shared_turns": 0, "short_turns": 0}

    @hookimpl
    def result(self, query: Query) -> None:
        """An execution has ended."""
        self.counts["shared_turns"] += query.facts.get("shared") == "true"

    @hookimpl
    def variable(self, name: str, value: str | None) -> str | Refusal | None:
        """The counts, which can only be read."""
        if name not in self.counts:
            return None
        return str(self.counts[name]) if value is None else Refusal("55P02", "it can only be read")


witness = Witness()
_deliver_reply = Conversation.deliver_reply


def deliver_reply(self: Conversation, turn: Turn, reply: bytes) -> None:
    """A plain statement went well."""
    witness.counts["short_turns"] += 1
    _deliver_reply(self, turn, reply)


Conversation.deliver_reply = deliver_reply  # type: ignore[method-assign]
