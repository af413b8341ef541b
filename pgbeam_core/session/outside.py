"""Decides whether a read may run as if outside of its client's transaction, which is kept back."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from pgbeam_core.api.query import Query
from pgbeam_core.session.state import Phase

if TYPE_CHECKING:
    from pgbeam_core.session.conversation import Conversation

_IDLE: Final = Phase.IDLE
PATIENCE_S = 1.0
"""Longest wait for the catalog of a database: until it is known, any read may run code of users."""


class Outside:
    """The plain reads of one conversation that might run outside."""

    __slots__ = ("_conversation",)

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation

    def consider(self, query: Query) -> None:
        """A read that may run outside, as far as its text tells."""
        query.lazily = True
        query.answerable = self._conversation.phase is _IDLE
        query.facts["transaction"] = "lazy"

    def decide(self, query: Query) -> None:
        """Outside or not, without a wait: what may run code of users is inside."""
        conversation = self._conversation
        if conversation.tracker.catalog_view.may_leave(query.statement, query.arrived):
            query.lazily = query.answerable = False
            del query.facts["transaction"]
        else:
            conversation.transaction.has_read = True

    def waits(self, query: Query, then: Callable[[], None]) -> bool:
        """Whether the catalog has to be waited for to settle that; `then` is called when it is settled."""
        conversation = self._conversation
        if not conversation.tracker.catalog_view.may_leave(query.statement, query.arrived):
            conversation.transaction.has_read = True
            return False
        waiting = conversation.runtime.catalog_soon(conversation.session, PATIENCE_S)
        if waiting is None:
            self.decide(query)
            return False
        conversation.state.enter(Phase.ASKING)
        conversation.pending = waiting

        def known(_result: Any) -> None:
            if conversation.resumed():
                self.decide(query)
                then()
                conversation.input.resume()

        waiting.addBoth(known)
        return True
