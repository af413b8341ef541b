"""Who answers what on the control socket."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from pgbeam_core.errors import PgBeamError, PluginError

Request = Mapping[str, Any]
Answerer = Callable[[Request], Any]
"""Takes the request; gives what JSON can hold, or a Deferred of that; raises PgBeamError to say no."""

log = Logger()


class Control:
    """What can be asked, by name."""

    def __init__(self) -> None:
        self._answerers: dict[str, Answerer] = {}
        self.answer("ping", lambda _: "pong")
        self.answer("list", lambda _: sorted(self._answerers))

    def answer(self, name: str, answerer: Answerer) -> None:
        """From now on requests of that name get what `answerer` gives. A plugin's names begin with its own."""
        if name in self._answerers:
            raise PluginError(f'"{name}" is answered on the control socket already')
        self._answerers[name] = answerer

    def ask(self, request: object) -> Deferred[dict[str, Any]]:
        """The reply to a request, never a failure."""
        if not isinstance(request, dict) or not isinstance(request.get("ask"), str):
            return maybeDeferred(_no, "a request is an object with a text under ask", "08P01")
        answerer = self._answerers.get(request["ask"])
        if answerer is None:
            return maybeDeferred(_no, f"nobody answers {request['ask']}", "42704")
        asked: Deferred[Any] = maybeDeferred(answerer, request)
        return asked.addCallbacks(lambda result: {"ok": True, "result": result}, _failed)


def _no(error: str, sqlstate: str) -> dict[str, Any]:
    return {"ok": False, "error": error, "sqlstate": sqlstate}


def _failed(failure: Failure) -> dict[str, Any]:
    if isinstance(failure.value, PgBeamError):
        return _no(failure.value.message, failure.value.sqlstate)
    log.failure("a request on the control socket failed", failure=failure)
    return _no("failed, see the log", "XX000")
