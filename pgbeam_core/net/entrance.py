"""What stands between a socket and a client's session: encryption, trusted proxies, the choice of a project."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger

from pgbeam_core.net import certificates, project_choice
from pgbeam_core.net.certificates import ClientTls
from pgbeam_core.net.channel import Channel
from pgbeam_core.net.handshakes import FailedHandshakes
from pgbeam_core.net.proxies import Proxies
from pgbeam_core.net.throttle import Throttle

if TYPE_CHECKING:
    from pgbeam_core.settings import Project, Settings

log = Logger(__name__)

NewClient = tuple["Project", dict[str, str]]


class Entrance:
    """Of one PgBeam. Raises SettingsError for files of `[tls]` that are of no use."""

    def __init__(self, settings: Settings, reactor: Any) -> None:
        self._settings = settings
        self.throttle = Throttle(lambda step: reactor.callLater(0, step), reactor.seconds)
        """What clients that have not logged in wait for in turn."""
        self.failed_handshakes = FailedHandshakes(reactor.seconds)
        self.failed_logins: Counter[str] = Counter()
        """Those that came to no project, by reason."""
        self.tls: ClientTls | None = None if settings.tls is None else certificates.load(settings.tls)
        self.proxies = _proxies(settings)
        why = None if self.tls is None else certificates.expired(self.tls)
        if why is not None:  # clients that do not check it are better served than by nobody
            log.error("tls.cert: {why}", why=why)

    def reload(self, settings: Settings) -> None:
        """Take new settings, and read the files again. Raises SettingsError, and has changed nothing then."""
        tls = None if settings.tls is None else certificates.renewed(settings.tls)
        self._settings, self.tls, self.proxies = settings, tls, _proxies(settings)

    def choose_project(self, channel: Channel, parameters: dict[str, str]) -> NewClient:
        """The project for a client, and its startup parameters without what only chooses. Raises PgBeamError."""
        return project_choice.choose(self._settings, self.tls, channel, parameters)


def _proxies(settings: Settings) -> Proxies | None:
    return Proxies(settings.proxy_trusted) if settings.proxy_protocol else None
