"""What is served where: metrics and health always, the page and its API with `dashboard = true`."""

from __future__ import annotations

import socket
from functools import cache
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, inlineCallbacks, maybeDeferred
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger

from pgbeam_core.net import sockets, transport
from pgbeam_core.net.given import Given, GivenSockets
from pgbeam_core.settings import Endpoint
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
        self._bound: list[socket.socket] = []
        self._ports: list[IListeningPort] = []
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
        if not self._bound:
            return None
        name = self._bound[0].getsockname()
        return str(name[0]), int(name[1])

    def start(self, given: GivenSockets | None = None) -> None:
        """Raises PgBeamError if there is no listening. `given`: sockets that listen already."""
        where = self._watched.settings.metrics_listen
        assert where is not None
        try:
            there = [] if where.port or given is None else [each.socket for each in given.of(_named(where))]
            self._bound = there or sockets.bind(where.host, where.port, given)
            self._ports = server.listen(self._watched.reactor, self._bound, self.routes)
        except OSError as error:
            self._close()
            raise transport.cannot_listen(where, error) from error
        found = self.address
        assert found is not None
        url = f"http://{found[0]}:{found[1]}/"
        log.info("metrics are at {url}", url=f"{url}metrics")
        if self.dashboard is not None:
            self.dashboard.start(found[0])
            log.info("the dashboard is at {url}", url=url)

    def sockets(self) -> list[Given]:
        """Those that it listens on."""
        where = self._watched.settings.metrics_listen
        return [] if where is None else [Given(each, _named(where)) for each in self._bound]

    def shut(self) -> None:
        """Let who asks wait, or somebody else answer."""
        for port in self._ports:
            port.stopReading()  # type: ignore[attr-defined]

    def open(self) -> None:
        for port in self._ports:
            port.startReading()  # type: ignore[attr-defined]

    def stop(self) -> Deferred[Any]:
        if self._ports and self.dashboard is not None:
            self.dashboard.stop()
        return self._close()

    def _close(self) -> Deferred[Any]:
        ports, self._ports = self._ports, []
        bound, self._bound = self._bound, []
        for sock in bound:
            sock.close()
        return DeferredList([maybeDeferred(port.stopListening) for port in ports])

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


def _named(where: Endpoint) -> str:
    return f"metrics {where}"


@cache
def version() -> str:
    """That of the installed distribution, without a word about how it was built. To find it out takes half a scrape."""
    from importlib import metadata

    return metadata.version("pgbeam")
