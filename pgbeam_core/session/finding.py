"""Finds a server for a request: the one that the session has, or one of a pool, a replica's or the primary's.

Until there is one nothing is sent, so a wait can be given up at any time, and whatever fails here fails the request and
not the session.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from pgbeam_core.api.pool import Lease
from pgbeam_core.api.query import Query, Target
from pgbeam_core.api.results import Refusal
from pgbeam_core.api.statement import Kind, Statement
from pgbeam_core.errors import PasswordNeeded, PgBeamError, ServerRefused, ServerUnavailable
from pgbeam_core.session import outcome
from pgbeam_core.session.dispatch import CANCELLED, SendRequest
from pgbeam_core.session.failing import fail_first
from pgbeam_core.session.server_settings import gives_up_role, make_fit
from pgbeam_core.session.settings import is_certain, roles_in_doubt
from pgbeam_core.session.state import Phase

if TYPE_CHECKING:
    from pgbeam_core.session.conversation import Conversation

NO_BLOCKS = Refusal("0A000", "transaction blocks are not allowed in statement pool mode")


class ServerFinder:
    """Finds servers for one conversation; `Leasing` keeps them."""

    __slots__ = ("_conversation",)

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation

    def find_server(self, queries: list[Query], send_request: SendRequest) -> None:
        """Have a lease, then send the request. Without one the queries are refused."""
        conversation = self._conversation
        session, leasing = conversation.session, conversation.leasing
        target = queries[0].target if queries and queries[0].target is not None else session.project.primary
        if leasing.is_leaving and target != leasing.server_target() and self._leaves_first(queries, send_request):
            return
        if session.lease is not None:
            if target == session.lease.server.target or not queries or not leasing.may_choose():
                self._keep_server(session.lease, queries, send_request)
                return
            leasing.leave_home()
        if session.project.pool_mode == "statement" and any(_begins(query.statement) for query in queries):
            conversation.dispatch.refuse(queries, "pgbeam", NO_BLOCKS)
            return
        try:
            pool = conversation.runtime.pool(target)
        except PgBeamError as error:  # no plugin gives one, or the target is gone from the settings
            self._without_server(queries, target, error, send_request)
            return
        shared = conversation.completion.retry.may_share(queries, send_request)
        got = pool.lease(session.identity, session.settings.now, shared=shared)
        if isinstance(got, Lease):
            self._leased(got, queries, send_request)
        else:
            self._wait(got, target, queries, send_request)

    def _keep_server(self, lease: Lease, queries: list[Query], send_request: SendRequest) -> None:
        """The request goes to the server that the session has."""
        conversation = self._conversation
        conversation.completion.forget()  # what could be sent once more is an earlier request
        settled = lease.server.settled() if conversation.turn is None else None
        if settled is None:
            conversation.completion.retry.server_kept(queries, send_request)
            send_request()
        else:  # a cancel request for what came before may still be under way, and must not hit this
            self._wait_to_retry(settled, queries, send_request)

    def _leaves_first(self, queries: list[Query], send_request: SendRequest) -> bool:
        """Whether the replica has to tell first what was left on it; then the request is sent, elsewhere."""
        waiting = self._conversation.leasing.leave_replica()
        if waiting is None:
            return False
        self._wait_to_retry(waiting, queries, send_request)
        return True

    def _wait_to_retry(self, settled: Deferred[None], queries: list[Query], send_request: SendRequest) -> None:
        """Look for a server again when that has fired."""
        conversation = self._conversation
        conversation.state.enter(Phase.WAITING)
        conversation.pending = settled

        def over(result: Any) -> None:
            if not conversation.resumed():
                return
            if isinstance(result, Failure):
                self._no_server(queries, result.value or CancelledError())
            else:
                if conversation.leasing.is_leaving:
                    conversation.leasing.release_unless_kept()
                self.find_server(queries, send_request)
            conversation.input.resume()

        settled.addBoth(over)

    def _wait(self, got: Any, target: Target, queries: list[Query], send_request: SendRequest) -> None:
        conversation = self._conversation
        conversation.state.enter(Phase.WAITING)
        conversation.pending = got

        def leased(lease: Lease) -> None:
            if not conversation.resumed():
                lease.release()
                return
            self._leased(lease, queries, send_request)
            conversation.input.resume()

        def failed(failure: Any) -> None:
            if not conversation.resumed():
                return
            self._without_server(queries, target, failure.value, send_request)
            conversation.input.resume()

        got.addCallbacks(leased, failed)

    def _without_server(self, queries: list[Query], target: Target, error: Any, send_request: SendRequest) -> None:
        if self._falls_back(queries, target, error):
            self.find_server(queries, send_request)
        else:
            self._no_server(queries, error)

    def _falls_back(self, queries: list[Query], target: Target, error: BaseException) -> bool:
        """Whether the primary may be asked instead: nothing was sent to a replica that lets nobody in."""
        if target == self._conversation.session.project.primary or not isinstance(
            error, ServerUnavailable | ServerRefused
        ):
            return False
        self.fall_back(queries, error)
        return True

    def fall_back(self, queries: list[Query], error: PgBeamError | None) -> None:
        """The primary is asked instead of a replica, for that reason."""
        for query in queries:
            query.target, query.fell_back = self._conversation.session.project.primary, error
        self._conversation.leasing.come_home()

    def _leased(self, lease: Lease, queries: list[Query], send_request: SendRequest) -> None:
        conversation = self._conversation
        session = conversation.session
        conversation.leasing.accept_lease(lease)
        conversation.stats.leased(lease.waited)
        if lease.waited >= 0.001:
            for query in queries:
                query.explain(waited=f"{lease.waited * 1000:.0f}ms")
        if conversation.transaction.kept_back and session.status == b"E":
            send_request = partial(fail_first, conversation, send_request)
        server, now = lease.server, session.settings.now
        in_doubt = server.roles_at != conversation.epoch and not lease.shared
        if in_doubt and not (server.settings == now and gives_up_role(queries)):
            server.roles_at = conversation.epoch
            server.settings = roles_in_doubt(server.settings)
        if server.settings is not now and server.settings == now:
            server.settings = now
        if lease.shared or server.settings is now or is_certain(server.settings, now):
            send_request()
        else:
            make_fit(conversation, server, queries, send_request)

    def _no_server(self, queries: list[Query], error: BaseException) -> None:
        """No lease was to be had: the query fails. The session lives, unless there is none to be had any more."""
        if isinstance(error, ServerRefused):
            refusal = Refusal(*outcome.error_of(error.frame))
        elif isinstance(error, PgBeamError):
            refusal = Refusal(error.sqlstate, error.message, hint=error.hint)
        elif isinstance(error, CancelledError):
            refusal = CANCELLED
        else:
            refusal = Refusal("08006", "could not get a server connection")
        self._conversation.leasing.come_home()
        self._conversation.input.drop_batch()
        if _for_good(error):
            # An ERROR for each query to come would keep the session in the client's own pool.
            self._conversation.dispatch.end(queries, refusal)
        else:
            self._conversation.dispatch.refuse(queries, "pgbeam", refusal)


def _for_good(error: BaseException) -> bool:
    """Whether nothing but a new login of the client can bring a server."""
    if isinstance(error, ServerRefused):
        return error.sqlstate[:2] == "28" or error.sqlstate == "3D000"
    return isinstance(error, PasswordNeeded)


def _begins(statement: Statement) -> bool:
    return any(part.kind is Kind.BEGIN for part in statement.parts or (statement,))
