"""Puts the requests of one conversation on its server."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from pgbeam_core.api.query import Query
from pgbeam_core.api.statement import Statement
from pgbeam_core.internal.named_parse import NamedParse
from pgbeam_core.session.beginning import Beginning
from pgbeam_core.session.databases import to_be_left
from pgbeam_core.session.extended import Plan
from pgbeam_core.session.progress import Progress
from pgbeam_core.session.retry import is_elsewhere
from pgbeam_core.session.server_settings import are_given, send_settings
from pgbeam_core.session.state import CHECKED
from pgbeam_core.session.steps import FREE, TO_THE_END
from pgbeam_core.session.tracker import resets_name
from pgbeam_core.session.turns import Turn
from pgbeam_core.wire import frontend
from pgbeam_core.wire.large import rest_of

if TYPE_CHECKING:
    from pgbeam_core.api.pool import Server
    from pgbeam_core.session.conversation import Conversation


class Sender:
    """Writes a conversation's requests, and tells the tracker what came of them."""

    __slots__ = ("_conversation",)

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation

    @property
    def _turn(self) -> Turn | None:
        return self._conversation.turn

    @property
    def server(self) -> Server:
        lease = self._conversation.session.lease
        assert lease is not None
        return lease.server

    def send_query(self, frame: bytes, query: Query) -> None:
        self.send_raw(unannotated(frame, query.statement), [query])

    def send_raw(self, frame: bytes, queries: list[Query]) -> None:
        """A Query or FunctionCall message; every byte of the reply is the client's."""
        if self._turn is not None and not self._turn.ended:
            self._send_behind(self._turn, frame, queries)
            return
        send_settings(self._conversation.session, self.server)
        rest = rest_of(frame)
        if not queries:  # not even its text is known
            self._conversation.tracker.doubt(self.server)
        for query in queries:
            self._parse_under_client_name(query.statement)
            self.leave_databases(query.statement)
        turn = self.new_turn(queries, simple=True, ended=True)
        turn.resets_name = may_reset_name(queries)
        if not queries:  # nobody knows what it is
            self._conversation.transaction.only_read = False
        turn.outside = bool(queries) and queries[0].lazily
        self.server.statements.unnamed = None
        beginning = self.beginning(queries, outside=turn.outside, plan=None)
        if beginning is not None:
            turn.script = deque([*beginning.script, TO_THE_END])
            frame = b"".join([*beginning.frames, frame])
        self.send(turn, frame)
        self.write_all(rest)

    def sync_after_failed_begin(self, turn: Turn) -> None:
        """BEGIN has failed ahead of a Query: the server skips that, and waits for a Sync."""
        turn.enter(Progress.ENDED)
        self.server.write(frontend.SYNC)

    def beginning(self, queries: list[Query], *, outside: bool, plan: Plan | None) -> Beginning | None:
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

    def _send_behind(self, turn: Turn, frame: bytes, queries: list[Query]) -> None:
        """Messages of the extended protocol without a Sync came before it: its ReadyForQuery ends them all."""
        rest = rest_of(frame)
        # PostgreSQL 18 may be left in a state in which the next statement fails: not for another client.
        self.server.state.add("unfinished_pipeline")
        turn.outside = False  # what stands behind it has a transaction to be in
        beginning = self.beginning(queries, outside=False, plan=None)
        self._conversation.transaction.queries_sent(queries)
        if not queries:  # nobody knows what it is
            self._conversation.transaction.only_read = False
        if beginning is not None:
            turn.add(beginning.script)
            frame = b"".join([*beginning.frames, frame])
        turn.add([TO_THE_END])
        turn.queries += queries
        turn.resets_name = turn.resets_name or may_reset_name(queries)
        self._in_flight(queries)
        if turn.progress is not Progress.SKIPPING:  # else the server skips this too
            turn.enter(Progress.ENDED)
        self.server.write(frame)
        self.write_all(rest)
        self._conversation.request_sent(turn)

    def send_copy_data(self, frame: bytes) -> None:
        self.server.write(frame)
        self.write_all(rest_of(frame))

    def apply_effects(self, turn: Turn) -> None:
        """A turn has ended: statements of the simple protocol have their effects now."""
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
        self._conversation.transaction.queries_sent(queries)
        self._conversation.turn = turn
        return turn

    def _in_flight(self, queries: list[Query]) -> None:
        tracker, server = self._conversation.tracker, self.server
        last: Statement | None = None
        for query in queries:
            if query.statement is not last:  # batches are of one statement, again and again
                last = query.statement
                tracker.statement_sent(last, server, query.arrived)

    def send(self, turn: Turn, data: bytes) -> None:
        server = self.server
        if CHECKED:
            assert are_given(self._conversation.session, server, turn.queries), "a request ran with foreign settings"
        self._conversation.request_sent(turn)
        server.send(turn, data)

    def write_all(self, pieces: list[bytes]) -> None:
        for piece in pieces:
            self.server.write(piece)

    def leave_databases(self, statement: Statement) -> None:
        """Close PgBeam's own idle servers where they would make a statement fail."""
        for name in to_be_left(statement):
            self._conversation.runtime.leave(self._conversation.session, name)

    def _parse_under_client_name(self, statement: Statement) -> None:
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
            if prepared is not None and server.statements.client_names.get(name) != prepared.key:
                close = frontend.Close(frontend.STATEMENT, name).to_bytes()
                frame = prepared.parse_frame(name)
                turn = Turn(NamedParse(server.statements, name, prepared.key), simple=True)
                turn.at = FREE
                server.send(turn, close + frame)
                self.write_all([*prepared.rest, frontend.SYNC])
                server.state.add("prepare")


def may_reset_name(queries: list[Query]) -> bool:
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
