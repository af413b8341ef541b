"""How a client of the console proves who it is: as for any database of its project, but without a pool.

It has to work while databases are paused and, unless the server itself checks the password, while there is no server.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from pgbeam_core.api.pool import Identity, Server
from pgbeam_core.api.results import Refusal
from pgbeam_core.console import access
from pgbeam_core.console.conversation import ConsoleConversation
from pgbeam_core.console.manners import PARAMETERS
from pgbeam_core.console.places import NAME
from pgbeam_core.errors import PgBeamError
from pgbeam_core.net.auth.checks import WrongPassword
from pgbeam_core.net.auth.exchange import RelayedLogin
from pgbeam_core.net.auth.login import Login
from pgbeam_core.net.auth.passwords import AskedPassword
from pgbeam_core.wire import backend

if TYPE_CHECKING:
    from pgbeam_core.beam import Beam
    from pgbeam_core.net.channel import Channel
    from pgbeam_core.net.client import ClientProtocol
    from pgbeam_core.session.session import Session
    from pgbeam_core.settings import Project

log = Logger(__name__)

_MAINTENANCE = "postgres"
"""A database that every server has, for a login that wants nothing there."""
_TAKEN: tuple[str, ...] = ("user", "application_name")


class ConsoleLogin(Login):
    """Of a client of the console: it is given no server."""

    def begin(self) -> Deferred[Any]:
        """Find out whether it is who it says. Fails with PgBeamError."""
        if access.runs_pgbeam(self._channel):
            return self._begun(self._trust)
        return super().begin()

    def _admit(self) -> None:
        self._enter(None)

    def _doubt(self, error: WrongPassword) -> None:
        if not self._channel.encrypted:
            raise error
        self._by_server()

    def _by_server(self) -> None:
        """A server that is opened for it, and closed again."""
        user = self._session.identity.user
        relay: RelayedLogin | AskedPassword = RelayedLogin(self._exchange)
        if self._channel.encrypted:
            relay = AskedPassword(self._exchange, user, self._beam.random, self._learn)
        opened = self._beam.opener(self._project.primary)(Identity(user, _MAINTENANCE), None, relay)
        self._wait(opened, self._opened)

    def _opened(self, server: Server) -> None:
        server.close("it was opened for a login to the console")
        self._enter(None)


def enter(
    client: ClientProtocol, beam: Beam, session: Session, *, long: bool
) -> tuple[ConsoleConversation, tuple[int, bytes]] | Refusal:
    """Let a client in that is who it says, and greet it; or say why not. `long`: its cancel key may be a long one."""
    settings, channel = beam.settings, client.channel
    refusal = access.refusal(settings, session.user, channel)
    if refusal is not None:
        return refusal
    log.info("console: {user} from {peer} is in", user=session.user, peer=session.peer)
    console = ConsoleConversation(client, beam, session.user, admin=access.is_admin(settings, session.user, channel))
    key = beam.cancel_keys.issue(console, pid=None, long=long)
    client.write(greeting(key, session.application_name))
    return console, key


def greeting(key: tuple[int, bytes], application_name: str | None) -> bytes:
    """What such a client is told when it is in."""
    told = {**PARAMETERS, "application_name": application_name or ""}
    statuses = [backend.parameter_status(name, value) for name, value in told.items()]
    return b"".join([*statuses, backend.BackendKeyData(*key).to_bytes(), backend.READY_IDLE])


def chooser(beam: Beam) -> Callable[[Channel, dict[str, str]], tuple[Project, dict[str, str]]]:
    """Finds the project whose login it is, and what of a startup packet means something to the console."""

    def choose(channel: Channel, startup: dict[str, str]) -> tuple[Project, dict[str, str]]:
        own: dict[str, str] = {name: startup[name] for name in _TAKEN if name in startup}
        own["database"] = NAME
        try:
            return beam.entrance.choose_project(channel, startup)[0], own
        except PgBeamError:
            projects = beam.settings.projects.values()
            if not projects:
                raise
            return beam.settings.default_project or next(iter(projects)), own

    return choose
