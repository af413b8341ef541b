"""What may be sent once more, because its client has heard nothing of it: a read behind other clients' turns, one that
ran as if outside of its transaction, one that a replica has answered with an error of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgbeam_core.api.query import Query, Role
from pgbeam_core.errors import PgBeamError, ServerUnavailable
from pgbeam_core.session import outcome
from pgbeam_core.session.dispatch import SendRequest
from pgbeam_core.session.settings import is_role_set
from pgbeam_core.session.state import Phase
from pgbeam_core.session.turns import Turn

if TYPE_CHECKING:
    from pgbeam_core.session.conversation import Conversation

_CANCELLED = "57014"
_SAME_ANYWHERE = ("22", "23", "54", "P0", "42601", "55P03")
"""Classes of errors, and errors, that a statement or its values bring about, not the server that runs it."""


class Retry:
    """What one conversation has under way that might be sent once more."""

    __slots__ = ("_conversation", "_failed_there", "_is_resending", "_makes_real", "_request")

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._request: tuple[list[Query], SendRequest] | None = None
        self._is_resending = False
        """It is being sent once more: this time on a server of its own."""
        self._makes_real = False
        """It is being sent once more inside of its transaction, which becomes real for that."""
        self._failed_there: PgBeamError | None = None
        """What a replica has answered, or why it did not."""

    def may_share(self, queries: list[Query], send_request: SendRequest) -> bool:
        """Whether this request may go behind other clients' turns: one short, small, plain read in autocommit."""
        conversation = self._conversation
        self._request = None
        if self._is_resending or len(queries) != 1 or not queries[0].answerable:
            self._is_resending = False
            return False
        query = queries[0]
        session, statement = conversation.session, query.statement
        if query.lazily or is_elsewhere(query):
            self._request = queries, send_request
        if session.keeps_server or session.settings.unknown:
            return False
        if not (statement.shareable and statement._cost.small):
            return False
        if is_role_set(session.settings.now) or conversation.tracker.catalog_view.may_leave(statement, query.arrived):
            return False
        self._request = queries, send_request
        return True

    def server_kept(self, queries: list[Query], send_request: SendRequest) -> None:
        """This request goes to the server that the session has got."""
        self._request = (queries, send_request) if len(queries) == 1 and is_elsewhere(queries[0]) else None

    @property
    def has_request(self) -> bool:
        """Whether there is anything that might be."""
        return self._request is not None

    def may_resend(self, turn: Turn) -> bool:
        """Whether that turn, of which its client has got nothing, is one to be sent once more."""
        request = self._request
        return request is not None and not turn.began and bool(turn.queries) and turn.queries[0] is request[0][0]

    def withholds_error(self, turn: Turn, error: bytes, *, cancelled: bool) -> bool:
        """Whether an error is not to reach the client: in a shared turn a cancel that was meant for one before it; in
        one that runs as if outside of its transaction any error, which is then had inside; from a replica one that the
        primary might not give."""
        if cancelled or self._request is None or not self.may_resend(turn):
            return False
        sqlstate, message = outcome.error_of(error)[:2]
        if sqlstate == _CANCELLED and b"user request" in error:
            return True
        query = self._request[0][0]
        if is_elsewhere(query) and may_be_its_own(sqlstate, error):
            self._failed_there = PgBeamError(message, sqlstate=sqlstate)
        self._makes_real = query.lazily
        return self._makes_real or self._failed_there is not None

    def server_lost(self, reason: str) -> None:
        """The server went away with it."""
        if self._request is not None and is_elsewhere(self._request[0][0]) and self._failed_there is None:
            self._failed_there = ServerUnavailable(f"server connection was lost: {reason}")

    def send_once_more(self) -> None:
        """It never had its chance: it gets a server of its own, inside of its transaction if that is why."""
        conversation = self._conversation
        assert self._request is not None
        (queries, send_request), self._request = self._request, None
        lease = conversation.leasing.set_lease(None)
        conversation.turn = None
        conversation.extended_sender.forget()
        conversation.state.enter(Phase.IDLE)
        if lease is not None:
            conversation.leasing.part_from(lease)
        self._is_resending = True
        if self._makes_real:
            conversation.finder.fall_back(queries, queries[0].fell_back)  # its transaction is one of the primary's
            self._makes_real = queries[0].lazily = queries[0].answerable = False
            queries[0].keep = 0
            conversation.transaction.failed_outside = True
        error, self._failed_there = self._failed_there, None
        if error is not None:
            conversation.finder.fall_back(queries, error)
        conversation.finder.find_server(queries, send_request)
        conversation.input.resume()

    def forget(self) -> None:
        """Nothing is to be sent once more."""
        self._request = self._failed_there = None


def is_elsewhere(query: Query) -> bool:
    """Whether it goes to a replica, and its reply might be had from the primary: it is alone in its request."""
    target = query.target
    return target is not None and query.answerable and target.role is not Role.PRIMARY


def may_be_its_own(sqlstate: str, error: bytes) -> bool:
    """Whether an error may come of the server being a replica, of what it has not replayed yet, or of its state."""
    if sqlstate == _CANCELLED:
        return b"recovery" in error  # else a timeout, or a cancel: the client's time is over anyway
    return not sqlstate.startswith(_SAME_ANYWHERE)
