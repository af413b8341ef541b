"""One client of the console: the simple and the extended protocol, text and binary."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from pgbeam_core.console import language, manners, replies, values
from pgbeam_core.console.commands import Commands
from pgbeam_core.console.replies import ConsolePortal, ConsoleReply, PreparedCommand
from pgbeam_core.errors import PgBeamError, ProtocolViolation
from pgbeam_core.wire import backend, frontend
from pgbeam_core.wire.frames import FrameCutter
from pgbeam_core.wire.tags import Frontend

if TYPE_CHECKING:
    from pgbeam_core.beam import Beam
    from pgbeam_core.session.runtime import ClientConnection

log = Logger(__name__)

MOST_BYTES = 64 * 1024
"""Of one message."""
_MOST_NAMED = 1_000
"""Statements, or portals, of one client."""
ABORTED = "current transaction is aborted, commands ignored until end of transaction block"
_TRANSACTION = {"begin": b"T", "start": b"T", "commit": b"I", "end": b"I", "rollback": b"I", "abort": b"I"}


class ConsoleConversation:
    """Answers one message at a time; a client that sends ahead is not read meanwhile."""

    def __init__(self, client: ClientConnection, beam: Beam, user: str, *, admin: bool) -> None:
        self.user = user
        self.admin = admin
        self.pending: Deferred[Any] | None = None
        """What a command waits for."""
        self._client = client
        self._beam = beam
        self._commands = Commands(beam, self)
        self._cutter = FrameCutter(max_length=MOST_BYTES)
        self._frames: deque[bytes] = deque()
        self._statements: dict[bytes, PreparedCommand] = {}
        self._portals: dict[bytes, ConsolePortal] = {}
        self._status = b"I"
        self._skipping = False
        self._working = self._gone = False
        self._do: dict[int, Callable[[bytes], Deferred[bytes] | bytes]] = {
            Frontend.QUERY: self._query,
            Frontend.PARSE: self._parse,
            Frontend.BIND: self._bind,
            Frontend.DESCRIBE: self._describe,
            Frontend.EXECUTE: self._execute,
            Frontend.CLOSE: self._close,
            Frontend.SYNC: self._sync,
            Frontend.FLUSH: lambda _: b"",
        }

    def received(self, data: bytes) -> None:
        """The client sent bytes. Raises ProtocolViolation."""
        self._frames.extend(self._cutter.feed(data))
        self._next()

    def gone(self) -> None:
        """The client has left: what it waits for is given up."""
        if not self._gone:
            self._gone = True
            self._frames.clear()
            if self.pending is not None:
                self.pending.cancel()
            self._commands.gone()

    def cancel(self) -> None:
        """The client asks that what it waits for be cancelled."""
        if self.pending is not None:
            self.pending.cancel()

    def _next(self) -> None:
        while self._frames and not self._working and not self._gone:
            frame = self._frames.popleft()
            if frame[0] == Frontend.TERMINATE:
                self._client.hang_up("client said goodbye")
                return
            if self._skipping and frame[0] not in (Frontend.SYNC, Frontend.QUERY):
                continue
            act = self._do.get(frame[0])
            if act is None:
                raise ProtocolViolation(f"invalid frontend message type {frame[0]}")
            self._work(act, frame)

    def _work(self, act: Callable[[bytes], Deferred[bytes] | bytes], frame: bytes) -> None:
        done: Deferred[Any] = maybeDeferred(_called, act, frame)
        done.addErrback(self._failed, frame)
        done.addErrback(self._broken)
        if done.called:
            done.addCallback(self._say)
            return
        self._working, self.pending = True, done
        self._client.pause()
        done.addCallback(self._said_late)

    def _said_late(self, said: bytes) -> None:
        self._working, self.pending = False, None
        if self._gone:
            return
        self._say(said)
        self._client.resume()
        try:
            self._next()
        except ProtocolViolation as error:
            farewell = backend.error_response("FATAL", error.sqlstate, error.message)
            self._client.hang_up(error.message, farewell)

    def _say(self, said: bytes) -> None:
        if said and not self._gone:
            self._client.write(said)

    def _failed(self, failure: Failure, frame: bytes) -> bytes:
        """The ErrorResponse for what went wrong; in the extended protocol what follows is skipped up to Sync."""
        if failure.check(CancelledError):
            said = backend.error_response("ERROR", "57014", "canceling statement due to user request")
        elif isinstance(failure.value, PgBeamError):
            error = failure.value
            said = backend.error_response("ERROR", error.sqlstate, error.message, None, error.hint)
        else:
            return failure  # type: ignore[return-value]
        return said + self._aborted(frame)

    def _broken(self, failure: Failure) -> bytes:
        log.failure("a command at the console failed", failure=failure)
        said = backend.error_response("ERROR", "XX000", "the command failed, see the log")
        return said + self._aborted(b"")

    def _aborted(self, frame: bytes) -> bytes:
        if self._status == b"T":
            self._status = b"E"
        if frame[:1] != b"Q":
            self._skipping = True
            return b""
        return backend.READY[self._status]

    # The simple protocol.

    def _query(self, frame: bytes) -> Deferred[bytes] | bytes:
        self._skipping = False
        todo = list(language.commands(_text(frontend.Query.from_bytes(frame).sql)))
        if not todo:
            return backend.EMPTY_QUERY_RESPONSE + backend.READY[self._status]
        return self._all(todo)

    def _all(self, todo: list[language.ConsoleCommand]) -> Deferred[Any]:
        """One command after another, up to the first that fails."""
        command, rest = todo[0], todo[1:]

        def done(reply: ConsoleReply) -> Deferred[bytes] | bytes:
            self._say(reply.simple())
            return self._all(rest) if rest else backend.READY[self._status]

        return self._perform(command).addCallback(done)

    def _perform(self, command: language.ConsoleCommand) -> Deferred[Any]:
        return maybeDeferred(_called, self._performed, command)

    def _performed(self, command: language.ConsoleCommand) -> Deferred[ConsoleReply] | ConsoleReply:
        status = _TRANSACTION.get(command.verb)
        if self._status == b"E" and status != b"I":
            raise PgBeamError(ABORTED, sqlstate="25P02")
        if status is not None:
            tag = self._commands.boundary(command, failed=self._status == b"E")
            self._status = status
            return ConsoleReply(tag)
        return self._commands.perform(command)

    # The extended protocol.

    def _parse(self, frame: bytes) -> bytes:
        message = frontend.Parse.from_bytes(frame)
        if message.name and message.name in self._statements:
            name = _text(message.name)
            raise PgBeamError(f'prepared statement "{name}" already exists', sqlstate="42P05")
        _bounded(self._statements, message.name)
        todo = list(language.commands(_text(message.sql)))
        if len(todo) > 1:
            raise PgBeamError("cannot insert multiple commands into a prepared statement", sqlstate="42601")
        self._statements[message.name] = PreparedCommand(todo[0] if todo else None)
        return backend.PARSE_COMPLETE

    def _bind(self, frame: bytes) -> bytes:
        message = frontend.Bind.from_bytes(frame)
        prepared = self._statement(message.statement)
        if len(message.values) != manners.parameters_in(prepared.command) or (
            message.values and not manners.asks_catalog(prepared.command)
        ):
            text = "a command at the console takes no parameters"
            raise PgBeamError(text, sqlstate="08P01", hint="Write the values into the command.")
        _bounded(self._portals, message.portal)
        self._portals[message.portal] = ConsolePortal(prepared, message.result_formats)
        return backend.BIND_COMPLETE

    def _describe(self, frame: bytes) -> Deferred[bytes] | bytes:
        message = frontend.Describe.from_bytes(frame)
        if message.kind == frontend.STATEMENT:
            prepared = self._statement(message.name)
            count = manners.parameters_in(prepared.command)
            head = backend.ParameterDescription((values.TYPES["text"].oid,) * count).to_bytes()
            if not self._commands.shows(prepared.command):
                return head + backend.NO_DATA
            assert prepared.command is not None
            return self._perform(prepared.command).addCallback(lambda reply: head + prepared.described(reply))
        portal = self._portal(message.name)
        if not self._commands.shows(portal.prepared.command):
            return backend.NO_DATA
        return self._run(portal).addCallback(lambda reply: replies.description(reply, portal))

    def _execute(self, frame: bytes) -> Deferred[bytes] | bytes:
        message = frontend.Execute.from_bytes(frame)
        portal = self._portal(message.portal)
        if portal.prepared.command is None:
            return backend.EMPTY_QUERY_RESPONSE
        return self._run(portal).addCallback(lambda reply: portal.rows(reply, max(message.max_rows, 0)))

    def _run(self, portal: ConsolePortal) -> Deferred[Any]:
        """What the portal's command answers: it is done once."""
        command = portal.prepared.command
        assert command is not None
        if portal.reply is not None:
            return succeed(portal.reply)
        return self._perform(command).addCallback(portal.keep)

    def _close(self, frame: bytes) -> bytes:
        message = frontend.Close.from_bytes(frame)
        (self._statements if message.kind == frontend.STATEMENT else self._portals).pop(message.name, None)
        return backend.CLOSE_COMPLETE

    def _sync(self, _frame: bytes) -> bytes:
        self._skipping = False
        if self._status == b"I":
            self._portals.clear()
        return backend.READY[self._status]

    def _statement(self, name: bytes) -> PreparedCommand:
        found = self._statements.get(name)
        if found is None:
            what = f'prepared statement "{_text(name)}"' if name else "unnamed prepared statement"
            raise PgBeamError(f"{what} does not exist", sqlstate="26000")
        return found

    def _portal(self, name: bytes) -> ConsolePortal:
        found = self._portals.get(name)
        if found is None:
            raise PgBeamError(f'portal "{_text(name)}" does not exist', sqlstate="34000")
        return found


def _called(function: Callable[[Any], Any], argument: object) -> Any:
    return function(argument)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _bounded(named: dict[bytes, Any], name: bytes) -> None:
    if len(named) >= _MOST_NAMED and name not in named:
        raise PgBeamError(f"more than {_MOST_NAMED} of them at once", sqlstate="54000")
