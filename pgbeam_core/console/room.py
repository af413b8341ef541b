"""The console of one process: its tables and what operators have told it, for whoever asks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from pgbeam_core.console import explanations, steering, tables, traffic
from pgbeam_core.console.traffic import Periods
from pgbeam_core.errors import PluginError

if TYPE_CHECKING:
    from pgbeam_core.beam import Beam
    from pgbeam_core.settings import Settings

log = Logger(__name__)

TABLES = "tables"
STEER = "console.steer"
ORDERS = "console.orders"
COMMAND = "console"
Run = Callable[[Sequence[str]], Any]
"""Takes the words behind the command's own; gives a Table, the command tag, None, or a Deferred of these. Raises
PgBeamError to say no."""


class PluginCommand(NamedTuple):
    """A command that a plugin has added."""

    words: tuple[str, ...]
    """In lower case."""
    usage: str
    run: Run


class ConsoleRoom:
    """What the console of each process knows."""

    def __init__(self, beam: Beam) -> None:
        self._beam = beam
        self.steering = steering.Steering(beam)
        self.periods = Periods(beam.now())
        self.worker, self.workers = 1, 1
        self.configured: Settings | None = None
        """The settings as they were configured, of which those of a worker are its share."""
        self.ask_all: Callable[[dict[str, Any]], Deferred[dict[str, Any]]] = beam.control.ask
        """Asks on the control socket, of all workers."""
        self.commands: list[PluginCommand] = []
        self._clock = LoopingCall(lambda: self.periods.end_period(beam))
        self._clock.clock = beam.reactor
        beam.control.answer(TABLES, lambda request: tables.answer(beam, request), merge=tables.merge)
        beam.control.answer("explain", lambda request: explanations.answer(beam, request))
        beam.control.answer(COMMAND, self._command)
        beam.control.answer(ORDERS, self.steering.orders)
        beam.control.answer(STEER, self.steering.answer, merge=lambda parts: steering.joined(list(parts)))

    @property
    def configured_settings(self) -> Settings:
        """As they were set: where a worker has its share of what is one number for all, these have the number."""
        return self._beam.settings if self.configured is None else self.configured

    def start(self) -> None:
        self._clock.start(traffic.PERIOD_S, now=False)

    def stop(self) -> None:
        if self._clock.running:
            self._clock.stop()

    def adopt(self) -> Deferred[Any]:
        """Have what operators have told the other workers hold here too, if there are any."""
        asked = self.ask_all({"ask": ORDERS})
        asked.addCallback(lambda reply: self.steering.adopt(reply["result"]) if reply["ok"] else None)
        return asked.addErrback(lambda failure: log.warn("{reason}", reason=failure.getErrorMessage()))

    def command(self, words: str, run: Run, usage: str = "") -> None:
        """Add a command to the console: `words` are those that it begins with, `usage` what SHOW HELP says of it.

        `run` gets the words behind these, quotes taken off, and gives a Table, a command tag, None, or a Deferred of
        one of them. Only admin_users may say it.
        """
        key = tuple(words.lower().split())
        if any(each.words == key for each in self.commands):
            raise PluginError(f"there is a command {words} at the console already")
        self.commands.append(PluginCommand(key, f"{words} {usage}".strip(), run))

    def _command(self, request: Mapping[str, Any]) -> Deferred[dict[str, Any]]:
        from pgbeam_core.console import remote  # here, because commands know the room

        return remote.answer(self._beam, request)

    def id_of(self, number: int) -> int:
        """A number that no client of another worker has, of one that no client of this worker has."""
        return (number - 1) * self.workers + self.worker

    def is_steered(self, project: str, database: str) -> bool:
        """Whether an operator has spoken of that database."""
        return self.steering.is_steered(project, database)

    def tables(self, names: Sequence[str] | None = None) -> Mapping[str, Any]:
        """Tables of this process, by name; all if no names are given."""
        return tables.tables(self._beam, names)
