"""Starts and stops a PgBeam: plugins, listeners, drain."""

from __future__ import annotations

import os
import socket
from collections import Counter
from collections.abc import Collection, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import pluggy
from twisted.internet.defer import Deferred, inlineCallbacks, maybeDeferred, succeed
from twisted.internet.task import deferLater
from twisted.logger import Logger

from pgbeam_core.beam import Beam
from pgbeam_core.control.registry import Control
from pgbeam_core.control.server import ControlSocket
from pgbeam_core.doors import Doors, Inheritance
from pgbeam_core.errors import PgBeamError
from pgbeam_core.firing import Hooks
from pgbeam_core.net import operator_login, transport
from pgbeam_core.net.acceptor import Acceptor
from pgbeam_core.net.client import ClientProtocol
from pgbeam_core.net.listening import ClientFactory
from pgbeam_core.net.memory import give_back
from pgbeam_core.plugins import in_words
from pgbeam_core.settings import Settings
from pgbeam_core.telemetry import metrics
from pgbeam_core.telemetry.metrics import Family
from pgbeam_core.telemetry.watchdog import Watchdog
from pgbeam_core.wire import backend
from pgbeam_core.wire.startup import CancelRequest

if TYPE_CHECKING:
    from pgbeam_core.web.site import Web
    from pgbeam_core.web.source import Source

log = Logger(__name__)

_SHUTDOWN = backend.error_response("FATAL", "57P01", "terminating connection due to administrator command")
_MOST_SUSPECTS = 2000
_DRAIN_STEP = 0.05
"""Seconds between looks at whether a drain is done."""


class Neighbours(Protocol):
    """The PgBeam whose place this one takes, and the one that takes its place: clients are with both for a while."""

    def cancel(self, request: CancelRequest) -> Deferred[Any]:
        """Cancel what a client of theirs does."""

    def publish(self, name: str, value: Any) -> None:
        """Let them know what other workers are let know."""


class PgBeamService:
    """One PgBeam in one process."""

    def __init__(
        self,
        settings: Settings,
        plugins: pluggy.PluginManager,
        reactor: Any,
        given: Inheritance | None = None,
        neighbours: Neighbours | None = None,
    ) -> None:
        self._given, self._neighbours = given or Inheritance(), neighbours
        self.hooks = Hooks.of(plugins, settings.plugin)
        self.reactor = reactor
        self.beam = Beam(settings, self.hooks, reactor)
        self.watchdog = Watchdog(reactor, served=self._served)
        self.beam.control.answer("stats", lambda _: self.stats())
        self.beam.control.answer(operator_login.REQUEST, lambda request: operator_login.answer(self.beam, request))
        self.clients = ClientFactory(self.beam, None if neighbours is None else neighbours.cancel)
        """Serves whoever connects."""
        self._acceptor: Acceptor | None = None
        self._started: list[str] = []
        self._control: ControlSocket | None = None
        self._draining = False
        self._serving = False
        self._web = web_of(self)

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """(host or folder, port) of every listener, with the port that the system chose where 0 was asked for."""
        return [] if self._acceptor is None else self._acceptor.addresses

    @property
    def settings(self) -> Settings:
        return self.beam.settings

    @property
    def control(self) -> Control:
        """Who answers what about this PgBeam."""
        return self.beam.control

    @property
    def doors(self) -> Doors:
        """All that it listens on."""
        return Doors(self._acceptor, self._web, self._control)

    @property
    def client_count(self) -> int:
        return len(self.beam.clients)

    def cancel(self, request: CancelRequest) -> Deferred[bool]:
        """Cancel what a client of this PgBeam does; False if the key is nobody's here."""
        return cancelled(self.beam, request)

    def heard(self, name: str, value: Any) -> None:
        """What was published by a PgBeam whose place this one takes, or that takes the place of this one."""
        self.beam.broadcast.received(name, value, strict=False)

    def overlap(self, on: bool) -> None:
        """Such a PgBeam has clients of its own, or none any more."""
        self.beam.broadcast.overlap(on)

    def why_not_ready(self) -> str | None:
        """Why clients are not let in; None if they are."""
        if self._draining:
            return "draining"
        return None if self._serving else "starting"

    def shut(self) -> None:
        """Listen no more: those who are there stay."""
        self._stop_listening()

    @inlineCallbacks
    def start(self) -> Any:
        """Start the plugins, then listen. Fails with PgBeamError and a message that says what to do."""
        if self._neighbours is not None:
            self.beam.broadcast.send = self._neighbours.publish
        yield self.prepare()
        if self._web is not None:
            self._web.start(self._given.sockets)
        self._acceptor = Acceptor(self.reactor, self.settings, self._accepted, self._given.sockets)
        self._acceptor.listen()
        self._acceptor.open()
        self._began = self.beam.now()
        self.beam.control.answer("workers", lambda _: [self._account()])
        self._control = ControlSocket(self.reactor, self.beam.control, self.settings.state_dir, self._given.control)
        self._control.start()
        self._serving = True

    @inlineCallbacks
    def prepare(self) -> Any:
        """Start the plugins. Fails with PgBeamError."""
        for name, call in self.hooks.freeze("startup"):
            try:
                yield maybeDeferred(call, self.beam)
            except PgBeamError:
                raise
            except Exception as error:
                raise PgBeamError(f'plugin "{name}" could not start: {in_words(error)}') from error
            self._started.append(name)
        for project in self.settings.projects.values():
            self.beam.pool(project.primary)
        self.beam.runtime.large_messages.give_back = partial(give_back, self.reactor)
        self.watchdog.start()
        self.beam.start()

    @inlineCallbacks
    def drain(self) -> Any:
        """No new clients; running transactions get `shutdown_grace` seconds, idle clients are sent away; then stop."""
        if self._draining:
            return
        self._draining = True
        self._stop_listening()
        deadline = self.beam.now() + self.beam.settings.shutdown_grace
        while self.beam.clients and self.beam.now() < deadline:
            for client in list(self.beam.clients):
                client.dismiss(_SHUTDOWN)
            yield deferLater(self.reactor, _DRAIN_STEP)
        yield self.stop()

    @inlineCallbacks
    def stop(self) -> Any:
        """Send every client away, close every server, shut the plugins down."""
        self._draining = True
        self._stop_listening()
        if self._control is not None:
            yield self._control.stop()
            self._control = None
        yield self._stop_web()
        for client in list(self.beam.clients):
            client.hang_up("PgBeam stops", _SHUTDOWN)
        for pool in list(self.beam.pools.values()):
            yield maybeDeferred(pool.close, "PgBeam stops")
        for name, call in reversed(self.hooks.freeze("shutdown")):
            if name in self._started:
                try:
                    yield maybeDeferred(call, self.beam)
                except Exception:
                    log.failure("plugin {name} failed to shut down", name=name)
        self._started.clear()
        self.watchdog.stop()
        self.beam.stop()

    def reload(self, settings: Settings) -> None:
        """Take new settings: for new clients at once. Clients that are there stay with the servers they came for."""
        self.beam.reload(settings)
        log.info("settings reloaded")

    def stats(self) -> dict[str, Any]:
        """Counters of the core by project, and of each plugin under its name."""
        found: dict[str, Any] = {
            "projects": {name: stats.as_dict() for name, stats in self.beam.project_stats.items()},
            "pins": dict(Counter(pin for session in self.beam.sessions.values() for pin in session.pins)),
            "plugin_errors": {f"{plugin}.{hook}": count for (hook, plugin), count in self.hooks.raised.items()},
            "loop": self.watchdog.stats(),
        }
        found.update(self.hooks.stats())
        return found

    def metrics(self) -> list[Family]:
        """All that Prometheus is to see of this process."""
        return metrics.merged([self._families()])

    def _families(self) -> Iterator[Family]:
        beam = self.beam
        yield from metrics.of_projects(beam.project_stats)
        pins = Counter(pin for session in beam.sessions.values() for pin in session.pins)
        by_reason = metrics.labelled("reason", pins)
        yield metrics.family("pinned", "Clients that keep a server, by reason", by_reason, "gauge")
        errors = [({"plugin": plugin, "hook": hook}, count) for (hook, plugin), count in self.hooks.raised.items()]
        yield metrics.family("plugin_errors", "Exceptions of plugins", errors)
        entrance = beam.entrance
        yield metrics.of_failed_logins({"": entrance.failed_logins})
        handshakes = metrics.labelled("reason", entrance.failed_handshakes.reasons)
        yield metrics.family("tls_handshakes_failed", "TLS handshakes with clients that failed, by reason", handshakes)
        yield from metrics.of_loop(self.watchdog.stats())
        yield from metrics.of_process()
        told: set[str] = set()
        for plugin, given in self.hooks.metrics():
            told.add(plugin)
            try:
                yield from list(metrics.of_plugin(plugin, given))
            except Exception:
                self.hooks.failed("metrics", plugin)
        yield from (metrics.of_stats(plugin, stats) for plugin, stats in self.hooks.stats() if plugin not in told)

    def latencies(self) -> dict[str, list[int]]:
        """The counts of each project's latency histogram."""
        return {name: list(stats.latency.counts) for name, stats in self.beam.project_stats.items()}

    def panels(self) -> list[tuple[str, Any]]:
        """(plugin, what rich can print) for the TUI."""
        return self.hooks.panel()

    def _served(self, since: float) -> str:
        return longest_served(self.beam.clients, since, self.beam.now())

    def _account(self) -> dict[str, Any]:
        return account(1, os.getpid(), len(self.beam.clients), self.beam.now() - self._began)

    def _stop_web(self) -> Deferred[Any]:
        web, self._web = self._web, None
        return succeed(None) if web is None else web.stop()

    def _accepted(self, client: socket.socket) -> None:
        transport.adopt(self.reactor, client, self.clients).addErrback(lambda _: None)  # it left before it was in

    def _stop_listening(self) -> None:
        if self._acceptor is not None:
            self._acceptor.close()


def cancelled(beam: Beam, request: CancelRequest) -> Deferred[bool]:
    """Cancel what the client with that key does. Fires when that is done; with False if there is none."""
    if (conversation := beam.cancel_keys.find(request)) is None:
        return succeed(False)
    done = conversation.cancel()
    return succeed(True) if done is None else done.addCallback(lambda _: True)


def web_of(watched: Source) -> Web | None:
    """What serves metrics, to be started; None where nobody asks for them."""
    if watched.settings.metrics_listen is None:
        return None
    from pgbeam_core.web.site import Web  # here, because it takes time, and few need it

    return Web(watched)


def longest_served(clients: Collection[ClientProtocol], since: float, now: float) -> str:
    """The client from whose turn to the next one most time has passed, in words; not looked for among too many."""
    if len(clients) > _MOST_SUSPECTS:
        return ""
    served = [each for client in clients if (each := client.served) is not None and each[0] >= since]
    served.sort(key=lambda each: each[0])
    ends = [*(begun for begun, _ in served[1:]), now][: len(served)]
    found = [(end - begun, session) for (begun, session), end in zip(served, ends, strict=True)]
    return repr(max(found, key=lambda each: each[0])[1]) if found else ""


def account(number: int, process: int, clients: int, up_s: float) -> dict[str, Any]:
    """One worker, as the control socket shows it."""
    return {"worker": number, "process": process, "clients": clients, "up_s": round(up_s, 1)}
