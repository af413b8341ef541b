"""Recognises the requests that are one plain statement and nothing else."""

from __future__ import annotations

from functools import partial
from struct import Struct
from typing import TYPE_CHECKING

from pgbeam_core.errors import ProtocolViolation
from pgbeam_core.session import forms, outcome
from pgbeam_core.session.fast_path.requests import Request
from pgbeam_core.session.fast_path.sending import send_extended, send_simple
from pgbeam_core.session.prepared import Prepared
from pgbeam_core.wire import frontend, names

if TYPE_CHECKING:
    from pgbeam_core.api.results import Answer
    from pgbeam_core.api.statement import Statement
    from pgbeam_core.session.conversation import Conversation

_HEADER = Struct("!BI")
_QUERY, _PARSE, _BIND = b"QPB"
_LONGEST = 64 * 1024
"""Bytes of a request; longer ones have no use for a short way."""

_MOST_PARSED = 8
"""Parses of one client that are recognised: BEGIN, COMMIT and some statements between."""
_LONGEST_PARSE = 8 * 1024

_DESCRIBE_PORTAL = frontend.Describe(frontend.PORTAL, b"").to_bytes()
_EXECUTE = frontend.Execute(b"", 0).to_bytes()
_TAILS = {_DESCRIBE_PORTAL + _EXECUTE + frontend.SYNC: True, _EXECUTE + frontend.SYNC: False}
"""What may follow Bind: is the portal described?"""


class FastPath:
    """Recognises the plain statements of one conversation and sends them on their way."""

    __slots__ = ("_conversation", "_parsed", "_passed")

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._parsed: dict[bytes, Prepared] = {}
        """The client's latest Parses of the unnamed statement, and what they made."""
        self._passed: tuple[bytes, Statement] | None = None
        """A text that was looked up and does not go the short way."""

    def statement(self, text: bytes, unsure: bool = False) -> Statement:
        """The statement of a text, for the long way: one that was looked up in vain is asked for but once.

        `unsure`: something that comes before it may have changed how the server reads strings.
        """
        passed, self._passed = self._passed, None
        if unsure and self._conversation.session.misreads(text):
            return self._conversation.runtime.unread(text)
        if passed is not None and passed[0] == text:
            return passed[1]
        return self._find(text)

    def forget(self) -> None:
        self._parsed.clear()
        self._passed = None

    def _find(self, text: bytes) -> Statement:
        conversation = self._conversation
        if conversation.session.reads_otherwise and conversation.session.misreads(text):
            return conversation.runtime.unread(text)
        return conversation.runtime.statement(text)

    def recognise(self, data: bytes) -> bool:
        """Start on what the client has sent, if it is one plain statement, whole; nothing else may be under way."""
        have = len(data)
        if 12 < have <= _LONGEST and have <= self._conversation.input.most_text:
            tag = data[0]
            if tag == _QUERY:
                return self._simple(data, have)
            if tag == _PARSE or tag == _BIND:
                request = self._extended(data, have)
                if request is not None:
                    self._ask(request)
                    return True
        return False

    def _simple(self, data: bytes, have: int) -> bool:
        conversation = self._conversation
        if _HEADER.unpack_from(data)[1] != have - 1 or data.find(0, 5) != have - 1:
            return False
        text = data[5:-1]
        reads_otherwise = conversation.session.reads_otherwise
        statement = self._find(text) if reads_otherwise else conversation.runtime.statement(text)
        if not statement.rows_only and not conversation.boundaries.answers(statement):
            self._passed = text, statement
            return False
        conversation.client_statements.statements.pop(b"", None)
        conversation.ended = True
        if not statement.rows_only:
            conversation.boundaries.answer(statement, outcome.simple_reply, simple=True)
            return True
        query = conversation.requests.query(statement, simple=True, answerable=True)
        conversation.dispatch.ask(query, lambda: send_simple(conversation, data, query), outcome.simple_reply)
        return True

    def _extended(self, data: bytes, have: int) -> Request | None:
        """The request that the data are, if they are one of this form about a plain statement."""
        at = 0
        if data[0] == _PARSE:
            at = 1 + _HEADER.unpack_from(data)[1]
            if at < 9 or at + 12 > have or data[5]:
                return None
        tag, length = _HEADER.unpack_from(data, at)
        tail = at + 1 + length
        if tag != _BIND or length < 12 or data[at + 5]:
            return None
        described = _TAILS.get(data[tail:])
        name_end = data.find(0, at + 6, tail)
        if described is None or name_end < 0:
            return None
        name = data[at + 6 : name_end]
        if not at:
            prepared = self._conversation.client_statements.statements.get(name)
        else:
            prepared = None if name else self._prepared(data[:at])
        if prepared is None:
            return None
        statement = prepared.statement
        if not statement.rows_only and not (
            self._conversation.boundaries.answers(statement) and forms.has_no_parameters(prepared, data[at:tail])
        ):
            return None
        return Request(data, prepared, name, at, tail, described=described)

    def _prepared(self, parse: bytes) -> Prepared | None:
        """What a Parse of the unnamed statement makes; clients often say the same again."""
        prepared = self._parsed.get(parse)
        reads_otherwise = self._conversation.session.reads_otherwise
        if prepared is not None and prepared.description is None and not reads_otherwise:
            return prepared
        try:
            name, text, types_at = names.parse_names(parse)
        except ProtocolViolation:
            return None
        statement = self._find(text)
        prepared = Prepared(name, statement, parse[types_at:])
        if len(parse) <= _LONGEST_PARSE and not reads_otherwise:
            if len(self._parsed) >= _MOST_PARSED:
                self._parsed.clear()
            self._parsed[parse] = prepared
        if not statement.rows_only:
            self._passed = text, statement
        return prepared

    def _ask(self, request: Request) -> None:
        conversation, prepared = self._conversation, request.prepared
        conversation.ended = True
        stats = conversation.stats
        stats.binds += 1
        stats.client_parses += request.parsed

        def reply(answer: Answer) -> bytes:
            if request.parsed:
                conversation.client_statements.statements[b""] = prepared
            return request.reply(answer)

        if not prepared.statement.rows_only:
            conversation.boundaries.answer(prepared.statement, reply, simple=False)
            return
        query = conversation.requests.query(prepared.statement, simple=False, answerable=True)
        bind = request.data[request.bind_at : request.tail_at]
        query.bound(bind, prepared.key[1], described=request.described)
        conversation.dispatch.ask(query, partial(send_extended, conversation, request, query), reply)
