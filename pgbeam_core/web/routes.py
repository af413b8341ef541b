"""Finds who answers a path, and turns what goes wrong into a reply."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import unquote

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from pgbeam_core.web.replies import HttpReply, HttpRequest, Refused

log = Logger(__name__)

Handler = Callable[..., Any]
"""Takes the request, and each `{name}` of its path by that name; gives a HttpReply or a Deferred of one."""


class Route(NamedTuple):
    """`/v1/projects/{project}/cache-rules` with a method, and who answers."""

    method: str
    path: str
    handler: Handler


class Routes:
    """All there are. A request never fails: what goes wrong becomes a reply."""

    def __init__(self) -> None:
        self._routes: list[tuple[tuple[str, ...], Route]] = []

    def __iter__(self) -> Iterator[Route]:
        return (route for _, route in self._routes)

    def add(self, method: str, path: str, handler: Handler) -> None:
        self._routes.append((tuple(path.split("/")), Route(method, path, handler)))

    def answer(self, request: HttpRequest) -> Deferred[HttpReply]:
        """The reply. HEAD is answered as GET; who writes leaves the body away."""
        return maybeDeferred(self._answer, request).addErrback(_refused)

    def _answer(self, request: HttpRequest) -> Any:
        method = "GET" if request.method == "HEAD" else request.method
        there = list(self._matching(request.path))
        if not there:
            raise Refused(404, f"there is nothing at {request.path[:200]}")
        for route, values in there:
            if route.method == method:
                return route.handler(request, **values)
        allowed = ", ".join(sorted({route.method for route, _ in there}))
        raise Refused(405, f"{request.method[:20]} is not possible here", Allow=allowed)

    def _matching(self, path: str) -> Iterator[tuple[Route, Mapping[str, str]]]:
        parts = path.split("/")
        for pattern, route in self._routes:
            if len(pattern) != len(parts):
                continue
            values = {}
            for wanted, part in zip(pattern, parts, strict=True):
                if wanted.startswith("{"):
                    values[wanted[1:-1]] = unquote(part)
                elif wanted != part:
                    break
            else:
                yield route, values


def _refused(failure: Failure) -> HttpReply:
    if isinstance(failure.value, Refused):
        return failure.value.reply()
    log.failure("a request over HTTP failed", failure=failure)
    return Refused(500, "failed, see the log").reply()
