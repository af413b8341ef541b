"""Who answers what on the control socket."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from pgbeam_core.errors import PgBeamError, PluginError

Request = Mapping[str, Any]
Answerer = Callable[[Request], Any]
"""Takes the request; gives what JSON can hold, or a Deferred of that; raises PgBeamError to say no."""
Merge = Callable[[Sequence[Any]], Any]
"""Makes one result of those of all workers, the caller's among them."""

log = Logger(__name__)


class Control:
    """What can be asked, by name."""

    def __init__(self) -> None:
        self._answerers: dict[str, Answerer] = {}
        self._merges: dict[str, Merge | None] = {}
        self.answer("ping", lambda _: "pong")
        self.answer("list", lambda _: self.names())

    @property
    def merges(self) -> dict[str, bool]:
        """What is answered here, and whether all workers are asked for it."""
        return {name: merge is not None for name, merge in self._merges.items()}

    def names(self) -> list[str]:
        return sorted(self._answerers)

    def answer(self, name: str, answerer: Answerer, *, merge: Merge | None = None) -> None:
        """From now on requests of that name get what `answerer` gives. A plugin's names begin with its own.

        With several workers one of them answers, whichever: that is right for what they share. With `merge` all of
        them are asked, and it makes one result of theirs.
        """
        if name in self._answerers:
            raise PluginError(f'"{name}" is answered on the control socket already')
        self._answerers[name] = answerer
        self._merges[name] = merge

    def ask(self, request: object) -> Deferred[dict[str, Any]]:
        """The reply to a request, never a failure."""
        name = request.get("ask") if isinstance(request, dict) else None
        merge = self._merges.get(name) if isinstance(name, str) else None
        if merge is None:
            return self.share(request)
        return self.share(request).addCallback(
            lambda reply: self._reply(merge, [reply["result"]]) if reply["ok"] else reply
        )

    def share(self, request: object) -> Deferred[dict[str, Any]]:
        """This process's part of the reply, where those of all workers are made one."""
        if not isinstance(request, dict) or not isinstance(request.get("ask"), str):
            return maybeDeferred(no, "a request is an object with a text under ask", "08P01")
        answerer = self._answerers.get(request["ask"])
        if answerer is None:
            return maybeDeferred(no, f"nobody answers {request['ask']}", "42704")
        return self._reply(answerer, request)

    def merge(self, name: str, results: Sequence[Any]) -> Deferred[dict[str, Any]]:
        """The reply that the results of all workers make."""
        merge = self._merges[name]
        assert merge is not None
        return self._reply(merge, results)

    def failed(self, failure: Failure) -> dict[str, Any]:
        """The reply that says so."""
        if isinstance(failure.value, PgBeamError):
            return no(failure.value.message, failure.value.sqlstate, failure.value.hint)
        log.failure("a request on the control socket failed", failure=failure)
        return no("failed, see the log", "XX000")

    def _reply(self, function: Callable[[Any], Any], argument: Any) -> Deferred[dict[str, Any]]:
        asked: Deferred[Any] = maybeDeferred(function, argument)
        return asked.addCallbacks(lambda result: {"ok": True, "result": result}, self.failed)


def no(error: str, sqlstate: str, hint: str | None = None) -> dict[str, Any]:
    """The reply that says why not, with a `hint` if there is one."""
    told = {"ok": False, "error": error, "sqlstate": sqlstate}
    return told if hint is None else {**told, "hint": hint}
