"""Puts a plain statement on its server, which has it already; else the long way is taken."""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING

from pgbeam_core.session.extended import Plan
from pgbeam_core.session.sending import unannotated
from pgbeam_core.session.server_settings import send_settings
from pgbeam_core.session.steps import BIND, BOUND, DESCRIBE, DESCRIBED, EXECUTE, SIMPLE, Owed, say
from pgbeam_core.wire import backend

if TYPE_CHECKING:
    from pgbeam_core.api.query import Query
    from pgbeam_core.session.conversation import Conversation
    from pgbeam_core.session.fast_path.requests import Request
    from pgbeam_core.session.prepared import Key, ServerStatements
    from pgbeam_core.session.turns import Turn

_SAYS_PARSED = say(backend.PARSE_COMPLETE)
_SCRIPTS: dict[tuple[bool, bool], tuple[Owed, ...]] = {
    (True, True): (_SAYS_PARSED, BIND, DESCRIBE, EXECUTE),
    (True, False): (_SAYS_PARSED, BIND, EXECUTE),
    (False, True): (BIND, DESCRIBE, EXECUTE),
    (False, False): (BIND, EXECUTE),
}
"""(with Parse, with Describe) → what the server owes."""


def send_simple(conversation: Conversation, frame: bytes, query: Query) -> None:
    """A Query message; its twin is `Sender.send_query`."""
    sender = conversation.sender
    if conversation.transaction.kept_back and not query.lazily:
        sender.send_query(frame, query)
        return
    turn = _turn(conversation, query, simple=True)
    turn.form = SIMPLE
    sender.server.statements.unnamed = None
    sender.send(turn, unannotated(frame, query.statement))


def send_extended(conversation: Conversation, request: Request, query: Query) -> None:
    """Bind, Describe and Execute, behind Parse or not; its twin is `ExtendedSender.send`."""
    sender, prepared = conversation.sender, request.prepared
    name = _ready_name(sender.server.statements, prepared.key, conversation.epoch if request.parsed else None)
    if name is None or (conversation.transaction.kept_back and not query.lazily):
        conversation.extended_sender.send(_plan(conversation, request), [query])
        return
    if request.parsed:
        conversation.client_statements.statements[b""] = prepared
    turn = _turn(conversation, query, simple=False)
    turn.script = deque(_SCRIPTS[request.parsed, request.described])
    turn.renamed = name, request.name
    turn.form = DESCRIBED if request.described else BOUND
    if request.parsed:
        turn.prefix = backend.PARSE_COMPLETE
    if (request.parsed or request.described) and (query.lazily or not query.in_transaction):
        turn.again = partial(_again, conversation, request)
    # Whatever it server_statements, the unnamed portal is another one now, of a statement without effects.
    conversation.client_statements.portals.pop(b"", None)
    sender.send(turn, request.rebound(name))


def _turn(conversation: Conversation, query: Query, *, simple: bool) -> Turn:
    """The turn of one plain statement, on a server that has been given the client's run-time parameters."""
    sender = conversation.sender
    send_settings(conversation.session, sender.server)
    turn = sender.new_turn([query], simple=simple, ended=True)
    turn.outside = query.lazily
    turn.expected_ready = backend.ready_for_query(conversation.session.server_status)
    return turn


def _ready_name(server_statements: ServerStatements, key: Key, epoch: int | None) -> bytes | None:
    """The name under which the server has a statement, if nothing else has to be said to it first.

    epoch: the client has just parsed it, so it must be as the server would parse it with the tables as they are now.
    """
    name = server_statements.names.get(key)
    if name is None or server_statements.stale or len(server_statements.names) > server_statements.limit:
        return None
    if epoch is not None and server_statements.epochs.get(key) != epoch:
        return None
    server_statements.names.move_to_end(key)
    return name


def _again(conversation: Conversation, request: Request, turn: Turn) -> None:
    conversation.extended_sender.send_again(_plan(conversation, request), turn)


def _plan(conversation: Conversation, request: Request) -> Plan:
    # Its statement is the one that plugins have been asked about, remembered by now or not.
    return Plan().read(
        request.frames(), conversation.client_statements, lambda _text, _unsure: request.prepared.statement
    )
