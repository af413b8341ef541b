"""A worker: a PgBeam without listeners of its own. It takes the clients that it is handed, and orders."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.logger import Logger

from pgbeam_core.cli.reactor import settle_down
from pgbeam_core.errors import PgBeamError
from pgbeam_core.net import transport
from pgbeam_core.net.listening import ClientFactory
from pgbeam_core.service import PgBeamService
from pgbeam_core.settings import Settings, from_tree, reloaded
from pgbeam_core.telemetry.logs import Log
from pgbeam_core.wire.startup import CancelRequest
from pgbeam_core.workers.link import Link, Message
from pgbeam_core.workers.quotas import shared_out

log = Logger(__name__)


class Worker:
    """Follows what the supervisor says until it is told to leave, or the supervisor is gone. `over` fires then."""

    def __init__(self, orders: Message, specs: dict[str, type], installed: frozenset[str]) -> None:
        self.number: int = orders["number"]
        self.workers: int = orders["workers"]
        self._specs = specs
        self._installed = installed
        self.settings = self.read(orders["settings"])
        self.finished: Deferred[None] = Deferred()
        self.link = Link(self._heard, self._abandoned)
        self._service: PgBeamService
        self._clients: ClientFactory
        self._log: Log
        self._leaving = False
        self._done = False
        self._do: dict[str, Callable[[Message], Any]] = {
            "client": self._take,
            "beat": lambda _: None,
            "reload": self._reload,
            "drain": lambda _: self.drain(),
            "stop": lambda _: self._stop(),
            "stats": self._stats,
            "metrics": lambda _: self._service.metrics(),
            "control": lambda message: self._service.beam.control.share(message["request"]),
            "merge": lambda message: self._service.beam.control.merge(message["name"], message["results"]),
            "cancel": self._cancel,
            "news": lambda message: self._service.beam.broadcast.received(message["name"], message["value"]),
            "heard": lambda message: self._service.heard(message["name"], message["value"]),
        }

    def read(self, tree: Message) -> Settings:
        """The settings of this worker: its share of what is one number for all."""
        self._configured: Settings = from_tree(tree, self._specs, self._installed)
        return shared_out(self._configured, self.number, self.workers)

    @inlineCallbacks
    def begin(self, service: PgBeamService, log_: Log) -> Any:
        """Get ready, and say so; or say why not."""
        self._service, self._log = service, log_
        service.beam.broadcast.send = lambda name, value: self.link.tell("news", name=name, value=value)
        console = service.beam.console
        console.worker, console.workers, console.configured = self.number, self.workers, self._configured
        console.ask_all = lambda request: self.link.ask("control", request=request)
        self._clients = ClientFactory(service.beam, self._cancel_elsewhere, lambda: self.link.tell("gone"))
        settle_down()  # before the watchdog begins, and clients come
        try:
            yield service.prepare()
        except PgBeamError as error:
            self.link.tell("failed", message=error.message)
            yield self._stop()
            return
        yield console.adopt()
        self.link.tell("ready", merges=service.beam.control.merges)

    def drain(self) -> Deferred[Any]:
        """Let running transactions end, then leave."""
        return self._leave(self._service.drain)

    def _stop(self) -> Deferred[Any]:
        return self._leave(self._service.stop)

    def _leave(self, how: Any) -> Deferred[Any]:
        if not self._leaving:
            self._leaving = True
            self.link.tell("leaving")
        left: Deferred[Any] = how()
        return left.addErrback(lambda failure: log.failure("leaving failed", failure=failure)).addCallback(self._left)

    def _left(self, _result: object) -> None:
        """Everything is put away. What was said last must still get through."""
        self._done = True
        if self.link.is_open:
            self.link.close()
        else:
            self._end()

    def _abandoned(self) -> None:
        """The link is closed, by whichever side."""
        if self._done:
            self._end()
        elif not self._leaving:
            log.error("the supervisor is gone: this worker drains and ends")
            self.drain()

    def _end(self) -> None:
        if not self.finished.called:
            self.finished.callback(None)

    def _heard(self, what: str, message: Message) -> Any:
        return self._do[what](message)

    def _take(self, message: Message) -> None:
        client: socket.socket = message["socket"]
        self.link.tell("took")
        adopted = transport.adopt(self._service.reactor, client, self._clients)
        adopted.addErrback(lambda _: self.link.tell("gone"))  # it left before it was in

    def _reload(self, message: Message) -> None:
        self.settings, _ = reloaded(self.settings, self.read(message["settings"]))
        self._log.level = self.settings.log_level
        self._service.beam.console.configured = self._configured
        self._service.reload(self.settings)

    def _stats(self, message: Message) -> Message:
        from pgbeam_core.tui.seen import printed  # here, because few look

        panels = [(name, printed(panel)) for name, panel in self._service.panels()] if message["panels"] else []
        return {"stats": self._service.stats(), "latencies": self._service.latencies(), "panels": panels}

    # Cancel requests: the key is known to one worker, and may be brought to another.

    def _cancel(self, message: Message) -> Deferred[bool]:
        return self._service.cancel(CancelRequest(message["pid"], bytes.fromhex(message["secret"])))

    def _cancel_elsewhere(self, request: CancelRequest) -> Deferred[object]:
        asked = self.link.ask("cancel", pid=request.pid, secret=request.secret.hex())
        return asked.addErrback(lambda _: None)
