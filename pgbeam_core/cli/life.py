"""One run of PgBeam from start to stop: the embedded server, the service, signals."""

from __future__ import annotations

import errno
import signal
from collections.abc import Callable
from dataclasses import replace
from types import FrameType
from typing import Any, Protocol

from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure

from pgbeam_core.cli.options import InFront
from pgbeam_core.cli.reactor import settle_down
from pgbeam_core.errors import PgBeamError, SettingsError
from pgbeam_core.settings import Endpoint, Settings, differences, reloaded

log = Logger(__name__)


class Service(Protocol):
    """What a run needs of PgBeamService."""

    @property
    def addresses(self) -> list[tuple[str, int]]: ...
    def start(self) -> Deferred[None]: ...
    def drain(self) -> Deferred[None]: ...
    def stop(self) -> Deferred[None]: ...
    def reload(self, settings: Settings) -> Any: ...


class Embedded(Protocol):
    """What a run needs of EmbeddedPostgres; both calls block."""

    def start(self) -> str: ...
    def stop(self) -> None: ...


class Life:
    """Starts, waits for a signal, drains, stops; `failure` is what kept it from starting.

    `first` and, on SIGHUP, `reread` give settings, and how the embedded server gets into them; `took` is called with
    those that hold then. `embedded` makes the server that stands behind PgBeam when the settings know no project.
    `ready` is called once clients are welcome.
    """

    def __init__(
        self,
        reactor: Any,
        first: tuple[Settings, InFront],
        reread: Callable[[], tuple[Settings, InFront]],
        took: Callable[[Settings], None],
        make_service: Callable[[Settings], Service],
        embedded: Callable[[Settings], Embedded],
        ready: Callable[[Settings, Service, bool], None],
    ) -> None:
        self.failure: PgBeamError | None = None
        self._reactor = reactor
        self._reread = reread
        self._took = took
        self._make_service = make_service
        self._make_embedded = embedded
        self._ready = ready
        self._settings, self._in_front_of = first
        self._embedded: Embedded | None = None
        self._embedded_url: str | None = None
        self._service: Service | None = None
        self._serving = False
        self._leaving: Deferred[None] = Deferred()
        self._at_once: Deferred[None] = Deferred()

    async def live(self) -> None:
        """The whole run; returns when everything is stopped. What kept it from starting is in `failure`."""
        try:
            await self._start()
            await self._leaving
            await self._drain()
        except PgBeamError as error:
            self.failure = error
        except (CannotListenError, OSError) as error:
            self.failure = PgBeamError(explain(error, self._settings))
        finally:
            await self._stop()

    def leave(self) -> None:
        """Drain and stop; asked again, stop at once."""
        for step in (self._leaving, self._at_once):
            if not step.called:
                step.callback(None)
                return

    def reload(self) -> None:
        """Read the settings again. If they are wrong, say so and go on with the old ones."""
        if self._service is None or not self._serving or self._leaving.called:
            return
        try:
            new, in_front = self._reread()
            fresh, fixed = reloaded(self._settings, self._in_front(new, in_front))
        except PgBeamError as error:
            _not_reloaded(error)
            return
        for key in fixed:
            log.warn("{key} cannot change while PgBeam runs: its new value holds from the next start on", key=key)
        try:
            reloading = self._service.reload(fresh)
        except PgBeamError as error:
            _not_reloaded(error)
            return
        for line in differences(self._settings, fresh):
            log.info("settings changed: {change}", change=line)
        self._settings = fresh
        self._took(fresh)
        maybeDeferred(lambda: reloading).addErrback(_log_failure, "settings were not reloaded")

    async def _start(self) -> None:
        if not self._settings.projects:
            self._embedded = self._make_embedded(self._settings)
            self._embedded_url = await self._in_thread(self._embedded.start)
            self._settings = self._in_front(self._settings, self._in_front_of)
        self._service = self._make_service(self._settings)
        settle_down()  # it holds the loop, where nobody is listened to yet
        await self._service.start()
        self._serving = True
        listen = tuple(Endpoint(*address) for address in self._service.addresses)  # a port 0 has become one
        self._ready(replace(self._settings, listen=listen), self._service, self._embedded is not None)

    def _in_front(self, settings: Settings, in_front: InFront) -> Settings:
        """The settings in front of the embedded server, if there is one. Raises PgBeamError."""
        if self._embedded_url is None:
            if not settings.projects:
                raise SettingsError("no project is left in the settings; an embedded server comes at a start only")
            return settings
        if settings.projects:
            log.warn("this PgBeam runs in front of its embedded server: projects hold from the next start on")
        return in_front(settings, self._embedded_url)

    async def _drain(self) -> None:
        """Give running transactions their grace, unless somebody is in a hurry."""
        assert self._service is not None
        log.info("draining: running transactions get {seconds:g} s", seconds=self._settings.shutdown_grace)
        grace: Deferred[None] = Deferred()
        alarm = self._reactor.callLater(self._settings.shutdown_grace, grace.callback, None)
        drained = maybeDeferred(self._service.drain).addErrback(_log_failure, "draining failed")
        await DeferredList([drained, grace, self._at_once], fireOnOneCallback=True)
        if alarm.active():
            alarm.cancel()

    async def _stop(self) -> None:
        if self._service is not None:
            await maybeDeferred(self._service.stop).addErrback(_log_failure, "stopping failed")
        if self._embedded is not None:
            await self._in_thread(self._embedded.stop).addErrback(_log_failure, "stopping PostgreSQL failed")

    def _in_thread(self, function: Callable[[], Any]) -> Deferred[Any]:
        return deferToThreadPool(self._reactor, self._reactor.getThreadPool(), function)


def _not_reloaded(error: PgBeamError) -> None:
    log.error("settings were not reloaded: {reason}", reason=error.message.replace("\n", "; "))


def _log_failure(failure: Failure, text: str) -> None:
    log.failure(text, failure=failure)


def listen_to_signals(reactor: Any, life: Life) -> None:
    """SIGINT and SIGTERM leave, a third one kills; SIGHUP reloads."""
    seen = 0

    def leave(number: int, _: FrameType | None) -> None:
        nonlocal seen
        seen += 1
        if seen == 2:
            signal.signal(number, signal.SIG_DFL)
        reactor.callFromThread(life.leave)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, leave)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, lambda *_: reactor.callFromThread(life.reload))


def explain(error: Exception, settings: Settings) -> str:
    """Why PgBeam cannot listen, and what to do about it."""
    cause = error.socketError if isinstance(error, CannotListenError) else error
    number = getattr(cause, "errno", None)
    if isinstance(error, CannotListenError):
        address = f"{error.interface or '*'}:{error.port}"
    else:
        address = ", ".join(map(str, settings.listen))
    if number == errno.EADDRINUSE:
        return f"{address} is taken: stop what listens there, or choose another address with --listen HOST:PORT"
    if number == errno.EACCES:
        return f"{address} needs privileges: choose a port above 1023 with --listen HOST:PORT"
    if number == errno.EADDRNOTAVAIL:
        return f"{address} is no address of this machine: choose another with --listen HOST:PORT"
    return f"cannot start: {cause}"
