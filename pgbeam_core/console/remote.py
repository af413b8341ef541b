"""Commands of the console over the control socket: of `pgbeam console`, the live screen and the dashboard."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.python.failure import Failure

from pgbeam_core.console import language
from pgbeam_core.console.commands import Commands
from pgbeam_core.console.replies import ConsoleReply
from pgbeam_core.errors import PgBeamError

if TYPE_CHECKING:
    from pgbeam_core.beam import Beam

WAIT_S = 4.0
"""Longest wait for what a command waits for; after that it is told that it is under way."""
_NOT_HERE = ("suspend", "begin", "commit", "rollback")


class _Operator:
    """Who may use the control socket may steer."""

    admin = True

    def __init__(self, user: str) -> None:
        self.user = user


def answer(beam: Beam, request: Mapping[str, Any]) -> Deferred[dict[str, Any]]:
    """What the one `command` answers: its tag, and columns and rows if it shows any.

    verbs: no others are obeyed. again: a PAUSE that was told to be `pending` is waited for once more. Fails with
    PgBeamError.
    """
    todo = list(language.commands(str(request.get("command") or "")))
    if len(todo) != 1:
        raise PgBeamError("there is no command" if not todo else "one command at a time", sqlstate="42601")
    (command,) = todo
    verbs = request.get("verbs")
    if command.verb in _NOT_HERE or (verbs is not None and command.verb not in verbs):
        hint = "The console itself, in psql, takes all of them."
        raise PgBeamError(f"{command.verb.upper()[:30]} cannot be said here", sqlstate="42501", hint=hint)
    commands = Commands(beam, _Operator(str(request.get("by") or "control socket")))
    perform = commands.go_on if request.get("again") else commands.perform
    asked: Deferred[Any] = maybeDeferred(perform, command)

    def give_up() -> None:
        commands.gone()  # first: what was ordered goes on to hold
        asked.cancel()

    timer = beam.reactor.callLater(WAIT_S, give_up)
    return asked.addCallbacks(_told, lambda failure: _pending(failure, command.verb)).addBoth(_stop, timer)


def _told(reply: ConsoleReply) -> dict[str, Any]:
    told: dict[str, Any] = {"tag": reply.tag, "pending": False}
    if reply.table is not None:
        told |= {"columns": list(reply.table.columns), "rows": [list(row) for row in reply.table.rows]}
    return told


def _pending(failure: Failure, verb: str) -> dict[str, Any]:
    failure.trap(CancelledError)
    return {"tag": verb.upper(), "pending": True}


def _stop(result: Any, timer: Any) -> Any:
    if timer.active():
        timer.cancel()
    return result
