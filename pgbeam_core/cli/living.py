"""One run of `pgbeam run`, put together: the service behind a `Life`, and what begins and ends it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

import pluggy
from twisted.internet.defer import Deferred

from pgbeam_core.cli import banner, systemd
from pgbeam_core.cli.life import Life, Service
from pgbeam_core.cli.restarting import Restarting
from pgbeam_core.cli.signals import listen_to_signals
from pgbeam_core.doors import Inheritance
from pgbeam_core.embedded import EmbeddedPostgres, shop_postgres
from pgbeam_core.errors import PgBeamError
from pgbeam_core.net.given import GivenSockets
from pgbeam_core.service import PgBeamService
from pgbeam_core.settings import Settings
from pgbeam_core.telemetry import logs
from pgbeam_core.workers.generations import Before, Generations
from pgbeam_core.workers.successor import home, starter
from pgbeam_core.workers.supervisor import Supervisor


class Living:
    """`left`: what the PgBeam has left whose place this process takes; else systemd may have opened sockets."""

    def __init__(self, reactor: Any, manager: pluggy.PluginManager, left: Before | None, *, tui: bool) -> None:
        self.generations = Generations(reactor)
        self.life: Life
        self._reactor = reactor
        self._manager = manager
        self._left = left
        self._tui = tui
        self._given = Inheritance(GivenSockets(systemd.sockets())) if left is None else left.inheritance

    def begin(self) -> None:
        """Called when the loop begins to turn."""
        if self._left is not None:
            self._left.meet(self.generations)
        listen_to_signals(self._reactor, self.life)
        lived = Deferred.fromCoroutine(self.life.live())
        lived.addErrback(_unexpected, self.life).addBoth(self._end)

    def _end(self, _result: object) -> None:
        failure = self.life.failure
        if failure is not None and self._left is not None:
            self._left.failed(failure.message)  # before the reactor closes what is open
        self._reactor.stop()

    def embedded(self, current: Settings) -> EmbeddedPostgres:
        """The server behind a PgBeam that knows no other."""
        print("Starting an embedded PostgreSQL; the first time takes a few seconds.", file=sys.stderr, flush=True)
        return shop_postgres(current.state_dir)

    def service(self, current: Settings) -> Service:
        """The PgBeam, in one process or several."""
        if current.workers > 1:
            return Supervisor(current, self._reactor, self._given, self.generations, tui=self._tui)
        alone = PgBeamService(current, self._manager, self._reactor, self._given, self.generations)
        alone.beam.authority.keep_secret()
        return alone

    def ready(self, current: Settings, service: Service, is_embedded: bool) -> None:
        """Clients are let in. Raises PgBeamError for sockets that nobody wants."""
        service.control.answer("view", _view(service, self._reactor.seconds))
        if self._left is None:
            systemd.check_used(self._given.sockets)
        else:
            self._given.sockets.close_unused()
            self.generations.serves(service.doors)
            self._left.serves()
        if not self._tui:
            print(banner.text(current, embedded=is_embedded), flush=True)
            return
        from pgbeam_core.tui import run_tui  # here, because few look

        closed = run_tui(service)
        if isinstance(closed, Deferred):
            closed.addBoth(lambda _: self.life.leave())

    def leave(self) -> None:
        """Another process has taken over."""
        self.life.make_way()

    def why_not_restarted(self) -> PgBeamError | None:
        """Why no other process can take the place of this one."""
        if self._tui:
            text = "PgBeam with --tui cannot be restarted: the screen is this process's"
            return PgBeamError(text, sqlstate="0A000", hint="Run it without, and look at it with `pgbeam top`.")
        if os.getpid() == 1:
            text = "PgBeam is process 1 here and cannot be restarted: the container would end with it"
            return PgBeamError(text, sqlstate="0A000", hint="Start another container, and stop this one.")
        return None


def live(reactor: Any, first: Any, reread: Any, took: Any, manager: Any, left: Before | None, *, tui: bool) -> int:
    """The exit code, once PgBeam has been told to stop. Raises PgBeamError for what keeps it from starting."""
    living = Living(reactor, manager, left, tui=tui)
    start = starter(home(), systemd.variables())
    tell = systemd.notifier(reactor)
    restarting = Restarting(reactor, living.generations, tell, start, living.why_not_restarted, living.leave)
    living.life = Life(reactor, first, reread, took, living.service, living.embedded, living.ready, tell, restarting)
    reactor.callWhenRunning(living.begin)
    reactor.run(installSignalHandlers=False)
    if living.life.failure is not None:
        raise living.life.failure
    return 0


def _view(service: Any, now: Callable[[], float]) -> Callable[[object], dict[str, Any]]:
    """Tells how a service is that begins now."""
    began = now()

    @cache
    def seen() -> Any:
        from pgbeam_core.tui.seen import Viewed  # here, because few look

        return Viewed(service, now, began)

    return lambda _: seen().view()


def _unexpected(failure: Any, life: Any) -> None:
    logs.log.failure("PgBeam failed", failure=failure)
    life.failure = PgBeamError(f"failed: {failure.getErrorMessage()}")
