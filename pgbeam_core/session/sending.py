"""Puts the requests of one conversation on its server."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from pgbeam_core.api.query import Query
from pgbeam_core.api.statement import Statement
from pgbeam_core.internal.lending import Lending
from pgbeam_core.session import forms, local, outdated, settings
from pgbeam_core.session.beginning import Beginning
from pgbeam_core.session.databases import to_be_left
from pgbeam_core.session.extended import BIND, DESCRIBE, FLUSH, SYNC, Plan
from pgbeam_core.session.failing import Failing
from pgbeam_core.session.prepared import Prepared, ServerStatements
from pgbeam_core.session.retry import is_elsewhere
from pgbeam_core.session.rewrite import PROVOKE, Rewriter
from pgbeam_core.session.state import Phase
from pgbeam_core.session.steps import FREE, TO_THE_END, Owed, say
from pgbeam_core.session.tracker import resets_name
from pgbeam_core.session.turns import Fate, Turn
from pgbeam_core.wire import frontend
from pgbeam_core.wire.large import HEAD_BYTES, rest_of

if TYPE_CHECKING:
    from pgbeam_core.api.pool import Server
    from pgbeam_core.session.conversation import Conversation

_NONE_HELD = ServerStatements(0)


class Sender:
    """Writes a conversation's requests, and tells the tracker what came of them."""

    __slots__ = ("_conversation", "_writer", "plan")

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._writer: Rewriter | None = None
        self.plan: Plan | None = None
        """The last part of the request that is under way."""

    @property
    def is_outside(self) -> bool:
        """Whether the request under way runs outside of the client's transaction, and has executed nothing yet."""
        return self._turn is not None and self._turn.outside and not self._turn.queries

    @property
    def _turn(self) -> Turn | None:
        return self._conversation.turn

    @property
    def server(self) -> Server:
        lease = self._conversation.session.lease
        assert lease is not None
        return lease.server

    def simple(self, frame: bytes, query: Query) -> None:
        self.raw(unannotated(frame, query.statement), [query])

    def raw(self, frame: bytes, queries: list[Query]) -> None:
        """A Query or FunctionCall message; every byte of the reply is the client's."""
        if self._turn is not None and not self._turn.ended:
            self._raw_behind(self._turn, frame, queries)
            return
        self.prepare_server()
        rest = rest_of(frame)
        if not queries:  # not even its text is known
            self._conversation.tracker.doubt(self.server)
        for query in queries:
            self._lend(query.statement)
            self._leave_databases(query.statement)
        turn = self.new_turn(queries, simple=True, ended=True)
        turn.resets_name = _may_reset_name(queries)
        if not queries:  # nobody knows what it is
            self._conversation.transaction.only_read = False
        turn.outside = bool(queries) and queries[0].lazily
        self.server.statements.unnamed = None
        beginning = self._beginning(queries, outside=turn.outside, plan=None)
        if beginning is not None:
            turn.script = deque([*beginning.script, TO_THE_END])
            frame = b"".join([*beginning.frames, frame])
        self.send(turn, frame)
        self._write_all(rest)

    def end(self, turn: Turn) -> None:
        """BEGIN has failed ahead of a Query: the server skips that, and waits for a Sync."""
        turn.ended, turn.skipping = True, False
        self.server.write(frontend.SYNC)

    def _beginning(self, queries: list[Query], *, outside: bool, plan: Plan | None) -> Beginning | None:
        """What makes the client's transaction real, if it is kept back and this request needs it."""
        conversation = self._conversation
        transaction = conversation.transaction
        turn = self._turn
        assert turn is not None
        if not transaction.kept_back or turn.begins:
            return None
        if outside:
            transaction.has_read = True
            return None
        turn.begins = True
        transaction.why = transaction.reason(queries)
        conversation.stats.begun(transaction.why)
        for query in queries:
            query.facts["transaction"] = "begun"
        return Beginning(transaction, self.server.statements, queries, plan)

    def _raw_behind(self, turn: Turn, frame: bytes, queries: list[Query]) -> None:
        """Messages of the extended protocol without a Sync came before it: its ReadyForQuery ends them all."""
        skipped, rest = turn.skipping, rest_of(frame)
        # PostgreSQL 18 may be left in a state in which the next statement fails: not for another client.
        self.server.state.add("unfinished_pipeline")
        turn.outside = False  # what stands behind it has a transaction to be in
        beginning = self._beginning(queries, outside=False, plan=None)
        self._conversation.transaction.sent(queries)
        if not queries:  # nobody knows what it is
            self._conversation.transaction.only_read = False
        if beginning is not None:
            turn.add(beginning.script)
            frame = b"".join([*beginning.frames, frame])
        turn.add([TO_THE_END])
        turn.queries += queries
        turn.resets_name = turn.resets_name or _may_reset_name(queries)
        self._in_flight(queries)
        turn.ended = not skipped
        self.server.write(frame)
        self._write_all(rest)
        self._conversation.sent(turn)

    def extended(self, plan: Plan, queries: list[Query]) -> None:
        """The first part of a request of the extended protocol."""
        self.prepare_server()
        ended = plan.steps[-1].tag == SYNC
        turn = self.new_turn(queries, simple=False, ended=ended)
        turn.in_parts = not ended
        turn.at_flush = plan.at_flush
        turn.resets_name = _may_reset_name(queries)
        turn.outside = self._conversation.transaction.reads and forms.runs_outside(plan, queries)
        beginning = self._beginning(queries, outside=turn.outside, plan=plan)
        frames, script = self._write(plan)
        if beginning is None:
            turn.script = deque(script)
            free = turn.outside or not self._conversation.session.in_transaction
            if ended and free and (plan.at_flush or forms.learns_columns(plan)):
                turn.again = partial(self.again, plan)
        else:
            turn.script = deque(beginning.script + script)
            frames = beginning.frames + frames
        self._send_all(turn, frames)
        if ended or plan.steps[-1].tag == FLUSH:
            self.server.settle(turn)

    def again(self, plan: Plan, turn: Turn) -> None:
        """Tables changed behind the server's back: have it plan the statements anew. The client has seen no byte
        but ParseComplete, and not that at a Flush."""
        for step in plan.steps:
            if step.prepared is not None:
                self.server.statements.outdated(step.prepared.key)
        if turn.refused is not None and outdated.is_stale_plan(turn.refused):
            self._conversation.runtime.outdated()
        writer = self._rewriter(self.server.statements, alone=False)
        writer.parses_said = not turn.at_flush
        if turn.at_flush:
            turn.withheld.clear()
        writer.write(plan)
        self._conversation.stats.server_parses += writer.parses
        turn.again, turn.fate, turn.error = None, Fate.TOLD, None
        turn.script = deque(writer.script)
        self.send(turn, b"".join(writer.out))

    def doubt(self, error: bytes, queries: list[Query]) -> None:
        """Statements ended in that error, perhaps because tables are not what they were when the server parsed them."""
        if not outdated.may_be(error):
            return
        if outdated.is_stale_plan(error):
            self._conversation.runtime.outdated()
        for query in queries:
            self.server.statements.outdated((query.statement.text, query.types))
        for step in self.plan.steps if self.plan is not None else ():
            if step.prepared is not None and step.tag in (BIND, DESCRIBE):
                self.server.statements.outdated(step.prepared.key)

    def more(self, plan: Plan, queries: list[Query]) -> None:
        """A further part of a request that is under way."""
        turn = self._turn
        assert turn is not None
        turn.outside = turn.outside and forms.runs_outside(plan, queries)
        beginning = self._beginning(queries, outside=turn.outside, plan=plan)
        self._conversation.transaction.sent(queries)
        frames, script = self._write(plan)
        if beginning is not None:
            turn.add(beginning.script)
            frames = beginning.frames + frames
        turn.add(script)
        if queries:
            turn.kept = None  # it would be the replies to several
            turn.queries += queries
            turn.resets_name = turn.resets_name or _may_reset_name(queries)
        last = plan.steps[-1].tag
        turn.ended = last == SYNC
        self._write_all(_pieces(frames))
        if last == SYNC or last == FLUSH:
            self.server.settle(turn)
        self._conversation.sent(turn)

    def flush(self) -> None:
        """Have the server say what it has to say so far, and say what is PgBeam's."""
        self.server.write(frontend.FLUSH)
        if self._turn is not None:
            self.server.settle(self._turn)

    def probe(self) -> None:
        """Have the server tell what came of what was sent so far: it may be in copy-in mode, or not."""
        turn = self._turn
        assert turn is not None
        turn.add([say(b"", lambda _ok: self._conversation.copying.was_not_wanted())])
        self.server.write(frontend.FLUSH)
        self.server.settle(turn)

    def copy(self, frame: bytes) -> None:
        self.server.write(frame)
        self._write_all(rest_of(frame))

    def provoke(self, error: bytes, *, ended: bool) -> None:
        """An error of PgBeam's own that puts the server's transaction into the failed state too.

        ended: the request that it refuses has come to its Sync, or needs none. Else the client's Sync will follow.
        """
        request = PROVOKE + frontend.SYNC if ended else PROVOKE
        turn = self._turn if self._turn is not None and not self._turn.ended else None
        step = Owed(b"2", instead_of_error=error)
        if turn is not None:
            # Only a Query comes to this behind an unfinished pipeline, and it has its own ReadyForQuery.
            turn.add([step])
            turn.ended = ended
            turn.spoilt = not ended
            self.server.write(request)
            self._conversation.sent(turn)
            return
        turn = self.new_turn([], simple=False, ended=ended)
        turn.spoilt = not ended
        turn.script = deque([step])
        self.send(turn, request)

    def fail_first(self, send_request: Callable[[], None]) -> None:
        """The client is in a failed transaction that no server knows of: have the server in one too, and go on."""
        conversation = self._conversation
        conversation.transaction.has_read = False  # of no account any more
        beginning = Beginning(conversation.transaction, self.server.statements, ())
        turn = Turn(Failing(conversation, send_request), simple=False)
        turn.script = deque([*beginning.script, Owed(b"2")])
        conversation.state.enter(Phase.BUSY)
        self.server.send(turn, b"".join([*beginning.frames, PROVOKE, frontend.SYNC]))

    def alone(self, plan: Plan) -> tuple[bytes, bool]:
        """The reply to a request that no server has to see, and whether it ended in an error."""
        writer = self._rewriter(_NONE_HELD, alone=True)
        writer.write(plan)
        said = []
        for step in writer.script:
            said.append(step.inject or b"")
            if step.effect is not None:
                step.effect(True)
        return b"".join(said), bool(said) and said[-1].startswith(b"E")

    def forget(self) -> None:
        """The server is gone, and what it owed with it."""
        self._writer = self.plan = None

    def settle(self, turn: Turn) -> None:
        """A turn has ended: statements of the simple protocol have their effects now."""
        self._writer = self.plan = None
        if not turn.queries or not turn.queries[-1].simple:
            return
        statement, server = turn.queries[-1].statement, self.server
        if not turn.simple:  # a Query behind messages of the extended protocol
            server.statements.unnamed = None
        if not statement.has_effects:
            return
        tracker = self._conversation.tracker
        parts = statement.parts or (statement,)
        # Behind others, nothing of it was done unless all was: an error on the way leaves the tags of those others.
        done = turn.tags if turn.simple else turn.tags[-len(parts) :] if turn.error is None else []
        for part, tag in zip(parts, done, strict=False):
            tracker.succeeded(part, tag, server)

    def new_turn(self, queries: list[Query], *, simple: bool, ended: bool) -> Turn:
        turn = Turn(self._conversation, simple=simple, ended=ended)
        lease = self._conversation.session.lease
        turn.shared = lease is not None and lease.shared
        turn.queries = queries
        if self._conversation.session.replication:
            turn.at = FREE
        self._in_flight(queries)
        if len(queries) == 1:
            turn.elsewhere = ended and is_elsewhere(queries[0])
            if queries[0].keep:
                turn.keep_up_to(queries[0].keep)
        self._conversation.transaction.sent(queries)
        self._conversation.turn = turn
        return turn

    def _in_flight(self, queries: list[Query]) -> None:
        tracker, server = self._conversation.tracker, self.server
        last: Statement | None = None
        for query in queries:
            if query.statement is not last:  # batches are of one statement, again and again
                last = query.statement
                tracker.sent(last, server, query.arrived)

    def _bound(self, plan: Plan) -> None:
        """Planning runs functions too, whether an Execute follows or not."""
        tracker, server, now = self._conversation.tracker, self.server, self._conversation.runtime.now()
        last: Prepared | None = None
        for step in plan.steps:
            if step.tag == BIND or step.malformed:
                if step.prepared is None:
                    if step.malformed or self._conversation.leasing.may_have_prepared:
                        tracker.doubt(server)
                elif not step.local and step.prepared is not last:
                    last = step.prepared
                    tracker.sent(last.statement, server, now)

    def send(self, turn: Turn, data: bytes) -> None:
        self._conversation.sent(turn)
        self.server.send(turn, data)

    def _send_all(self, turn: Turn, frames: list[bytes]) -> None:
        first, *rest = _pieces(frames)
        self.send(turn, first)
        self._write_all(rest)

    def _write_all(self, pieces: list[bytes]) -> None:
        for piece in pieces:
            self.server.write(piece)

    def prepare_server(self) -> None:
        """Give the server the client's run-time parameters, ahead of the request; `Leasing` has seen that it can be."""
        session, server = self._conversation.session, self.server
        now = session.settings.now
        if server.settings is now or session.begun:
            return
        if server.settings != now:
            server.lift_timeouts()
        has = server.settings
        sql = settings.difference(has, now) if settings.is_certain(has, now) else None
        if sql is not None:
            server.aside(frontend.Query(sql).to_bytes(), "its settings could not be made those of the client")
            server.settings = now

    def _write(self, plan: Plan) -> tuple[list[bytes], list[Owed]]:
        for step in plan.executions:
            assert step.prepared is not None
            statement = step.prepared.statement
            if not statement.plain:
                self._leave_databases(statement)
        self._bound(plan)
        self.plan = plan
        if plan.lends:
            self.server.state.add("prepare")
        if self._writer is None:
            self._writer = self._rewriter(self.server.statements, alone=False)
        self._writer.write(plan)
        self._conversation.stats.server_parses += self._writer.parses
        return self._writer.out, self._writer.script

    def _leave_databases(self, statement: Statement) -> None:
        """Close PgBeam's own idle servers where they would make a statement fail."""
        for name in to_be_left(statement):
            self._conversation.runtime.leave(self._conversation.session, name)

    def _lend(self, statement: Statement) -> None:
        """SQL that speaks of a statement which the client prepared by the protocol finds it under that name."""
        session, server, statements = (
            self._conversation.session,
            self.server,
            self._conversation.client_statements.statements,
        )
        for part in statement.parts or (statement,):
            name = part.speaks_of
            if name is None or session.status == b"E":
                continue
            prepared = statements.get(name)
            if prepared is not None and server.statements.lent.get(name) != prepared.key:
                close = frontend.Close(frontend.STATEMENT, name).to_bytes()
                frame = prepared.parse_frame(name)
                turn = Turn(Lending(server.statements, name, prepared.key), simple=True)
                turn.at = FREE
                server.send(turn, close + frame)
                self._write_all([*prepared.rest, frontend.SYNC])
                server.state.add("prepare")

    def _rewriter(self, held: ServerStatements, *, alone: bool) -> Rewriter:
        conversation = self._conversation
        lease = conversation.session.lease
        return Rewriter(
            conversation.client_statements,
            held,
            executed=self._executed,
            perform=partial(local.execute, conversation),
            failed=conversation.session.status == b"E",
            alone=alone,
            once=conversation.prepare_once,
            epoch=conversation.epoch,
            shared=lease is not None and lease.shared,
        )

    def _executed(self, statement: Statement) -> None:
        turn = self._turn
        conversation = self._conversation
        tag = turn.tags[-1] if turn is not None and turn.tags else b""
        conversation.tracker.succeeded(statement, tag, self.server)
        if turn is not None and turn.in_parts and conversation.tracker.over:
            conversation.completion.report_finished(turn)  # what was done before the transaction ended is part of it


def _may_reset_name(queries: list[Query]) -> bool:
    """Whether one of them sets application_name back to what it was at startup."""
    last: Statement | None = None
    for query in queries:
        statement = query.statement
        if statement is last:
            continue
        last = statement
        if statement.has_effects and any(resets_name(part) for part in statement.parts or (statement,)):
            return True
    return False


def unannotated(frame: bytes, statement: Statement) -> bytes:
    """The Query message as the server is to see it."""
    return frontend.Query(statement.text).to_bytes() if statement.annotated else frame


def _pieces(frames: list[bytes]) -> list[bytes]:
    """The messages in one piece, but those among which there is a large one as they are: they are not copied."""
    for frame in frames:
        if len(frame) >= HEAD_BYTES:
            return frames
    return [b"".join(frames)]
