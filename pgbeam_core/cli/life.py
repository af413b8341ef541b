"""One run of PgBeam from start to stop: the embedded server, the service, signals."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure

from pgbeam_core.cli import systemd
from pgbeam_core.cli.options import InFront
from pgbeam_core.cli.reactor import settle_down
from pgbeam_core.cli.restarting import Restarting
from pgbeam_core.console.places import NAME
from pgbeam_core.console.room import TABLES
from pgbeam_core.control.registry import Control
from pgbeam_core.doors import Doors
from pgbeam_core.errors import PgBeamError, SettingsError
from pgbeam_core.settings import Endpoint, Settings, differences, reloaded

if TYPE_CHECKING:
    from pgbeam_core.wire.startup import CancelRequest

log = Logger(__name__)

_LOOK_EVERY_S = 0.25
"""Whether the last client has left."""


class Service(Protocol):
    """What a run needs of PgBeamService."""

    @property
    def addresses(self) -> list[tuple[str, int]]: ...
    @property
    def control(self) -> Control: ...
    def start(self) -> Deferred[None]: ...
    def drain(self) -> Deferred[None]: ...
    def stop(self) -> Deferred[None]: ...
    def reload(self, settings: Settings) -> Any: ...
    def shut(self) -> None: ...
    @property
    def doors(self) -> Doors: ...
    @property
    def client_count(self) -> int: ...
    def cancel(self, request: CancelRequest) -> Deferred[bool]: ...
    def heard(self, name: str, value: Any) -> None: ...
    def overlap(self, on: bool) -> None: ...


class Embedded(Protocol):
    """What a run needs of EmbeddedPostgres; both calls block."""

    def start(self) -> str: ...
    def stop(self) -> None: ...


class Life:
    """Starts, waits for a signal, drains, stops; `failure` is what kept it from starting.

    `first` and, on SIGHUP, `reread` give settings, and how the embedded server gets into them; `reread` is given what
    operators have set since. `took` is called with those that hold then. `embedded` makes the server that stands behind
    PgBeam when the settings know no project. `ready` is called once clients are welcome. `tell` tells the service
    manager.
    """

    def __init__(
        self,
        reactor: Any,
        first: tuple[Settings, InFront],
        reread: Callable[[Sequence[str]], tuple[Settings, InFront]],
        took: Callable[[Settings], None],
        make_service: Callable[[Settings], Service],
        embedded: Callable[[Settings], Embedded],
        ready: Callable[[Settings, Service, bool], None],
        tell: systemd.Tell = lambda _state: None,
        restarting: Restarting | None = None,
    ) -> None:
        self.failure: PgBeamError | None = None
        self._reactor = reactor
        self._reread = reread
        self._took = took
        self._make_service = make_service
        self._make_embedded = embedded
        self._ready = ready
        self._tell = tell
        self._restarting = restarting
        self._settings, self._in_front_of = first
        self._embedded: Embedded | None = None
        self._embedded_url: str | None = None
        self._service: Service | None = None
        self._serving = False
        self._sets: list[str] = []
        """What operators have set, as `--set` has it."""
        self._leaving: Deferred[None] = Deferred()
        self._at_once: Deferred[None] = Deferred()
        self._asked_to_leave = False

    async def live(self) -> None:
        """The whole run; returns when everything is stopped. What kept it from starting is in `failure`."""
        try:
            await self._start()
            await self._leaving
            self._tell(systemd.STOPPING)
            if self._restarting is not None:
                self._restarting.leaving()
            await self._drain()
        except PgBeamError as error:
            self.failure = error
        except (CannotListenError, OSError) as error:
            self.failure = PgBeamError(explain(error, self._settings))
        finally:
            await self._stop()
        if self._restarting is not None and self._restarting.replaced:
            await DeferredList([self._restarting.generations.older_gone(), self._at_once], fireOnOneCallback=True)

    def leave(self) -> None:
        """Drain and stop; asked again, stop at once."""
        before, self._asked_to_leave = self._asked_to_leave, True
        if not self._leaving.called:
            self._leaving.callback(None)
        elif before and not self._at_once.called:
            self._at_once.callback(None)

    def make_way(self) -> None:
        """Drain and stop, as another process has taken over; who asks for that too is the first to ask."""
        if not self._leaving.called:
            self._leaving.callback(None)

    def restart(self) -> None:
        """Have another process take the place of this one; why that cannot be is in the log."""
        try:
            self._restart()
        except PgBeamError as error:
            log.error("not restarted: {reason}", reason=error.message)

    def _restart(self) -> None:
        if self._restarting is None or self._service is None or not self._serving or self._leaving.called:
            raise PgBeamError("PgBeam does not serve now: it starts or stops", sqlstate="57P03")
        if self._embedded is not None:
            text = "PgBeam in front of its embedded server cannot be restarted: that server ends with it"
            raise PgBeamError(text, sqlstate="0A000")
        self._restarting.begin(self._service, self._settings.shutdown_grace)

    def reload(self) -> None:
        """Read the settings again. If they are wrong, say so and go on with the old ones."""
        if self._service is None or not self._serving or self._leaving.called:
            return
        self._tell(systemd.reloading())
        try:
            done = self._read_again(self._sets)
        except PgBeamError as error:
            _not_reloaded(error)
            self._tell(systemd.READY)
            return
        done.addErrback(_log_failure, "settings were not reloaded")
        done.addBoth(lambda _: self._tell(systemd.READY))

    def _read_again(self, sets: Sequence[str]) -> Deferred[Any]:
        """Have these settings hold. Raises PgBeamError if they are wrong; the old ones hold then."""
        assert self._service is not None
        new, in_front = self._reread(sets)
        fresh, fixed = reloaded(self._settings, self._in_front(new, in_front))
        for key in fixed:
            log.warn("{key} cannot change while PgBeam runs: its new value holds from the next start on", key=key)
        reloading: Any = self._service.reload(fresh)
        for line in differences(self._settings, fresh):
            log.info("settings changed: {change}", change=line)
        self._settings = fresh
        self._took(fresh)
        done: Deferred[Any] = maybeDeferred(lambda: reloading)
        return done

    # What operators may ask for.

    def _answer(self, control: Control) -> None:
        control.answer("settings.reload", lambda _: self._read_again(self._sets).addCallback(lambda _: None))
        control.answer("settings.set", lambda request: self._set(str(request.get("key")), str(request.get("value"))))
        if self._restarting is not None:
            self._restarting.answer(control, self._restart)
        control.answer("shutdown", lambda request: self._shutdown(str(request.get("how"))))

    def _set(self, key: str, value: str) -> Deferred[None]:
        """Give a setting another value, until the end. Raises PgBeamError if there is none of that name or value."""
        sets = [each for each in self._sets if not each.startswith(f"{key}=")]
        sets.append(f"{key}={value}")
        new, in_front = self._reread(sets)
        fixed = reloaded(self._settings, self._in_front(new, in_front))[1]
        if key in fixed:
            raise PgBeamError(f'parameter "{key}" cannot be changed without restarting PgBeam', sqlstate="55P02")
        done = self._read_again(sets)
        self._sets = sets
        return done.addCallback(lambda _: None)

    def _shutdown(self, how: str) -> None:
        """When who asked has been answered."""
        log.info("an operator ends PgBeam: {how}", how=how)
        if how == "wait_for_clients":
            assert self._service is not None
            self._service.shut()
            self._leave_when_empty()
            return
        self._reactor.callLater(0, self.leave)
        if how != "wait_for_servers":
            self._reactor.callLater(0, self.leave)

    def _leave_when_empty(self) -> None:
        """When the last client has left, those of the console aside."""
        assert self._service is not None

        def seen(reply: dict[str, Any]) -> None:
            rows = reply["result"]["CLIENTS"]["rows"] if reply["ok"] else [None]
            if self._leaving.called:
                return
            if any(row is None or row[2] != NAME for row in rows):
                self._reactor.callLater(_LOOK_EVERY_S, self._leave_when_empty)
            else:
                self.leave()

        self._service.control.ask({"ask": TABLES, "names": ["CLIENTS"]}).addCallback(seen)

    async def _start(self) -> None:
        if not self._settings.projects:
            self._embedded = self._make_embedded(self._settings)
            self._embedded_url = await self._in_thread(self._embedded.start)
            self._settings = self._in_front(self._settings, self._in_front_of)
        self._service = self._make_service(self._settings)
        self._answer(self._service.control)
        if self._restarting is not None:
            self._restarting.generations.stand_for(self._service)
        settle_down()  # it holds the loop, where nobody is listened to yet
        await self._service.start()
        self._serving = True
        listen = tuple(Endpoint(*address) for address in self._service.addresses)  # a port 0 has become one
        self._ready(replace(self._settings, listen=listen), self._service, self._embedded is not None)
        self._tell(systemd.READY)

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
