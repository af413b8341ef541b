"""What is served where: metrics and health always, the page and its API with `dashboard = true`."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks, maybeDeferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger

from pgbeam_core.net import transport
from pgbeam_core.telemetry.metrics import family
from pgbeam_core.web import server
from pgbeam_core.web.dashboard import Dashboard
from pgbeam_core.web.exposition import exposition
from pgbeam_core.web.health import HealthChecks
from pgbeam_core.web.replies import HttpRequest
from pgbeam_core.web.routes import Routes
from pgbeam_core.web.source import Source

log = Logger(__name__)


class Web:
    """Serves at `metrics_listen`, from `start` to `stop`."""

    def __init__(self, watched: Source) -> None:
        self._watched = watched
        self._began = watched.reactor.seconds()
        self._port: IListeningPort | None = None
        self.routes = Routes()
        health = HealthChecks(watched)
        self.routes.add("GET", "/metrics", self._metrics)
        self.routes.add("GET", "/healthz", health.alive)
        self.routes.add("GET", "/readyz", health.ready)
        self.dashboard = Dashboard(watched, version()) if watched.settings.dashboard else None
        if self.dashboard is not None:
            self.dashboard.add_to(self.routes)

    @property
    def address(self) -> tuple[str, int] | None:
        """(host, port), with the port that the system chose where 0 was asked for."""
        if self._port is None:
            return None
        host: Any = self._port.getHost()
        return host.host, host.port

    def start(self) -> None:
        """Raises PgBeamError if there is no listening."""
        where = self._watched.settings.metrics_listen
        assert where is not None
        try:
            self._port = server.listen(self._watched.reactor, where, self.routes)
        except CannotListenError as error:
            raise transport.cannot_listen(where, error) from error
        found = self.address
        assert found is not None
        url = f"http://{found[0]}:{found[1]}/"
        log.info("metrics are at {url}", url=f"{url}metrics")
        if self.dashboard is not None:
            self.dashboard.start(found[0])
            log.info("the dashboard is at {url}", url=url)

    def stop(self) -> Deferred[Any]:
        port, self._port = self._port, None
        if port is not None and self.dashboard is not None:
            self.dashboard.stop()
        return succeed(None) if port is None else maybeDeferred(port.stopListening)

    @inlineCallbacks
    def _metrics(self, request: HttpRequest) -> Any:
        families = yield maybeDeferred(self._watched.metrics)
        reply = yield exposition([*families, *self._own()], request, self._watched.reactor)
        return reply

    def _own(self) -> Any:
        """What is told of PgBeam as a whole."""
        settings, seconds = self._watched.settings, self._watched.reactor.seconds()
        ready = float(self._watched.why_not_ready() is None)
        yield family("ready", "1 if clients are let in", [({}, ready)], "gauge")
        yield family("uptime_seconds", "Since the start", [({}, seconds - self._began)], "gauge")
        yield family("workers", "Processes that share the clients", [({}, settings.workers)], "gauge")
        yield family("info", "Which PgBeam this is", [({"version": version()}, 1.0)], "gauge")


def version() -> str:
    """That of the installed distribution, without a word about how it was built."""
    from importlib import metadata

    return metadata.version("pgbeam")
