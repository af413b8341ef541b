"""Does what is typed at the console."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.defer import Deferred, inlineCallbacks, maybeDeferred
from twisted.logger import Logger

from pgbeam_core.api.console import Table
from pgbeam_core.console import manners, merging, tables
from pgbeam_core.console.language import ConsoleCommand, Word
from pgbeam_core.console.orders import OperatorOrders
from pgbeam_core.console.replies import ConsoleReply
from pgbeam_core.console.room import TABLES, PluginCommand
from pgbeam_core.errors import PgBeamError
from pgbeam_core.wire import backend

if TYPE_CHECKING:
    from pgbeam_core.beam import Beam

log = Logger(__name__)

_SHOWS = frozenset({"show", "select"})
_USAGE = (
    "SHOW {tables}",
    "SET key = value",
    "RELOAD",
    "PAUSE [<db>]",
    "RESUME [<db>]",
    "DISABLE <db>",
    "ENABLE <db>",
    "RECONNECT [<db>]",
    "KILL [<db>]",
    "KILL_CLIENT <client_id>",
    "SUSPEND",
    "SHUTDOWN",
    "SHUTDOWN WAIT_FOR_SERVERS|WAIT_FOR_CLIENTS",
    "WAIT_CLOSE [<db>]",
)


_MOST_ARGUMENTS = {"suspend": 0, "reload": 0}
"""Of commands that take another number than one."""


class Operator(Protocol):
    """Whoever types the commands, by name."""

    user: str
    admin: bool


def no_such_command(command: ConsoleCommand) -> PgBeamError:
    return PgBeamError(f"invalid command '{command.text}', use SHOW HELP;", sqlstate="08P01")


class Commands:
    """The commands of one client."""

    def __init__(self, beam: Beam, operator: Operator) -> None:
        self._beam = beam
        self._operator = operator
        self._orders = OperatorOrders(beam)
        self._do: dict[str, Callable[[Sequence[Word]], Deferred[str]]] = {
            "pause": self._orders.pause,
            "resume": self._orders.resume,
            "reconnect": self._orders.reconnect,
            "disable": self._orders.disable,
            "enable": self._orders.enable,
            "kill": self._orders.kill,
            "kill_client": self._orders.kill_client,
            "wait_close": self._orders.wait_close,
            "suspend": self._orders.suspend,
            "reload": self._orders.reload,
            "shutdown": self._orders.shutdown,
        }

    def gone(self) -> None:
        self._orders.gone()

    def shows(self, command: ConsoleCommand | None) -> bool:
        """Whether it answers with rows."""
        if command is None or command.verb not in _SHOWS:
            return False
        return not (command.arguments and command.arguments[0].key == "help")

    def boundary(self, command: ConsoleCommand, *, failed: bool) -> str:
        """The tag of BEGIN, COMMIT and the like: nothing here is in a transaction, drivers expect that it is."""
        tag = command.verb.upper()
        if tag in ("COMMIT", "END"):
            return "ROLLBACK" if failed else "COMMIT"
        return {"START": "START TRANSACTION", "ABORT": "ROLLBACK"}.get(tag, tag)

    def perform(self, command: ConsoleCommand) -> Deferred[ConsoleReply] | ConsoleReply:
        """Do it. Raises PgBeamError, or fails with one."""
        verb = command.verb
        if verb in _SHOWS:
            return self._show(command)
        if verb == "set":
            return self._set(command)
        if verb in manners.ACCEPTED:
            return ConsoleReply(manners.ACCEPTED[verb](command))
        act = self._do.get(verb)
        if act is None:
            found = self._of_plugin(command)
            if found is None:
                raise no_such_command(command)
            return self._run(*found)
        self._need_admin()
        if len(command.arguments) > _MOST_ARGUMENTS.get(verb, 1):
            raise no_such_command(command)
        log.info("console: {command}, by {user}", command=command.text[:200], user=self._operator.user)
        return act(command.arguments).addCallback(ConsoleReply)

    def go_on(self, command: ConsoleCommand) -> Deferred[ConsoleReply] | ConsoleReply:
        """Wait for what was ordered before."""
        if command.verb == "pause":
            return self._orders.go_on_pausing(command.arguments).addCallback(ConsoleReply)
        return self.perform(command)

    def _show(self, command: ConsoleCommand) -> Deferred[ConsoleReply] | ConsoleReply:
        known = manners.shown(command, self._operator.user)
        if known is not None:
            return ConsoleReply("SHOW" if command.verb == "show" else f"SELECT {len(known.rows)}", known)
        if len(command.arguments) != 1:
            raise no_such_command(command)
        name = command.arguments[0].text.upper()
        if name == "HELP":
            return ConsoleReply("SHOW", None, [self._help()])
        if name == "FDS":
            text = "file descriptors are not handed out here"
            raise PgBeamError(text, sqlstate="0A000", hint="SHOW SOCKETS has the connections.")
        asked = self._beam.console.ask_all({"ask": TABLES, "names": [name]})
        return asked.addCallback(self._shown, name, command)

    def _shown(self, answer: dict[str, Any], name: str, command: ConsoleCommand) -> ConsoleReply:
        if not answer["ok"]:
            raise PgBeamError(answer["error"], sqlstate=answer["sqlstate"], hint=answer.get("hint"))
        found: dict[str, Table] = merging.from_json(answer["result"])
        if name not in found:
            raise no_such_command(command)
        return ConsoleReply("SHOW", found[name])

    def _help(self) -> bytes:
        lines = [each.format(tables="|".join(["HELP", *sorted(tables.names(self._beam))])) for each in _USAGE]
        lines += [each.usage for each in self._beam.console.commands]
        detail = "\n\t" + "\n\t".join(lines)
        return backend.notice_response("NOTICE", "00000", "Console usage", detail)

    def _set(self, command: ConsoleCommand) -> Deferred[ConsoleReply] | ConsoleReply:
        key, value = manners.assignment(command)
        if manners.is_of_drivers(key):
            notice = backend.notice_response("NOTICE", "00000", "SET ignored")
            return ConsoleReply("SET", None, [notice])
        if not key or value is None:
            raise no_such_command(command)
        self._need_admin()
        log.info("console: SET {key}, by {user}", key=key, user=self._operator.user)
        return self._orders.set(key, value).addCallback(ConsoleReply)

    def _of_plugin(self, command: ConsoleCommand) -> tuple[PluginCommand, list[str]] | None:
        words = [word.key for word in command.words]
        for each in self._beam.console.commands:
            if tuple(words[: len(each.words)]) == each.words:
                return each, [word.text for word in command.words[len(each.words) :]]
        return None

    @inlineCallbacks
    def _run(self, command: PluginCommand, words: list[str]) -> Any:
        self._need_admin()
        log.info("console: {command}, by {user}", command=" ".join(command.words), user=self._operator.user)
        tag = yield maybeDeferred(command.run, words)
        return ConsoleReply(tag if isinstance(tag, str) else " ".join(command.words).upper())

    def _need_admin(self) -> None:
        if not self._operator.admin:
            raise PgBeamError("admin access needed", sqlstate="42501", hint="admin_users may steer, stats_users look.")
