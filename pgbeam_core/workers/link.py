"""What the supervisor and a worker say to each other, over a pair of sockets that nobody else has.

A message is a JSON object, one a line: `what` it is about and its fields; with an `id` it asks for a reply, which has
the same number under `re`. A message about a client comes with the client's socket.
"""

from __future__ import annotations

import json
import os
import socket
from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail, maybeDeferred
from twisted.internet.interfaces import IFileDescriptorReceiver
from twisted.logger import Logger
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

from pgbeam_core.errors import PgBeamError

log = Logger(__name__)

Message = dict[str, Any]
Answerer = Callable[[str, Message], Any]
"""Takes what a message is about, and the message; gives the reply to one that asks, or a Deferred of it."""
CLIENT = "client"
_LONGEST = 256 * 1024 * 1024


def line(message: Message) -> bytes:
    """A message as it travels."""
    return json.dumps(message, default=str).encode() + b"\n"


@implementer(IFileDescriptorReceiver)
class Link(LineOnlyReceiver):
    """One end. `heard` is called with each message; `lost` when the other process is gone."""

    delimiter = b"\n"
    MAX_LENGTH = _LONGEST
    transport: Any

    def __init__(self, heard: Answerer, lost: Callable[[], None]) -> None:
        self._heard = heard
        self._lost = lost
        self._asked: dict[int, Deferred[Any]] = {}
        self._ids = 0
        self._sockets: deque[socket.socket] = deque()
        self.is_open = False

    def connectionMade(self) -> None:
        """The other process can be spoken to."""
        self.is_open = True

    def tell(self, what: str, **fields: Any) -> None:
        """Say something; nobody hears it if the other end is not there."""
        if not self.is_open:
            return
        try:
            self.transport.write(line({"what": what, **fields}))
        except RuntimeError:  # uvloop has seen the other end go, and Twisted has not been told yet
            self.is_open = False

    def ask(self, what: str, **fields: Any) -> Deferred[Any]:
        """The reply. Fails with PgBeamError: 08006 if the other end goes away first, else as it says."""
        if not self.is_open:
            return fail(_gone())
        self._ids += 1
        asked: Deferred[Any] = Deferred()
        self._asked[self._ids] = asked
        self.tell(what, id=self._ids, **fields)
        return asked

    def hand(self, client: socket.socket) -> None:
        """Give a client's socket away. It must stay open here until the other end says that it has it."""
        if self.is_open:
            self.transport.sendFileDescriptor(client.fileno())
            self.tell(CLIENT)

    def close(self) -> None:
        self.is_open = False
        self.transport.loseConnection()

    def fileDescriptorReceived(self, descriptor: int) -> None:
        """It comes before the message it belongs to."""
        self._sockets.append(socket.socket(fileno=descriptor))

    def lineReceived(self, line: bytes) -> None:
        """A message, or a reply."""
        message = json.loads(line)
        if "re" in message:
            self._replied(message)
            return
        if message["what"] == CLIENT:
            message["socket"] = self._sockets.popleft()
        answer = maybeDeferred(self._heard, message["what"], message)
        number = message.get("id")
        if number is None:
            answer.addErrback(_unexpected)
        else:
            answer.addCallbacks(lambda result: {"result": result}, _refused)
            answer.addCallback(lambda reply: self._reply(number, reply))

    def connectionLost(self, reason: Failure = Failure(Exception())) -> None:
        self.is_open = False
        while self._sockets:
            self._sockets.popleft().close()
        asked, self._asked = self._asked, {}
        for deferred in asked.values():
            deferred.errback(_gone())
        self._lost()

    def _reply(self, number: int, reply: Message) -> None:
        if self.is_open:
            self.transport.write(line({"re": number, **reply}))

    def _replied(self, message: Message) -> None:
        asked = self._asked.pop(message["re"])
        if "error" in message:
            asked.errback(PgBeamError(message["error"], sqlstate=message["sqlstate"]))
        else:
            asked.callback(message["result"])


class _Only:
    """A factory for one protocol, as reactors want it."""

    def __init__(self, protocol: Link) -> None:
        self._protocol = protocol

    def buildProtocol(self, _address: object) -> Link:
        return self._protocol


def connect(reactor: Any, end: socket.socket, link: Link) -> None:
    """Put a link on its end of the pair, which is the link's from now on."""
    end.setblocking(False)
    reactor.adoptStreamConnection(end.fileno(), socket.AF_UNIX, _Only(link))
    end.close()


def first_message(end: socket.socket) -> tuple[Message, bytes]:
    """Wait for the first message, before there is a reactor; also what has come behind it. Raises EOFError."""
    data = b""
    while b"\n" not in data:
        more = os.read(end.fileno(), 65536)
        if not more:
            raise EOFError
        data += more
    head, _, rest = data.partition(b"\n")
    message: Message = json.loads(head)
    return message, rest


def _gone() -> PgBeamError:
    return PgBeamError("the other process is gone", sqlstate="08006")


def _refused(failure: Failure) -> Message:
    if isinstance(failure.value, PgBeamError):
        return {"error": failure.value.message, "sqlstate": failure.value.sqlstate}
    log.failure("a request of another process failed", failure=failure)
    return {"error": "failed, see the log", "sqlstate": "XX000"}


def _unexpected(failure: Failure) -> None:
    log.failure("a message of another process could not be followed", failure=failure)
