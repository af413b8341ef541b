"""What plugins have against a client, before it is known who it is and after."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from pgbeam_core.api.results import Refusal
from pgbeam_core.firing import Hooks, PluginRaised
from pgbeam_core.session.dispatch import broken
from pgbeam_core.session.session import Session


def turned_away(hooks: Hooks, session: Session) -> Refusal | None:
    """The first refusal of those that `authenticated` gives; all plugins are asked."""
    found: Refusal | None = None
    try:
        answers = hooks.authenticated(session)
    except PluginRaised as error:
        return broken(error)
    for plugin, answer in answers:
        if not isinstance(answer, Refusal):
            hooks.unfit("authenticated", plugin, answer, "a Refusal or None")
        elif found is None:
            found = answer
    return found


class Judging:
    """Has the plugins decide whether a client is let in. Whoever cannot be judged is not. `verdict` is called once."""

    def __init__(self, hooks: Hooks, session: Session, verdict: Callable[[Refusal | None], None]) -> None:
        self._hooks = hooks
        self._session = session
        self._verdict = verdict
        self._pending: Deferred[Any] | None = None
        self._given_up = False

    def begin(self) -> None:
        self._judge(lambda: self._hooks.connect(self._session))

    def give_up(self) -> None:
        """Nobody wants the verdict any more: the client has left."""
        self._given_up = True
        if self._pending is not None:
            self._pending.addErrback(lambda _: None)
            self._pending.cancel()

    def _judge(self, ask: Callable[[], tuple[str, Any] | None]) -> None:
        try:
            found = ask()
        except PluginRaised as error:
            self._verdict(broken(error))
            return
        if found is None:
            self._verdict(None)
        elif isinstance(found[1], Deferred):
            self._pending = found[1]
            found[1].addCallbacks(self._judged, self._not_judged, callbackArgs=(found[0],), errbackArgs=(found[0],))
        else:
            self._judged(found[1], found[0])

    def _judged(self, answer: Any, plugin: str) -> None:
        """What a plugin thinks of the client. None is no opinion: those behind it are asked."""
        self._pending = None
        if self._given_up:
            return
        if isinstance(answer, Refusal):
            self._verdict(answer)
            return
        hooks, session = self._hooks, self._session

        def ask() -> tuple[str, Any] | None:
            if answer is not None:
                hooks.unfit("connect", plugin, answer, "a Refusal, a Deferred of one, or None")
            return hooks.connect.after(plugin, session)

        self._judge(ask)

    def _not_judged(self, failure: Failure, plugin: str) -> None:
        """A plugin's Deferred failed, as if it had raised."""
        self._pending = None
        if self._given_up:
            return
        hooks, session = self._hooks, self._session

        def ask() -> tuple[str, Any] | None:
            try:
                failure.raiseException()
            except Exception:
                hooks.failed("connect", plugin)
            return hooks.connect.after(plugin, session)

        self._judge(ask)
