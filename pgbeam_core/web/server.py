"""HTTP itself, by Twisted: bounded in connections, bytes and time, and the same headers on whatever is sent."""

# mypy: disallow-untyped-calls=False
from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort
from twisted.protocols.policies import WrappingFactory
from twisted.web.resource import Resource
from twisted.web.server import Request as _TwistedRequest
from twisted.web.server import Site

from pgbeam_core.web.replies import HttpReply, HttpRequest, Refused
from pgbeam_core.web.routes import Routes

MOST_BODY = 16 * 1024
"""Bytes of a request behind its headers."""
MOST_UNREAD = 1024 * 1024
"""Who sends more than that all the same is cut off."""
MOST_CONNECTIONS = 100
_BACKLOG = 50
MOST_PARAMETERS = 50
IDLE_S = 30
"""A connection on which nothing comes or goes for so long is closed."""
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}


class Exchange(_TwistedRequest):
    """One request and its reply."""

    read = 0

    def gotLength(self, length: int | None) -> None:
        """Whatever it says, no more than MOST_BODY is kept, and that in memory."""
        super().gotLength(min(length or 0, MOST_BODY))

    def handleContentChunk(self, data: bytes) -> None:
        self.read += len(data)
        if self.read <= MOST_BODY:
            super().handleContentChunk(data)
        elif self.read > MOST_UNREAD:
            self.channel.forceAbortClient()

    def process(self) -> None:
        """The request has come as a whole: answer it."""
        try:
            asked = self._asked()
        except Refused as refused:
            self._send(refused.reply())
            return
        channel: Any = self.channel
        answered: Deferred[HttpReply] = channel.site.routes.answer(asked)
        self.notifyFinish().addErrback(lambda _: answered.cancel())
        answered.addCallback(self._send).addErrback(lambda _: None)

    def _asked(self) -> HttpRequest:
        if self.read > MOST_BODY:
            raise Refused(413, f"a request has at most {MOST_BODY} bytes")
        path, _, query = self.uri.partition(b"?")
        try:
            parameters = parse_qsl(
                query.decode("utf-8"), keep_blank_values=True, max_num_fields=MOST_PARAMETERS, errors="strict"
            )
        except ValueError:
            raise Refused(400, "the parameters in the address cannot be read") from None
        raw = self.requestHeaders.getAllRawHeaders()
        headers = {name.decode("latin-1").lower(): values[-1].decode("latin-1") for name, values in raw}
        body = b"" if self.content is None else self.content.read()
        where = getattr(self.client, "host", None) or ""
        return HttpRequest(
            self.method.decode("latin-1"), path.decode("latin-1"), dict(parameters), headers, body, where
        )

    def _send(self, reply: HttpReply) -> None:
        if self._disconnected:
            return
        self.setResponseCode(reply.status)
        for name, value in {**HEADERS, "Content-Type": reply.content_type, **reply.headers}.items():
            self.setHeader(name, value)
        self.setHeader("Server", "PgBeam")
        self.setHeader("Content-Length", str(len(reply.body)))
        if self.method != b"HEAD":
            self.write(reply.body)
        self.finish()


class HttpSite(Site):
    """Makes an Exchange of each request; what is asked is no news for the log."""

    noisy = False

    def __init__(self, routes: Routes, reactor: Any) -> None:
        super().__init__(Resource(), requestFactory=Exchange, timeout=IDLE_S, reactor=reactor)
        self.routes = routes

    def log(self, request: Any) -> None:
        """What was asked is no news for the log."""


class Connections(WrappingFactory):
    """Only so many at once: one more is closed."""

    noisy = False

    def buildProtocol(self, addr: Any) -> Any:
        return None if len(self.protocols) >= MOST_CONNECTIONS else super().buildProtocol(addr)


def listen(reactor: Any, bound: Iterable[socket.socket], routes: Routes) -> list[IListeningPort]:
    """Serve on these sockets, which are the caller's to close. Raises OSError if there is no listening."""
    factory = Connections(HttpSite(routes, reactor))
    ports: list[IListeningPort] = []
    for sock in bound:
        sock.listen(_BACKLOG)
        # A port that Twisted has bound itself is shut down when it is closed: whoever has taken it over would be deaf.
        ports.append(reactor.adoptStreamPort(sock.fileno(), sock.family, factory))
    return ports
