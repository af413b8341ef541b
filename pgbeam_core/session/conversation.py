"""The way of a request from a client to a server and back.

A conversation does one request at a time: the transaction status that decides over the next one is known only when a
reply has ended. What the client sends meanwhile stays in its inbox, and the client is not read when that is full.

    IDLE      nothing owed to the client: takes the next message
    ASKING    a plugin thinks about a query (Deferred)
    WAITING   a server is being found
    BUSY      a server owes a reply
    OPEN      a server owes a reply to a request that the client has not ended (Flush, or a long pipeline)
    COPYING   the server wants CopyData
    GONE      the client has left
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.defer import CancelledError

from pgbeam_core.errors import PgBeamError, ProtocolViolation, ServerRefused, UpstreamUnavailable
from pgbeam_core.firing import Hooks, PluginRaised
from pgbeam_core.leases import Lease, Pool, Server
from pgbeam_core.query import Answer, Kind, Query, Refusal, Statement, Target
from pgbeam_core.session import local, outcome
from pgbeam_core.session.databases import to_be_left
from pgbeam_core.session.effects import Effects, resets_name
from pgbeam_core.session.extended import Book, Plan
from pgbeam_core.session.requests import Inbox
from pgbeam_core.session.sending import Sender
from pgbeam_core.session.session import Session
from pgbeam_core.session.turns import Turn
from pgbeam_core.session.variables import VariableError
from pgbeam_core.wire import backend

if TYPE_CHECKING:
    from pgbeam_core.settings import Settings
    from pgbeam_core.stats import ProjectStats

_INBOX_HIGH = 256 * 1024
"""Bytes a client may send ahead before it is not read any more: about what two socket buffers would hold."""
_BATCH_HIGH = 1024 * 1024
"""Bytes of a pipeline without Sync that are held back before it is sent on as it comes."""

_QUERY, _FUNCTION_CALL, _SYNC, _FLUSH, _TERMINATE, _COPY_DONE, _COPY_FAIL = b"QFSHXcf"
_EXTENDED = frozenset(b"PBDEC")
_COPY = frozenset(b"dcf")
_NEVER_SKIPPED = frozenset((_SYNC, _TERMINATE))
_COPY_OR_SYNC = frozenset(b"dHS")


class Phase(enum.Enum):
    """Where a conversation is; see the module."""

    IDLE = "idle"
    ASKING = "asking"
    WAITING = "waiting"
    BUSY = "busy"
    OPEN = "open"
    COPYING = "copying"
    GONE = "gone"


class Client(Protocol):
    """The client's connection, as its conversation sees it."""

    def write(self, data: bytes) -> None:
        """Send bytes."""

    def pause(self) -> None:
        """Stop reading from the client."""

    def resume(self) -> None:
        """Read on."""

    def hang_up(self, reason: str, farewell: bytes = b"") -> None:
        """Send the farewell and close."""


class World(Protocol):
    """What all conversations of a PgBeam share."""

    hooks: Hooks
    settings: Settings
    epoch: int
    """Counts the statements that changed tables, or may have."""

    def now(self) -> float:
        """Monotonic seconds."""

    def statement(self, text: bytes) -> Statement:
        """The statement of an SQL text, `parse` fired."""

    def pool(self, target: Target) -> Pool:
        """The pool of a target."""

    def stats(self, session: Session) -> ProjectStats:
        """Where to count."""

    def tables_changed(self, statement: Statement) -> None:
        """A statement that defines tables, or may have, was completed."""

    def leave(self, session: Session, database: str) -> None:
        """PostgreSQL wants nobody in that database: close the idle servers there."""


class Conversation:
    """One client that has logged in."""

    def __init__(self, session: Session, client: Client, world: World) -> None:
        self.session = session
        self.phase = Phase.IDLE
        self.book = Book()
        self.effects = Effects(session, self.book, world.tables_changed)
        self.prepare_once = world.settings.prepare_once
        self._client = client
        self._world = world
        self._hooks = world.hooks
        self._stats = world.stats(session)
        self._inbox = Inbox()
        self._batch: list[bytes] = []
        self._batch_size = 0
        self._pending: Any = None
        """The Deferred that ASKING or WAITING waits for."""
        self._turn: Turn | None = None
        self._sender = Sender(self)
        self._reading = True
        self._advancing = False
        self._ended = True
        """The request that is being asked about ends with ReadyForQuery."""
        self._skipping = False
        """An error of PgBeam's own came before the end of a request: the rest of it is passed over, up to its Sync."""
        self._client_full = False
        self._server_full = False
        self._fatal = False
        """It was an error after which PostgreSQL itself ends the session, whatever the server's state."""
        self._inspecting = 0
        """Questions about the session's state that its server has not answered."""
        self._told = False
        """The server has said goodbye with an error that the client has got."""

    @property
    def epoch(self) -> int:
        """The state of the tables, as far as PgBeam has seen them change."""
        return self._world.epoch

    @property
    def busy(self) -> bool:
        """In a transaction, or in the middle of a request."""
        return self.phase is not Phase.IDLE or self.session.in_transaction

    def begin(self) -> None:
        """The client has been told that it is logged in; the server of the login goes where the pool mode says."""
        lease = self.session.lease
        if lease is None or self.session.keeps_server:
            return
        # Not by `_let_go`: nobody has told this server the client's settings yet.
        self._release(lease)

    # From the client.

    def received(self, data: bytes) -> None:
        """The client sent bytes. Raises ProtocolViolation."""
        self._inbox.add(data)
        phase = self.phase
        if phase is Phase.IDLE or phase is Phase.OPEN or phase is Phase.COPYING:
            self.advance()
        self._mind_the_inbox()

    def _mind_the_inbox(self) -> None:
        """Stop reading a client that is too far ahead; a message that is still growing must be let in."""
        waiting = self._client_full or self.phase in (Phase.ASKING, Phase.WAITING, Phase.BUSY)
        reading = not self._server_full and not (waiting and len(self._inbox) > _INBOX_HIGH)
        if reading is not self._reading and self.phase is not Phase.GONE:
            self._reading = reading
            (self._client.resume if reading else self._client.pause)()

    def advance(self) -> None:
        """Take messages for as long as nothing is owed."""
        if self._advancing:
            return  # what was waited for had come before the wait began: the loop that asked goes on
        self._advancing = True
        try:
            while not self._client_full:
                if self.phase is Phase.COPYING:
                    if not self._copy():
                        return
                    continue
                if self.phase is not Phase.IDLE and self.phase is not Phase.OPEN:
                    return
                frame = self._inbox.take()
                if frame is None:
                    return
                self._message(frame)
        finally:
            self._advancing = False

    def _message(self, frame: bytes) -> None:
        tag = frame[0]
        if self._skipping and tag not in _NEVER_SKIPPED:
            return
        if self._batch and (tag == _QUERY or tag == _FUNCTION_CALL):
            self._inbox.put_back(frame)  # what stands before it may have to wait for a plugin or a server
            self._flush_batch()
        elif self._skipping and tag == _SYNC:
            self._skipping = False
            self._client.write(self._ready())
        elif tag == _QUERY:
            self._simple(frame)
        elif tag in _EXTENDED or tag == _SYNC or tag == _FLUSH:
            self._batch.append(frame)
            self._batch_size += len(frame)
            if tag == _SYNC or tag == _FLUSH or self._batch_size > _BATCH_HIGH:
                self._flush_batch()
        elif tag == _FUNCTION_CALL:
            self._lease_for([], lambda: self._sender.raw(frame, []))
        elif tag == _TERMINATE:
            self._client.hang_up("client terminated the session")
        elif tag not in _COPY:  # PostgreSQL too ignores CopyData that comes late
            raise ProtocolViolation(f"invalid frontend message type {tag}")

    # The simple protocol.

    def _simple(self, frame: bytes) -> None:
        if frame[-1:] != b"\x00" or b"\x00" in frame[5:-1]:  # for the server to judge
            self._lease_for([], lambda: self._sender.raw(frame, []))
            return
        statement = self._world.statement(frame[5:-1])
        self.book.statements.pop(b"", None)
        if local.is_local(statement):
            self._simple_local(statement)
            return
        self._ended = True
        query = self._query(statement, simple=True, answerable=self.phase is Phase.IDLE)
        self._ask(query, lambda: self._sender.simple(frame, query), lambda answer: _whole(answer))

    def _simple_local(self, statement: Statement) -> None:
        self._client.write(self.perform(statement, describe=True) + self._ready())

    def perform(self, statement: Statement, *, describe: bool = False) -> bytes:
        """Do a statement about pgbeam.* and give its reply; an error as ErrorResponse."""
        in_transaction = self.session.in_transaction
        try:
            answer = local.perform(statement, self.session.variables, in_transaction=in_transaction)
        except VariableError as error:
            if not describe:
                raise
            return backend.error_response("ERROR", error.sqlstate, error.message, None, error.hint)
        description = (answer.description or b"") if describe else b""
        return local.warning(statement, in_transaction=in_transaction) + description + answer.rows + answer.complete

    # The extended protocol.

    def _flush_batch(self) -> None:
        """Act on the messages of the extended protocol that were held back."""
        frames, self._batch, self._batch_size = self._batch, [], 0
        if not frames:
            return
        earlier = self._sender.plan if self.phase is Phase.OPEN else None
        plan = Plan(earlier).read(frames, self.book, self._world.statement)
        if self.phase is Phase.OPEN:
            self._sender.more(plan, self._queries(plan))
            return
        ended = self._ended = frames[-1][0] == _SYNC
        if not plan.needs_server and not self.session.in_transaction:
            self._without_server(plan, ended=ended)
            return
        queries = self._queries(plan)
        if len(queries) == 1:

            def reply(answer: Answer) -> bytes:
                self.book.statements.update({name: made for name, made in plan.new_statements.items() if made})
                return plan.reply(answer)

            self._ask(queries[0], lambda: self._sender.extended(plan, queries), reply)
        else:
            self._ask_all(queries, lambda: self._sender.extended(plan, queries))

    def _without_server(self, plan: Plan, *, ended: bool) -> None:
        """A request that is all about pgbeam.*, or a Sync alone."""
        said, failed = self._sender.alone(plan)
        if failed and not ended:
            # Direct, everything up to Sync would be skipped; a server keeps that account.
            self._lease_for([], lambda: self._sender.extended(plan, []))
            return
        self._client.write(said + (self._ready() if ended else b""))

    def _queries(self, plan: Plan) -> list[Query]:
        alone = plan.answerable and not self.session.in_transaction and self.phase is Phase.IDLE
        queries = []
        for step in plan.executions:
            assert step.prepared is not None
            bind = plan.binding_of(step)
            query = self._query(step.prepared.statement, simple=False, answerable=alone and bind is not None)
            query.bound(bind, step.prepared.key[1], described=plan.needs_description)
            queries.append(query)
        if len(queries) > 1:
            for query in queries:
                query.in_transaction = True
        return queries

    def _query(self, statement: Statement, *, simple: bool, answerable: bool) -> Query:
        return Query(
            self.session,
            statement,
            simple=simple,
            in_transaction=self.session.in_transaction,
            answerable=answerable and not self.session.in_transaction,
            arrived=self._world.now(),
        )

    # Asking the plugins.

    def _ask_all(self, queries: list[Query], go: Callable[[], None]) -> None:
        """A pipeline of several executions: each may be refused, none answered."""
        for query in queries:
            query.target = self._target()
            try:
                found = self._hooks.execute(self.session, query, query.target)
            except PluginRaised as error:
                found = (error.plugin, _broken(error))
            if found is not None and isinstance(found[1], Refusal):
                self._refuse(queries, found[0], found[1])
                return
        self._lease_for(queries, go)

    def _ask(self, query: Query, go: Callable[[], None], reply: Callable[[Answer], bytes]) -> None:
        """Ask for a route and an answer; then either give that or `go` on to a server."""
        session, hooks = self.session, self._hooks
        try:
            if session.lease is None and hooks.route.implementations:
                route = hooks.route(session, query)
                query.target = session.project.primary if route is None else route[1]
            else:
                query.target = self._target()
            found = hooks.execute(session, query, query.target) if hooks.execute.implementations else None
        except PluginRaised as error:
            found = (error.plugin, _broken(error))
        self._found(found, query, go, reply)

    def _found(
        self, found: tuple[str, Any] | None, query: Query, go: Callable[[], None], reply: Callable[[Answer], bytes]
    ) -> None:
        if found is None:
            self._lease_for([query], go)
            return
        plugin, answer = found
        if isinstance(answer, Answer) and query.answerable and (answer.description or not query.needs_description):
            self._answer(query, plugin, answer, reply)
        elif isinstance(answer, Refusal):
            self._refuse([query], plugin, answer)
        elif hasattr(answer, "addCallbacks"):
            self._await(plugin, answer, query, go, reply)
        else:
            self._lease_for([query], go)

    def _await(
        self, plugin: str, deferred: Any, query: Query, go: Callable[[], None], reply: Callable[[Answer], bytes]
    ) -> None:
        self.phase = Phase.ASKING
        self._pending = deferred

        def came(answer: Any) -> None:
            if self._resumed():
                found: tuple[str, Any] | None = (plugin, answer)
                if answer is None:
                    try:
                        found = self._hooks.execute.after(plugin, self.session, query, query.target)
                    except PluginRaised as error:
                        found = (error.plugin, _broken(error))
                self._found(found, query, go, reply)
                self._on()

        def failed(failure: Any) -> None:
            if self._resumed() and failure.check(CancelledError):
                self._refuse([query], "pgbeam", _CANCELLED)
                self._on()
            elif self.phase is not Phase.GONE:
                try:
                    failure.raiseException()
                except Exception:
                    try:
                        self._hooks.failed("execute", plugin)
                        found = self._hooks.execute.after(plugin, self.session, query, query.target)
                    except PluginRaised as error:
                        found = (plugin, _broken(error))
                self._found(found, query, go, reply)
                self._on()

        deferred.addCallbacks(came, failed)

    def _resumed(self) -> bool:
        """What was waited for has come. False if the client has left meanwhile."""
        self._pending = None
        if self.phase is Phase.GONE:
            return False
        self.phase = Phase.IDLE if self._turn is None else Phase.OPEN
        return True

    def _on(self) -> None:
        """Go on with what the client has sent meanwhile; called when a wait is over, from outside `advance`."""
        try:
            self.advance()
        except ProtocolViolation as error:
            self._client.hang_up(error.message, backend.error_response("FATAL", error.sqlstate, error.message))
            return
        self._mind_the_inbox()

    def _target(self) -> Target:
        lease = self.session.lease
        return self.session.project.primary if lease is None else lease.server.target

    def _answer(self, query: Query, plugin: str, answer: Answer, reply: Callable[[Answer], bytes]) -> None:
        said = reply(answer)
        notices = self._report(query, outcome.answered(query, plugin, answer, self._world.now()))
        self._client.write(said + notices + self._ready())

    def _refuse(self, queries: list[Query], source: str, refusal: Refusal) -> None:
        """An error of PgBeam's own, in place of the reply to this request."""
        frame = outcome.refusal_frame(refusal)
        now = self._world.now()
        notices = b"".join(self._report(query, outcome.refused(query, source, refusal, now)) for query in queries)
        if self.session.in_transaction or self.phase is Phase.OPEN:
            self._lease_for([], lambda: self._sender.provoke(frame + notices))
        elif self._ended:
            self._client.write(frame + notices + self._ready())
        else:
            self._client.write(frame + notices)
            self._skipping = True

    def _report(self, query: Query, result: outcome.Result) -> bytes:
        self._stats.executed(result)
        try:
            return outcome.report(self._hooks, query, result)
        except PluginRaised:
            return b""

    def _ready(self) -> bytes:
        return backend.ready_for_query(self.session.status)

    # Finding a server.

    def _lease_for(self, queries: list[Query], go: Callable[[], None]) -> None:
        """Have a lease, then `go`."""
        session = self.session
        if session.lease is not None:
            go()
            return
        target = queries[0].target if queries and queries[0].target is not None else session.project.primary
        if session.project.pool_mode == "statement" and any(_begins(q.statement) for q in queries):
            self._refuse(queries, "pool", Refusal("0A000", "transaction blocks are not allowed in statement pool mode"))
            return
        got = self._world.pool(target).lease(session.identity, session.settings.now)
        if isinstance(got, Lease):
            self._leased(got, queries, go)
            return
        self.phase = Phase.WAITING
        self._pending = got

        def leased(lease: Lease) -> None:
            if not self._resumed():
                lease.release()
                return
            self._leased(lease, queries, go)
            self._on()

        def failed(failure: Any) -> None:
            if self._resumed():
                if self._falls_back(queries, target, failure.value):
                    self._lease_for(queries, go)
                else:
                    self._no_server(queries, failure.value)
                self._on()

        got.addCallbacks(leased, failed)

    def _falls_back(self, queries: list[Query], target: Target, error: BaseException) -> bool:
        """Whether the primary may be asked instead: nothing was sent to a replica that lets nobody in."""
        primary = self.session.project.primary
        if target == primary or not isinstance(error, UpstreamUnavailable | ServerRefused):
            return False
        for query in queries:
            query.target, query.fell_back = primary, error
        return True

    def _leased(self, lease: Lease, queries: list[Query], go: Callable[[], None]) -> None:
        self.take(lease)
        for query in queries:
            query.explain(upstream=lease.server.target.address)
            if lease.waited >= 0.001:
                query.explain(waited=f"{lease.waited * 1000:.0f}ms")
        go()

    def take(self, lease: Lease) -> None:
        """The session has this server from now on."""
        self.session.lease = lease
        lease.server.attach(self)
        if self._client_full:
            lease.server.pause()

    def _no_server(self, queries: list[Query], error: BaseException) -> None:
        """No lease was to be had: the query fails, the session lives."""
        if isinstance(error, ServerRefused):
            sqlstate, message = outcome.error_of(error.frame)
            refusal = Refusal(sqlstate, message)
        elif isinstance(error, PgBeamError):
            refusal = Refusal(error.sqlstate, error.message, hint=error.hint)
        elif isinstance(error, CancelledError):
            refusal = _CANCELLED
        else:
            refusal = Refusal("08006", "could not get a server connection")
        self._batch.clear()
        self._refuse(queries, "pool", refusal)

    # From the server. The conversation owns its turns.

    def leave_databases(self, statement: Statement) -> None:
        """Close PgBeam's own idle servers where they would make a statement fail."""
        for name in to_be_left(statement):
            self._world.leave(self.session, name)

    def sent(self, turn: Turn) -> None:
        """A request has gone out."""
        self._turn = turn
        self.phase = Phase.BUSY if turn.ended else Phase.OPEN

    def deliver(self, data: bytes) -> None:
        """Bytes of the reply."""
        self._client.write(data)

    def copy_in(self, turn: Turn) -> None:
        """The server wants CopyData: what the client sends goes straight on."""
        if self.phase is not Phase.GONE:
            self.phase = Phase.COPYING
            self._on()

    def skips(self, turn: Turn) -> None:
        """An error before the end of the request: the client goes on to its Sync, and the server skips."""
        if self.phase in (Phase.BUSY, Phase.COPYING):
            self.phase = Phase.OPEN
            self._on()

    def turn_over(self, turn: Turn, ready: bytes) -> None:
        """The reply is complete."""
        if self.phase is Phase.GONE:
            return
        if turn.stale and turn.again is not None:
            turn.again()
            return
        session = self.session
        was, status = session.status, ready[5:6]
        self._sender.settle(turn)
        self.effects.ready(was, status, failed=turn.error is not None)
        if session.lease is not None:
            self.effects.tell(session.lease.server)
        session.status = status
        self._turn = None
        notices = b""
        if turn.queries:
            for query, result in zip(
                turn.queries, outcome.server_results(turn, self._world.now(), status), strict=True
            ):
                notices += self._report(query, result)
        self._client.write(notices + ready if notices else ready)
        if self.effects.over:
            for committed in self.effects.over:
                self._hooks.transaction_over(session, committed)
            self.effects.over.clear()
        self.phase = Phase.IDLE
        self._let_go()
        self._on()

    def _let_go(self) -> None:
        """Give the server back if nothing keeps it."""
        session, lease = self.session, self.session.lease
        if lease is None or session.in_transaction or session.keeps_server:
            return
        if self.effects.doubtful:
            self.effects.doubtful = False
            self._inspecting += 1
            server = lease.server
            self._sender.inspect(lambda values, pins: self._inspected(server, values, pins))
        elif not session.pins and not self._inspecting:
            self._give_back(lease)

    def _inspected(self, server: Server, values: dict[str, str], pins: set[str]) -> None:
        """The server has told what the session left on it."""
        self._inspecting -= 1
        lease = self.session.lease
        if self.phase is Phase.GONE or lease is None or lease.server is not server:
            return
        self.effects.inspected(values, pins, server)
        if self.phase is Phase.IDLE:
            self._let_go()

    def _give_back(self, lease: Lease) -> None:
        # Whoever has it next cannot know that it was stopped for this client, nor will this one hear that it drained.
        self._server_full = False
        if self._client_full:
            lease.server.resume()
        self._release(lease)

    def _release(self, lease: Lease) -> None:
        self.session.lease = None
        self._inspecting = 0
        lease.server.detach(self)
        lease.release()

    def turn_lost(self, turn: Turn, reason: str) -> None:
        """The server went away with the rest of the reply; `server_gone` follows."""
        if self.phase is Phase.GONE:
            return
        error = Refusal("08006", f"server connection was lost: {reason}")
        now = self._world.now()
        for query in turn.queries:
            self._report(query, outcome.refused(query, "server", error, now))
        self._turn = None
        # Words of ours inside half a row would be read as the rest of it.
        self._told = turn.error is not None or turn.torn
        self._fatal = turn.torn or (turn.error is not None and outcome.ends_the_session(turn.error))

    def server_gone(self, reason: str) -> None:
        """The leased server is gone. Without state on it the session goes on."""
        session, told = self.session, self._told
        self._told = self._server_full = False
        self._inspecting = 0
        self._sender.forget()
        lost_state = session.in_transaction or session.pins or session.keeps_server
        lease, session.lease = session.lease, None
        if lease is not None:
            lease.release()
        message = f"server connection was lost: {reason}"
        if lost_state or self._fatal or self.phase in (Phase.OPEN, Phase.COPYING):
            farewell = b"" if told else backend.error_response("FATAL", "08006", message)
            self._client.hang_up(message, farewell)
        elif self.phase is Phase.BUSY:
            self.phase = Phase.IDLE
            error = b"" if told else backend.error_response("ERROR", "08006", message)
            self._client.write(error + self._ready())
            self._on()

    # COPY from the client.

    def _copy(self) -> bool:
        """Send on what the client has sent in copy-in mode. False when there is nothing to send."""
        assert self._turn is not None
        frame = self._inbox.take()
        if frame is None:
            return False
        self._sender.copy(frame)
        tag = frame[0]
        if tag not in _COPY_OR_SYNC:
            # CopyDone, CopyFail, or something that makes the server end the COPY with an error.
            self.phase = Phase.BUSY if self._turn.ended else Phase.OPEN
        return True

    # Backpressure, cancelling, and the end.

    def server_full(self) -> None:
        """The server does not read as fast as it is written to."""
        self._server_full = True
        self._mind_the_inbox()

    def server_drained(self) -> None:
        """The server reads again."""
        self._server_full = False
        self._mind_the_inbox()

    def parameter_status(self, message: backend.ParameterStatus) -> bytes | None:
        """A parameter changed on the leased server. Gives what the client is told of that."""
        name = self.session.application_name
        turn = self._turn
        if message.name == "application_name" and name and not message.value and turn is not None:
            parts = [part for query in turn.queries for part in query.statement.parts or (query.statement,)]
            if any(resets_name(part) for part in parts):
                # The server knows no other startup value than its own; the client's is put back behind its back.
                message = backend.ParameterStatus("application_name", name)
        told = self.session.parameter_status
        if told.get(message.name) == message.value:
            return None
        told[message.name] = message.value
        return message.to_bytes()

    def unasked(self, frame: bytes) -> None:
        """The leased server sent something outside any turn: a notification, a parameter, its goodbye."""
        self._told = self._told or frame[:1] == b"E"
        self._client.write(frame)

    def cancel(self) -> None:
        """The client asks that what it waits for be cancelled."""
        if self._pending is not None:
            self._pending.cancel()
        elif self._turn is not None and self.session.lease is not None:
            self.session.lease.server.cancel()

    def client_full(self) -> None:
        """The client does not read as fast as it is written to."""
        self._client_full = True
        if self.session.lease is not None:
            self.session.lease.server.pause()

    def client_drained(self) -> None:
        """The client reads again."""
        self._client_full = False
        if self.session.lease is not None:
            self.session.lease.server.resume()
        if self.phase is not Phase.GONE:
            self._on()

    def gone(self, reason: str) -> None:
        """The client has left, whatever was going on."""
        if self.phase is Phase.GONE:
            return
        idle = self.phase is Phase.IDLE
        self.phase = Phase.GONE
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.addErrback(lambda _: None)
            pending.cancel()
        lease = self.session.lease
        if lease is None:
            return
        if not idle or self.session.in_transaction:
            lease.server.detach(self)
            lease.server.close(f"client left in the middle: {reason}")
        self._give_back(lease)


_CANCELLED = Refusal("57014", "canceling statement due to user request")


def _begins(statement: Statement) -> bool:
    return any(part.kind is Kind.BEGIN for part in statement.parts or (statement,))


def _whole(answer: Answer) -> bytes:
    return (answer.description or b"") + answer.rows + answer.complete


def _broken(error: PluginRaised) -> Refusal:
    return Refusal("XX000", str(error))
