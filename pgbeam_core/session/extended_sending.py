"""Puts requests of the extended protocol on a conversation's server, whole or part by part."""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING

from pgbeam_core.api.query import Query
from pgbeam_core.api.statement import Statement
from pgbeam_core.session import forms, local, outdated
from pgbeam_core.session.extended import BIND, DESCRIBE, FLUSH, PARSE, SYNC, Plan
from pgbeam_core.session.prepared import Prepared, ServerStatements
from pgbeam_core.session.progress import Progress
from pgbeam_core.session.rewrite import Rewriter
from pgbeam_core.session.sending import may_reset_name
from pgbeam_core.session.server_settings import send_settings
from pgbeam_core.session.steps import Owed, say
from pgbeam_core.session.turns import Fate, Turn
from pgbeam_core.wire import frontend
from pgbeam_core.wire.large import HEAD_BYTES

if TYPE_CHECKING:
    from pgbeam_core.session.conversation import Conversation

_NO_SERVER = ServerStatements(0)
"""What a server has that does not exist: for requests that none has to see."""


class ExtendedSender:
    """Plans of one conversation, written for the server that it has and sent there."""

    __slots__ = ("_conversation", "_writer", "plan")

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._writer: Rewriter | None = None
        """Of the request that is under way: what its parts have made of the server's statements is for the next."""
        self.plan: Plan | None = None
        """The last part of the request that is under way."""

    @property
    def is_outside(self) -> bool:
        """Whether the request under way runs outside of the client's transaction, and has executed nothing yet."""
        turn = self._conversation.turn
        return turn is not None and turn.outside and not turn.queries

    def send(self, plan: Plan, queries: list[Query]) -> None:
        """The first part of a request of the extended protocol."""
        conversation = self._conversation
        sender = conversation.sender
        send_settings(conversation.session, sender.server)
        ended = plan.steps[-1].tag == SYNC
        turn = sender.new_turn(queries, simple=False, ended=ended)
        turn.in_parts = not ended
        turn.at_flush = plan.at_flush
        turn.unexecuted = plan.unexecuted
        turn.resets_name = may_reset_name(queries)
        turn.outside = conversation.transaction.reads and self._runs_outside(plan, queries)
        beginning = sender.beginning(queries, outside=turn.outside, plan=plan)
        frames, script = self._write(plan)
        if beginning is None:
            turn.script = deque(script)
            free = turn.outside or not conversation.session.in_transaction
            if ended and free and (plan.at_flush or forms.learns_columns(plan)):
                turn.again = partial(self.send_again, plan)
        else:
            turn.script = deque(beginning.script + script)
            frames = beginning.frames + frames
        self._send_all(turn, frames)
        if ended or plan.steps[-1].tag == FLUSH:
            sender.server.inject_due(turn)

    def send_more(self, plan: Plan, queries: list[Query]) -> None:
        """A further part of a request that is under way."""
        conversation = self._conversation
        sender = conversation.sender
        turn = conversation.turn
        assert turn is not None
        turn.outside = turn.outside and self._runs_outside(plan, queries)
        beginning = sender.beginning(queries, outside=turn.outside, plan=plan)
        conversation.transaction.queries_sent(queries)
        frames, script = self._write(plan)
        if beginning is not None:
            turn.add(beginning.script)
            frames = beginning.frames + frames
        turn.add(script)
        turn.unexecuted += plan.unexecuted
        if queries:
            turn.kept = None  # it would be the replies to several
            turn.queries += queries
            turn.resets_name = turn.resets_name or may_reset_name(queries)
        last = plan.steps[-1].tag
        if last == SYNC:
            turn.enter(Progress.ENDED)
        sender.write_all(_pieces(frames))
        if last == SYNC or last == FLUSH:
            sender.server.inject_due(turn)
        conversation.request_sent(turn)

    def send_again(self, plan: Plan, turn: Turn) -> None:
        """Tables changed behind the server's back: have it plan the statements anew. The client has seen no byte
        but ParseComplete, and not that at a Flush."""
        conversation = self._conversation
        sender = conversation.sender
        for step in plan.steps:
            if step.prepared is not None:
                sender.server.statements.outdated(step.prepared.key)
        if turn.refused is not None and outdated.is_stale_plan(turn.refused):
            conversation.runtime.outdated()
        writer = self._rewriter(sender.server.statements, alone=False)
        writer.parses_said = not turn.at_flush
        if turn.at_flush:
            turn.withheld.clear()
        writer.write(plan)
        conversation.stats.server_parses += writer.parses
        turn.again, turn.fate, turn.error = None, Fate.TOLD, None
        turn.script = deque(writer.script)
        sender.send(turn, b"".join(writer.out))

    def doubt(self, error: bytes, queries: list[Query]) -> None:
        """Statements ended in that error, perhaps because tables are not what they were when the server parsed them."""
        if not (outdated.may_be(error) or outdated.is_missing(error)):
            return
        statements = self._conversation.sender.server.statements
        if outdated.is_stale_plan(error):
            self._conversation.runtime.outdated()
        for query in queries:
            statements.outdated((query.statement.text, query.types))
        for step in self.plan.steps if self.plan is not None else ():
            if step.prepared is not None and step.tag in (BIND, DESCRIBE):
                statements.outdated(step.prepared.key)

    def answer_alone(self, plan: Plan) -> tuple[bytes, bool]:
        """The reply to a request that no server has to see, and whether it ended in an error."""
        writer = self._rewriter(_NO_SERVER, alone=True)
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

    def flush(self) -> None:
        """Have the server say what it has to say so far, and say what is PgBeam's."""
        server, turn = self._conversation.sender.server, self._conversation.turn
        server.write(frontend.FLUSH)
        if turn is not None:
            server.inject_due(turn)

    def probe(self) -> None:
        """Have the server tell what came of what was sent so far: it may be in copy-in mode, or not."""
        server, turn = self._conversation.sender.server, self._conversation.turn
        assert turn is not None
        turn.add([say(b"", lambda _ok: self._conversation.copying.was_not_wanted())])
        server.write(frontend.FLUSH)
        server.inject_due(turn)

    def _write(self, plan: Plan) -> tuple[list[bytes], list[Owed]]:
        conversation = self._conversation
        sender = conversation.sender
        for step in plan.executions:
            assert step.prepared is not None
            statement = step.prepared.statement
            if not statement.rows_only:
                sender.leave_databases(statement)
        self._bound(plan)
        self.plan = plan
        if plan.speaks_of_any:
            sender.server.state.add("prepare")
        if self._writer is None:
            self._writer = self._rewriter(sender.server.statements, alone=False)
        self._writer.write(plan)
        conversation.stats.server_parses += self._writer.parses
        return self._writer.out, self._writer.script

    def _runs_outside(self, plan: Plan, queries: list[Query]) -> bool:
        """Whether it may run outside of a transaction that is kept back: no code of users runs as texts are read."""
        if not forms.runs_outside(plan, queries):
            return False
        view, now = self._conversation.tracker.catalog_view, self._conversation.runtime.now()
        if not view.checks_types(now):
            return True
        parsed = [step.prepared for step in plan.steps if step.tag == PARSE and not step.local]
        return not any(prepared is not None and view.may_leave(prepared.statement, now) for prepared in parsed)

    def _bound(self, plan: Plan) -> None:
        """Reading a text and planning it run functions too, whether an Execute follows or not."""
        conversation = self._conversation
        tracker, server, now = conversation.tracker, conversation.sender.server, conversation.runtime.now()
        last: Prepared | None = None
        for step in plan.steps:
            if step.tag == BIND or step.malformed:
                if step.prepared is None:
                    if step.malformed or conversation.leasing.may_have_prepared:
                        tracker.doubt(server)
                elif not step.local and step.prepared is not last:
                    last = step.prepared
                    tracker.statement_sent(last.statement, server, now)
            elif step.tag == PARSE and not step.local and tracker.catalog_view.checks_types(now):
                assert step.prepared is not None
                tracker.statement_sent(step.prepared.statement, server, now)

    def _send_all(self, turn: Turn, frames: list[bytes]) -> None:
        sender = self._conversation.sender
        first, *rest = _pieces(frames)
        sender.send(turn, first)
        sender.write_all(rest)

    def _rewriter(self, server_statements: ServerStatements, *, alone: bool) -> Rewriter:
        conversation = self._conversation
        lease = conversation.session.lease
        return Rewriter(
            conversation.client_statements,
            server_statements,
            executed=self._executed,
            perform=partial(local.execute, conversation),
            failed=conversation.session.status == b"E",
            alone=alone,
            prepare_once=conversation.prepare_once,
            epoch=conversation.epoch,
            shared=lease is not None and lease.shared,
        )

    def _executed(self, statement: Statement) -> None:
        conversation = self._conversation
        turn = conversation.turn
        tag = turn.tags[-1] if turn is not None and turn.tags else b""
        conversation.tracker.succeeded(statement, tag, conversation.sender.server)
        if turn is not None and turn.in_parts and conversation.tracker.ended_transactions:
            conversation.completion.report_finished(turn)  # what was done before the transaction ended is part of it


def _pieces(frames: list[bytes]) -> list[bytes]:
    """The messages in one piece, but those among which there is a large one as they are: they are not copied."""
    for frame in frames:
        if len(frame) >= HEAD_BYTES:
            return frames
    return [b"".join(frames)]
