"""Finds a server for a conversation, keeps it for as long as it must, and gives it back."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from pgbeam_core.api.pool import Lease, Server
from pgbeam_core.api.query import Query, Target
from pgbeam_core.api.results import Refusal
from pgbeam_core.api.statement import Kind, SettingAction, SettingChange, Statement
from pgbeam_core.errors import PasswordNeeded, PgBeamError, ServerRefused, ServerUnavailable
from pgbeam_core.internal.fitting import Fitting
from pgbeam_core.session import outcome
from pgbeam_core.session.dispatch import CANCELLED, SendRequest
from pgbeam_core.session.inspecting import Inspecting
from pgbeam_core.session.settings import HIDDEN, difference, is_certain, roles_in_doubt
from pgbeam_core.session.state import Phase
from pgbeam_core.session.turns import Turn
from pgbeam_core.wire import backend, frontend

if TYPE_CHECKING:
    from pgbeam_core.session.conversation import Conversation

_GIVES_UP = frozenset({Kind.SET, Kind.RESET, Kind.DISCARD})
"""Statements that may change what a server is not to be given any more."""
_OF_ROLES = frozenset({"role", "session_authorization"})
NO_BLOCKS = Refusal("0A000", "transaction blocks are not allowed in statement pool mode")


class Leasing:
    """The servers of one conversation: at most one in use, and in session mode its own beside a replica."""

    __slots__ = ("_conversation", "_home", "_inspecting")

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._home: Lease | None = None
        """In session mode, the client's own server while a replica answers."""
        self._inspecting = Inspecting(conversation)

    def target(self) -> Target:
        """Where the session is now."""
        lease = self._conversation.session.lease
        if lease is None or self._is_leaving:
            return self._conversation.session.project.primary
        return lease.server.target

    def _at(self) -> Target | None:
        lease = self._conversation.session.lease
        return None if lease is None else lease.server.target

    @property
    def _is_leaving(self) -> bool:
        """Whether it has a replica only until that has told what was left on it: what comes next may go elsewhere."""
        conversation = self._conversation
        session, lease = conversation.session, conversation.session.lease
        if lease is None or conversation.turn is not None or lease.server.target == session.project.primary:
            return False
        return not (session.keeps_server or session.begun or session.pins)

    def may_choose(self) -> bool:
        """Whether a query may go elsewhere than where the session is."""
        session = self._conversation.session
        if session.lease is None or self._is_leaving:
            return True
        return session.keeps_server and not (session.begun or session.pins or session.replication)

    @property
    def may_have_prepared(self) -> bool:
        """Whether its server may have a statement that SQL's PREPARE has made, by a function perhaps."""
        return bool(self._conversation.session.pins) or bool(self._inspecting.under_way)

    def lease_for(self, queries: list[Query], send_request: SendRequest) -> None:
        """Have a lease, then send the request."""
        conversation = self._conversation
        session = conversation.session
        target = queries[0].target if queries and queries[0].target is not None else session.project.primary
        if self._is_leaving and target != self._at() and self._leaves_first(queries, send_request):
            return
        if session.lease is not None:
            if target == session.lease.server.target or not queries or not self.may_choose():
                conversation.completion.forget()  # what could be sent once more is an earlier request
                settled = session.lease.server.settled() if conversation.turn is None else None
                if settled is None:
                    conversation.completion.retry.stays(queries, send_request)
                    send_request()
                else:  # a cancel request for what came before may still be under way, and must not hit this
                    self._settle(settled, queries, send_request)
                return
            self._home = self.hold(None)
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

    def _leaves_first(self, queries: list[Query], send_request: SendRequest) -> bool:
        """Whether the replica has to tell first what was left on it; then the request is sent, elsewhere."""
        if self._inspecting.told is None:
            self.let_go()
        lease = self._conversation.session.lease
        waiting = None if lease is None else self._inspecting.told or lease.server.settled()
        if waiting is None:
            return False
        self._settle(waiting, queries, send_request)
        return True

    def _settle(self, settled: Deferred[None], queries: list[Query], send_request: SendRequest) -> None:
        conversation = self._conversation
        conversation.state.enter(Phase.WAITING)
        conversation.pending = settled

        def over(result: Any) -> None:
            if not conversation.resumed():
                return
            if isinstance(result, Failure):
                self._no_server(queries, result.value or CancelledError())
            else:
                if self._is_leaving:
                    self.let_go()
                self.lease_for(queries, send_request)
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
            self.lease_for(queries, send_request)
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
        self._come_home()

    def _come_home(self) -> bool:
        """Back to the client's own server, if it was away. True if it was."""
        if self._home is None:
            return False
        self.hold(self._home)
        self._home = None
        return True

    def _leased(self, lease: Lease, queries: list[Query], send_request: SendRequest) -> None:
        self.take(lease)
        self._conversation.stats.leased(lease.waited)
        if lease.waited >= 0.001:
            for query in queries:
                query.explain(waited=f"{lease.waited * 1000:.0f}ms")
        if self._conversation.transaction.kept_back and self._conversation.session.status == b"E":
            send_request = partial(self._conversation.sender.fail_first, send_request)
        server, now = lease.server, self._conversation.session.settings.now
        in_doubt = server.roles_at != self._conversation.epoch and not lease.shared
        if in_doubt and not (server.settings == now and _gives_up_role(queries)):
            server.roles_at = self._conversation.epoch
            server.settings = roles_in_doubt(server.settings)
        if server.settings is not now and server.settings == now:
            server.settings = now
        if lease.shared or server.settings is now or is_certain(server.settings, now):
            send_request()
        else:
            self._fit(server, queries, send_request)

    def _fit(self, server: Server, queries: list[Query], send_request: SendRequest, *, again: bool = False) -> None:
        """Give a server the client's parameters, and wait for that: nothing may run with those of somebody else.

        again: it has refused. What the client changes or resets now is then not given to it, so that the client can
        get rid of a value that will not do.
        """
        conversation = self._conversation
        settings = conversation.session.settings
        wanted = settings.without(_changes(queries)) if again else settings.now
        if server.settings != wanted:
            server.lift_timeouts()
        sql = difference(server.settings, wanted)
        if sql is None:
            send_request()
            return
        conversation.state.enter(Phase.WAITING)

        def over(error: bytes | None) -> None:
            if not conversation.resumed():
                return
            if error is None:
                server.settings = wanted
                send_request()
            elif not again and queries and all(query.statement.kind in _GIVES_UP for query in queries):
                self._fit(server, queries, send_request, again=True)
            else:
                self._cannot_fit(error, queries)
            conversation.input.resume()

        def lost() -> None:
            if conversation.resumed():
                conversation.state.enter(Phase.BUSY)  # it is told in the place of the reply

        server.statements.unnamed = None
        server.send(Turn(Fitting(over, lost), simple=True), frontend.Query(sql).to_bytes())

    def _cannot_fit(self, error: bytes, queries: list[Query]) -> None:
        """The server has refused, and is as it was before: the statement fails, and the next one may reset it."""
        lease = self._conversation.session.lease
        if lease is not None:
            self.give_back(lease)
            self._come_home()
        fields = backend.error_fields(error)
        refusal = Refusal(fields.get("C", "XX000"), fields.get("M", ""), fields.get("D"), fields.get("H"))
        self._conversation.input.drop_batch()
        self._conversation.dispatch.refuse(queries, "pgbeam", refusal)

    def hold(self, lease: Lease | None) -> Lease | None:
        """The session holds this server, or none, from now on: nobody else says so. Gives the one that it held."""
        session = self._conversation.session
        before, session.lease = session.lease, lease
        return before

    def take(self, lease: Lease) -> None:
        """The session has got this server."""
        self.hold(lease)
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
        self._conversation.input.drop_batch()
        if _for_good(error):
            # An ERROR for each query to come would keep the session in the client's own pool.
            self._conversation.dispatch.end(queries, refusal)
        else:
            self._conversation.dispatch.refuse(queries, "pgbeam", refusal)

    # Giving it back.

    def begin(self) -> None:
        """The login is over; its server goes where the pool mode says."""
        session = self._conversation.session
        # Not by `let_go`: nobody has told this server the client's settings yet.
        if session.lease is not None:
            if session.keeps_server:
                self._conversation.stats.leased(0.0)
            else:
                self._release(session.lease)

    def let_go(self) -> None:
        """Give the server back if nothing keeps it."""
        conversation = self._conversation
        session, lease = conversation.session, conversation.session.lease
        if lease is None or session.begun:
            return
        if lease.shared:
            self.hold(None)
            if conversation.client_is_full:
                lease.server.resume()
            lease.release()
        elif self._home is not None:
            self.give_back(lease)
            self._come_home()
        elif session.keeps_server:
            return
        elif lease.server.in_doubt:
            settled = lease.server.settled()
            if settled is not None:  # the client's cancel request must not hit the question
                settled.addCallback(lambda _: self._settled(lease))
                return
            self._inspecting.ask(lease)
        elif not session.pins and not self._inspecting.under_way:
            self.give_back(lease)

    def _settled(self, lease: Lease) -> None:
        if self._conversation.phase is Phase.IDLE and self._conversation.session.lease is lease:
            self.let_go()

    def give_back(self, lease: Lease) -> None:
        """The lease is over, and the server in order."""
        # Whoever has it next cannot know that it was stopped for this client, nor will this one hear that it drained.
        self._conversation.server_is_full = False
        if self._conversation.client_is_full and not lease.shared:
            lease.server.resume()
        tracker, server = self._conversation.tracker, lease.server
        if tracker.hidden and lease is not self._home:
            tracker.hidden = False
            server.settings = {**server.settings, HIDDEN: ""}
        self._release(lease)

    def end_aside(self, request: bytes) -> None:
        """End the server's transaction, which has changed nothing, without anybody waiting for that."""
        lease = self.hold(None)
        assert lease is not None
        self._conversation.server_is_full = False
        if self._conversation.client_is_full:
            lease.server.resume()
        lease.server.detach(self._conversation)
        done = lease.server.aside(request, "its transaction could not be ended")
        done.addCallback(lambda _: lease.release())

    def part_from(self, lease: Lease) -> None:
        """The server is in order, or gone; what was sent to it is sent elsewhere."""
        lease.server.detach(self._conversation)
        lease.release()

    def has(self, server: Server) -> bool:
        """Whether the session holds that server."""
        return any(one is not None and one.server is server for one in (self._conversation.session.lease, self._home))

    @property
    def must_ask(self) -> bool:
        """Whether the server will have to be asked, or is being asked, what the session has left on it."""
        lease = self._conversation.session.lease
        return bool(self._inspecting.under_way) or (lease is not None and lease.server.in_doubt)

    def _release(self, lease: Lease) -> None:
        self.hold(None)
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
        lease = self.hold(None)
        if lease is not None:
            lease.release()
        away = self._come_home()
        return session.begun or bool(session.pins) or (session.keeps_server and not away)

    def leave(self, reason: str, *, idle: bool) -> None:
        session = self._conversation.session
        lease = session.lease
        if lease is not None and lease.shared and not idle:
            turn = self._conversation.turn
            if lease.server.held and turn is not None and lease.server.is_at_head(turn):
                lease.server.close(f"client left in the middle: {reason}")  # nobody stands behind it
            return  # else others' turns are behind this one: it is let run, and its reply dropped
        for one in (lease, self._home):
            if one is not None:
                self._part_with(one, reason, midway=one is lease and (not idle or session.begun))
        self._home = None

    def _part_with(self, lease: Lease, reason: str, *, midway: bool) -> None:
        """The client is gone, and this was its server."""
        session, server = self._conversation.session, lease.server
        server.detach(self._conversation)
        if midway:
            server.close(f"client left in the middle: {reason}")
        elif session.replication:
            server.close("the replication session is over")
        elif session.keeps_server:
            server.state.add("session")  # whatever its functions and triggers have left there
        asks = server.alive and (server.in_doubt or bool(self._inspecting.under_way))
        if asks and not lease.shared:
            if session.lease is lease:
                self.hold(None)
            self._inspecting.ask_last(lease)
        else:
            self.give_back(lease)


def _gives_up_role(queries: list[Query]) -> bool:
    """Whether the role that a server was told is of no account: it is changed or reset by these."""
    if not all(query.statement.kind in _GIVES_UP for query in queries):
        return False
    return any(change.name in _OF_ROLES and not change.local for change in _changes(queries))


def _changes(queries: list[Query]) -> list[SettingChange]:
    """What statements of `_GIVES_UP` change, DISCARD ALL included."""
    found = [change for query in queries for change in query.statement.settings]
    if any("all" in query.statement.drops for query in queries):
        found += [SettingChange(SettingAction.RESET, name) for name in ("all", "session_authorization", "role")]
    return found


def _for_good(error: BaseException) -> bool:
    """Whether nothing but a new login of the client can bring a server."""
    if isinstance(error, ServerRefused):
        return error.sqlstate[:2] == "28" or error.sqlstate == "3D000"
    return isinstance(error, PasswordNeeded)


def _begins(statement: Statement) -> bool:
    return any(part.kind is Kind.BEGIN for part in statement.parts or (statement,))
