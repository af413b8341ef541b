"""Finds a server for a conversation, keeps it for as long as it must, and gives it back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from pgbeam_core.errors import PasswordNeeded, PgBeamError, ServerRefused, UpstreamUnavailable
from pgbeam_core.leases import Lease, Server
from pgbeam_core.query import Kind, Query, Refusal, Statement, Target
from pgbeam_core.session import outcome
from pgbeam_core.session.questions import CANCELLED, Go
from pgbeam_core.session.settings import HIDDEN
from pgbeam_core.session.world import Phase

if TYPE_CHECKING:
    from pgbeam_core.session.conversation import Conversation

NO_BLOCKS = Refusal("0A000", "transaction blocks are not allowed in statement pool mode")


class Leasing:
    """The servers of one conversation: at most one in use, and in session mode its own beside a replica."""

    __slots__ = ("_conversation", "_home", "_inspecting")

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._home: Lease | None = None
        """In session mode, the client's own server while a replica answers."""
        self._inspecting = 0
        """Questions about the session's state that its server has not answered."""

    def target(self) -> Target:
        """Where the session is now."""
        lease = self._conversation.session.lease
        return self._conversation.session.project.primary if lease is None else lease.server.target

    def may_choose(self) -> bool:
        """Whether a query may go elsewhere than where the session is."""
        session = self._conversation.session
        if session.lease is None:
            return True
        return session.keeps_server and not (session.in_transaction or session.pins or session.replication)

    def lease_for(self, queries: list[Query], go: Go) -> None:
        """Have a lease, then `go`."""
        conversation = self._conversation
        session = conversation.session
        target = queries[0].target if queries and queries[0].target is not None else session.project.primary
        if session.lease is not None:
            if target == session.lease.server.target or not queries or not self.may_choose():
                settled = session.lease.server.settled() if conversation.turn is None else None
                if settled is None:
                    go()
                else:  # a cancel request for what came before may still be under way, and must not hit this
                    self._settle(settled, queries, go)
                return
            self._home, session.lease = session.lease, None
        if session.project.pool_mode == "statement" and any(_begins(query.statement) for query in queries):
            conversation.questions.refuse(queries, "pgbeam", NO_BLOCKS)
            return
        pool = conversation.world.pool(target)
        shared = conversation.endings.may_share(queries, go)
        got = pool.lease(session.identity, session.settings.now, shared=shared)
        if isinstance(got, Lease):
            self._leased(got, queries, go)
        else:
            self._wait(got, target, queries, go)

    def _settle(self, settled: Deferred[None], queries: list[Query], go: Go) -> None:
        conversation = self._conversation
        conversation.phase = Phase.WAITING
        conversation.pending = settled

        def over(result: Any) -> None:
            if not conversation.resumed():
                return
            if isinstance(result, Failure):
                self._no_server(queries, result.value or CancelledError())
            else:
                self.lease_for(queries, go)
            conversation.on()

        settled.addBoth(over)

    def _wait(self, got: Any, target: Target, queries: list[Query], go: Go) -> None:
        conversation = self._conversation
        conversation.phase = Phase.WAITING
        conversation.pending = got

        def leased(lease: Lease) -> None:
            if not conversation.resumed():
                lease.release()
                return
            self._leased(lease, queries, go)
            conversation.on()

        def failed(failure: Any) -> None:
            if not conversation.resumed():
                return
            if self._falls_back(queries, target, failure.value):
                self.lease_for(queries, go)
            else:
                self._no_server(queries, failure.value)
            conversation.on()

        got.addCallbacks(leased, failed)

    def _falls_back(self, queries: list[Query], target: Target, error: BaseException) -> bool:
        """Whether the primary may be asked instead: nothing was sent to a replica that lets nobody in."""
        primary = self._conversation.session.project.primary
        if target == primary or not isinstance(error, UpstreamUnavailable | ServerRefused):
            return False
        for query in queries:
            query.target, query.fell_back = primary, error
        self._come_home()
        return True

    def _come_home(self) -> bool:
        """Back to the client's own server, if it was away. True if it was."""
        if self._home is None:
            return False
        self._conversation.session.lease, self._home = self._home, None
        return True

    def _leased(self, lease: Lease, queries: list[Query], go: Go) -> None:
        self.take(lease)
        if lease.waited >= 0.001:
            for query in queries:
                query.explain(waited=f"{lease.waited * 1000:.0f}ms")
        go()

    def take(self, lease: Lease) -> None:
        """The session has this server from now on."""
        self._conversation.session.lease = lease
        if not lease.shared:
            lease.server.attach(self._conversation)
            if self._conversation.client_is_full:
                lease.server.pause()

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
        self._come_home()
        self._conversation.drop_batch()
        if _for_good(error):
            # An ERROR for each query to come would keep the session in the client's own pool.
            self._conversation.questions.end(queries, refusal)
        else:
            self._conversation.questions.refuse(queries, "pgbeam", refusal)

    # Giving it back.

    def begin(self) -> None:
        """The login is over; its server goes where the pool mode says."""
        session = self._conversation.session
        # Not by `let_go`: nobody has told this server the client's settings yet.
        if session.lease is not None and not session.keeps_server:
            self._release(session.lease)

    def let_go(self) -> None:
        """Give the server back if nothing keeps it."""
        conversation = self._conversation
        session, lease = conversation.session, conversation.session.lease
        if lease is None or session.in_transaction:
            return
        if lease.shared:
            session.lease = None
            if conversation.client_is_full:
                lease.server.resume()
            lease.release()
        elif self._home is not None:
            self.give_back(lease)
            self._come_home()
        elif session.keeps_server:
            return
        elif conversation.effects.doubtful:
            settled = lease.server.settled()
            if settled is not None:  # the client's cancel request must not hit the question
                settled.addCallback(lambda _: self._settled(lease))
                return
            conversation.effects.doubtful = False
            self._inspecting += 1
            server = lease.server
            conversation.sender.inspect(lambda values, pins: self._inspected(server, values, pins))
        elif not session.pins and not self._inspecting:
            self.give_back(lease)

    def _settled(self, lease: Lease) -> None:
        if self._conversation.phase is Phase.IDLE and self._conversation.session.lease is lease:
            self.let_go()

    def _inspected(self, server: Server, values: dict[str, str], pins: set[str]) -> None:
        """The server has told what the session left on it."""
        self._inspecting -= 1
        conversation = self._conversation
        lease = conversation.session.lease
        if conversation.phase is Phase.GONE or lease is None or lease.server is not server:
            return
        conversation.effects.inspected(values, pins, server)
        if conversation.phase is Phase.IDLE:
            self.let_go()

    def give_back(self, lease: Lease) -> None:
        """The lease is over, and the server in order."""
        # Whoever has it next cannot know that it was stopped for this client, nor will this one hear that it drained.
        self._conversation.server_is_full = False
        if self._conversation.client_is_full and not lease.shared:
            lease.server.resume()
        effects, server = self._conversation.effects, lease.server
        if effects.hidden and lease is not self._home:
            effects.hidden = False
            server.settings = {**server.settings, HIDDEN: ""}
        self._release(lease)

    def _release(self, lease: Lease) -> None:
        self._conversation.session.lease = None
        self._inspecting = 0
        lease.server.detach(self._conversation)
        lease.server.statements.rest()
        lease.release()

    def lost(self, server: Server) -> bool:
        """That server is gone. True if the session cannot go on without it."""
        session = self._conversation.session
        if self._home is not None and self._home.server is server:
            self._home.release()
            self._home = None
            return True
        lease, session.lease = session.lease, None
        if lease is not None:
            lease.release()
        self._inspecting = 0
        away = self._come_home()
        return session.in_transaction or bool(session.pins) or (session.keeps_server and not away)

    def leave(self, reason: str, *, idle: bool) -> None:
        """The client is gone."""
        session = self._conversation.session
        lease = session.lease
        if lease is not None and lease.shared and not idle:
            turn = self._conversation.turn
            if lease.server.held and turn is not None and lease.server.is_at_head(turn):
                lease.server.close(f"client left in the middle: {reason}")  # nobody stands behind it
            return  # else others' turns are behind this one: it is let run, and its reply dropped
        for one in (lease, self._home):
            if one is None:
                continue
            if one is lease and (not idle or session.in_transaction):
                one.server.detach(self._conversation)
                one.server.close(f"client left in the middle: {reason}")
            if session.keeps_server:
                one.server.state.add("session")  # whatever its functions and triggers have left there
            self.give_back(one)
        self._home = None


def _for_good(error: BaseException) -> bool:
    """Whether nothing but a new login of the client can bring a server."""
    if isinstance(error, ServerRefused):
        return error.sqlstate[:2] == "28" or error.sqlstate == "3D000"
    return isinstance(error, PasswordNeeded)


def _begins(statement: Statement) -> bool:
    return any(part.kind is Kind.BEGIN for part in statement.parts or (statement,))
