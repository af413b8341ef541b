"""PAUSE, RESUME, RECONNECT, KILL, DISABLE, ENABLE and SUSPEND in one process: what is told to its pools and clients."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger

from pgbeam_core.api.results import Refusal
from pgbeam_core.console.places import consoles
from pgbeam_core.errors import PgBeamError
from pgbeam_core.session.ending import end_session
from pgbeam_core.session.outcome import refusal_frame

if TYPE_CHECKING:
    from pgbeam_core.api.pool import PoolConsole, PoolMember, Server
    from pgbeam_core.api.query import Target
    from pgbeam_core.beam import Beam
    from pgbeam_core.net.client import ClientProtocol
    from pgbeam_core.session.session import Session

log = Logger(__name__)

Place = tuple[str | None, str | None]
"""A project and a database in it, as clients name it; None stands for all."""
EVERYWHERE: Place = (None, None)
ENDED = Refusal("57P01", "terminating connection due to administrator command")


class Steering:
    """What operators have told this process."""

    def __init__(self, beam: Beam) -> None:
        self._beam = beam
        self._paused: set[Place] = set()
        self._disabled: set[Place] = set()
        self._old: dict[Place, list[Server]] = {}
        """Servers that were open at a RECONNECT."""
        self.is_suspended = False
        self._do: dict[str, Callable[[Place, Mapping[str, Any]], object]] = {
            "pause": self._pause,
            "resume": self._resume,
            "reconnect": self._reconnect,
            "kill": self._kill,
            "disable": lambda place, _: self._disabled.add(place),
            "enable": lambda place, _: self._disabled.discard(place),
            "suspend": lambda _, __: self._suspend(),
            "kill_client": lambda _, request: self._kill_client(request),
            "look": lambda _, __: None,
        }

    @property
    def is_paused(self) -> bool:
        return EVERYWHERE in self._paused

    def paused(self, project: str, database: str) -> bool:
        """Whether nobody gets a server for it."""
        return not self._paused.isdisjoint(_places(project, database))

    def keeps(self, session: Session) -> bool:
        """Whether it is an operator who keeps a session waiting."""
        return bool(self._paused) and self.paused(session.project.name, session.database)

    def is_disabled(self, project: str, database: str) -> bool:
        """Whether it takes no new clients."""
        return not self._disabled.isdisjoint(_places(project, database))

    def is_steered(self, project: str, database: str) -> bool:
        """Whether somebody has spoken of it."""
        return (project, database) in (self._paused | self._disabled)

    def refusal(self, session: Session) -> Refusal | None:
        """Why a new client is not let in; None if it is."""
        if not (self._disabled and self.is_disabled(session.project.name, session.database)):
            return None
        return Refusal("57P03", f'database "{session.database}" is disabled', hint="An administrator may ENABLE it.")

    def joins(self, target: Target, pool: object) -> None:
        """A pool is new: what has been said of its databases holds for it."""
        console: PoolConsole | None = getattr(pool, "console", None)
        for project, database in self._paused if console is not None else ():
            if project in (None, target.project) and console is not None:
                console.pause(None if database is None else self._there(target.project, database))

    def orders(self, _request: Mapping[str, Any]) -> dict[str, list[list[str | None]]]:
        """What holds now, for a worker that takes another one's place."""
        return {
            "paused": [list(place) for place in self._paused],
            "disabled": [list(place) for place in self._disabled],
        }

    def adopt(self, orders: Mapping[str, list[list[str | None]]]) -> None:
        """What holds in the other workers holds here."""
        for project, database in orders["paused"]:
            self._pause((project, database), {})
        for project, database in orders["disabled"]:
            self._disabled.add((project, database))

    def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Do what a worker's console asks all for: `do`, `project`, `database`. Gives how things are then."""
        place = request.get("project"), request.get("database")
        do = self._do.get(str(request.get("do")))
        if do is None:
            raise PgBeamError(f'"do" is one of {", ".join(self._do)}', sqlstate="22023")
        if not all(name is None or isinstance(name, str) for name in place):
            raise PgBeamError('"project" and "database" are strings or null', sqlstate="22023")
        result = do(place, request)
        return {
            "found": int(bool(result)),
            "paused": int(place in self._paused),
            "everywhere": int(self.is_paused),
            "suspended": int(self.is_suspended),
            "some": int(bool(self._paused)),
            "servers": self._servers(place),
            "old": self._old_ones(place),
            "busy": sum(_is_busy(client) for client in self._beam.clients) if self.is_suspended else 0,
        }

    # What is done.

    def _pause(self, place: Place, _request: Mapping[str, Any]) -> None:
        self._paused.add(place)
        for pool, database in self._pools(place):
            pool.pause(database)

    def _resume(self, place: Place, _request: Mapping[str, Any]) -> None:
        self._paused.discard(place)
        for pool, database in self._pools(place):
            pool.resume(database)
        if place == EVERYWHERE:
            self.is_suspended = False
            for client in list(self._beam.clients):
                _suspend(client, on=False)

    def _reconnect(self, place: Place, _request: Mapping[str, Any]) -> None:
        old = self._old[place] = []
        for pool, database in self._pools(place):
            old += [member.server for member in _in(pool, database) if member.server is not None]
            pool.reconnect(database)

    def _kill(self, place: Place, request: Mapping[str, Any]) -> None:
        """Nobody is left on it, and nobody gets on before it is resumed. Who is at the console stays."""
        self._pause(place, request)
        for client in list(self._beam.clients):
            session = client.session if client.console is None else None
            if session is not None and _covers(place, session.project.name, session.database):
                _end(client)

    def _kill_client(self, request: Mapping[str, Any]) -> bool:
        wanted = request.get("id")
        for client in list(self._beam.clients):
            if self._beam.console.id_of(client.number) == wanted:
                log.info("console: {client} is ended", client=repr(client.session))
                _end(client)
                return True
        return False

    def suspends(self, client: ClientProtocol) -> None:
        """A client is new: it is not read either."""
        if self.is_suspended:
            _suspend(client, on=True)

    def _suspend(self) -> None:
        self.is_suspended = True
        for client in list(self._beam.clients):
            _suspend(client, on=True)

    # Where.

    def _pools(self, place: Place) -> Iterator[tuple[PoolConsole, str | None]]:
        project, database = place
        for target, pool in consoles(self._beam):
            if project in (None, target.project):
                yield pool, None if database is None else self._there(target.project, database)

    def _there(self, project: str, database: str) -> str:
        """What the server calls it."""
        found = self._beam.settings.projects.get(project)
        alias: Any = getattr(found, "databases", {}).get(database)
        return getattr(alias, "database", None) or database

    def _servers(self, place: Place) -> int:
        return sum(len(_in(pool, database)) for pool, database in self._pools(place))

    def _old_ones(self, place: Place) -> int:
        left = 0
        for where, servers in list(self._old.items()):
            alive = [server for server in servers if server.alive]
            if alive:
                self._old[where] = alive
            else:
                del self._old[where]
            left += len(alive) if where in (EVERYWHERE, place) or place == EVERYWHERE else 0
        return left


def _suspend(client: ClientProtocol, *, on: bool) -> None:
    """Read nothing more of it, unless it is one of the console; or read on."""
    conversation = client.conversation
    if conversation is None or client.suspended is on:
        return
    client.suspended = on
    if on:
        client.pause()
    elif conversation.input.listens:
        client.resume()


def _end(client: ClientProtocol) -> None:
    if client.conversation is not None:
        end_session(client.conversation, ENDED)
    else:
        client.hang_up(ENDED.message, refusal_frame(ENDED, "FATAL"))


def _is_busy(client: ClientProtocol) -> bool:
    return client.conversation is not None and client.conversation.turn is not None


def joined(answers: list[Mapping[str, Any]]) -> dict[str, int]:
    """How things are in all workers together."""
    return {name: sum(int(answer[name]) for answer in answers) for name in answers[0]}


def _places(project: str, database: str) -> tuple[Place, ...]:
    return EVERYWHERE, (project, None), (project, database)


def _in(pool: PoolConsole, database: str | None) -> list[PoolMember]:
    return [member for member in pool.members() if database is None or member.identity.database == database]


def _covers(place: Place, project: str, database: str) -> bool:
    return place in _places(project, database)
