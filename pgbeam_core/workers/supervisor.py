"""The supervisor: starts workers, hands them clients, replaces those that die. To the outside it is one PgBeam."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, DeferredList, FirstError, inlineCallbacks
from twisted.logger import Logger

from pgbeam_core.control.server import ControlSocket
from pgbeam_core.doors import Doors, Inheritance
from pgbeam_core.errors import PgBeamError
from pgbeam_core.net import certificates
from pgbeam_core.net.acceptor import Acceptor
from pgbeam_core.service import Neighbours, account, web_of
from pgbeam_core.settings import Settings, as_tree
from pgbeam_core.telemetry import logs
from pgbeam_core.telemetry.metrics import Family
from pgbeam_core.telemetry.watchdog import Watchdog
from pgbeam_core.wire.startup import CancelRequest
from pgbeam_core.workers.backoff import Backoff
from pgbeam_core.workers.cancels import WorkersCancels
from pgbeam_core.workers.counted import Counted
from pgbeam_core.workers.link import Message
from pgbeam_core.workers.looks import Looks
from pgbeam_core.workers.process import Start, WorkerProcess, say_how_it_ended, start
from pgbeam_core.workers.pulses import Pulses
from pgbeam_core.workers.quotas import too_small
from pgbeam_core.workers.relay import RelayedControl
from pgbeam_core.workers.worker_pool import WorkerPool

log = Logger(__name__)

STOP_S = 5.0
"""Workers that were told to stop and have not after so many seconds are killed."""


class Supervisor:
    """`settings.workers` processes as one. `tui`: their logs and panels are shown by this process."""

    def __init__(
        self,
        settings: Settings,
        reactor: Any,
        given: Inheritance | None = None,
        neighbours: Neighbours | None = None,
        *,
        tui: bool = False,
        spawn: Start = start,
    ) -> None:
        self._given = Inheritance() if given is None else given
        self._neighbours, self._cancels = neighbours, WorkersCancels(reactor, neighbours)
        self.settings = settings
        self.reactor = reactor
        self._tui = tui
        self._spawn = spawn
        self._crew = WorkerPool()
        self._watchdog = Watchdog(reactor)
        self._reception: Acceptor | None = None
        self._backoffs = {number: Backoff() for number in range(1, settings.workers + 1)}
        self._restarts: dict[int, Any] = {}
        self._serving = False
        self._leaving = False
        self._empty: list[Deferred[None]] = []
        self.control = RelayedControl(self._crew, reactor)
        """What is answered on the control socket."""
        self._pulses, self._counted = Pulses(self._crew, reactor), Counted(self._crew, reactor)
        self._looks = Looks(self._crew, reactor, panels=tui)
        self.control.answer("stats", lambda _: self._looks.look().addCallback(lambda _: self._summed()))
        self.control.answer("workers", lambda _: [self._account(worker) for worker in self._crew.ready])
        self._socket = ControlSocket(reactor, self.control, settings.state_dir, self._given.control)
        self._web = web_of(self)

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """(host, port) of every listener, with the port that the system chose."""
        return [] if self._reception is None else self._reception.addresses

    @property
    def doors(self) -> Doors:
        """All that it listens on."""
        return Doors(self._reception, self._web, self._socket)

    @property
    def client_count(self) -> int:
        return sum(worker.clients for worker in self._crew.members.values())

    @inlineCallbacks
    def start(self) -> Any:
        """Start all workers, then let clients in. Fails with PgBeamError, the first worker's if several say why."""
        for key, total in too_small(self.settings).items():
            log.warn("{key} = {total} is less than workers: each worker has 1", key=key, total=total)
        self._reception = Acceptor(self.reactor, self.settings, self._crew.assign, self._given.sockets)
        starting = [self._start(number).ready for number in self._backoffs]
        try:
            yield DeferredList(starting, fireOnOneErrback=True, consumeErrors=True)
        except FirstError as error:
            error.subFailure.raiseException()
        self._reception.listen()
        if self._web is not None:
            self._web.start(self._given.sockets)
        self._serving = True
        self._let_in()
        self._socket.start()
        self._watchdog.start()
        self._pulses.start()
        log.info("{count} workers are ready", count=len(starting))

    def shut(self) -> None:
        """Listen no more: those who are there stay."""
        if self._reception is not None:
            self._reception.close()
            self._serving = False

    @inlineCallbacks
    def drain(self) -> Any:
        """No new clients; the workers drain and leave."""
        yield self._leave("drain")

    @inlineCallbacks
    def stop(self) -> Any:
        """The workers stop at once; those that do not are killed."""
        self._watchdog.stop()
        self._pulses.stop()
        yield self._socket.stop()
        if self._web is not None:
            yield self._web.stop()
        timer = self.reactor.callLater(STOP_S, self._kill)
        yield self._leave("stop")
        if timer.active():
            timer.cancel()

    def reload(self, settings: Settings) -> Deferred[Any]:
        """Tell all workers; those that start are told when they have. Raises SettingsError as `Beam.reload` does."""
        certificates.check(settings.tls)
        self.settings = settings
        return DeferredList([self._tell_settings(worker) for worker in self._crew.ready]).addCallback(lambda _: None)

    # What the TUI and the control socket show.

    def stats(self) -> dict[str, Any]:
        """The sums of all workers as of the last look. Also begins the next look, unless one is under way."""
        self._looks.begin()
        return self._summed()

    def _summed(self) -> dict[str, Any]:
        return self._looks.summed(self._watchdog.stats(), dict(self._pulses.counts))

    def why_not_ready(self) -> str | None:
        """Why clients are not let in; None if they are."""
        if self._leaving:
            return "draining"
        if not self._serving:
            return "starting"
        return None if self._crew.is_open else "no worker takes clients"

    def metrics(self) -> Deferred[list[Family]]:
        """All that Prometheus is to see, of all workers and of this process."""
        return self._counted.sums(self._watchdog, self._pulses)

    def latencies(self) -> dict[str, list[int]]:
        """The counts of each project's latency histogram, summed."""
        return self._looks.latencies()

    def panels(self) -> list[tuple[str, Any]]:
        """One worker's: what plugins draw cannot be added up."""
        return self._looks.panels()

    def _account(self, worker: WorkerProcess) -> dict[str, Any]:
        return account(worker.number, worker.pid, worker.clients, self.reactor.seconds() - worker.born)

    # Workers come and go.

    def _start(self, number: int) -> WorkerProcess:
        settings = self.settings
        worker = WorkerProcess(number, settings, self.reactor, self._heard, self._ended)
        logs_here = self._tui or settings.dashboard
        orders = {"workers": settings.workers, "number": number, "settings": as_tree(settings), "logs": logs_here}
        try:
            worker.start(orders, self._spawn)
        except OSError as error:
            raise PgBeamError(f"cannot start a worker: {error}") from error
        self._crew.members[number] = worker
        return worker

    def _restart(self, number: int) -> None:
        self._restarts.pop(number, None)
        try:
            worker = self._start(number)
        except PgBeamError as error:
            log.error("{reason}", reason=error.message)
            self._restart_later(number, 0.0)
            return
        worker.ready.addErrback(lambda failure: log.error("{reason}", reason=failure.getErrorMessage()))

    def _restart_later(self, number: int, lived_s: float) -> float:
        wait = self._backoffs[number].after(lived_s)
        self._restarts[number] = self.reactor.callLater(wait, self._restart, number)
        return wait

    def _ended(self, worker: WorkerProcess, code: int) -> None:
        """A process is gone, with the clients that it had."""
        self._crew.remove(worker)
        self._counted.gone(worker)
        self._let_in()
        if self._leaving:
            self._crew.turn_away()
            self._check_empty()
        elif self._serving:
            wait = self._restart_later(worker.number, self.reactor.seconds() - worker.born)
            if worker.is_ready and code == 0:
                log.info("worker {number} was told to leave; another one takes its place", number=worker.number)
                return
            say_how_it_ended(worker, code, wait)

    def _let_in(self) -> None:
        """Accept clients as long as some worker takes them; else they wait outside."""
        if self._reception is None or not self._serving or self._leaving:
            return
        if self._crew.is_open:
            self._crew.reassign()
            self._reception.open()
        else:
            self._reception.shut()

    def _leave(self, how: str) -> Deferred[None]:
        """Fires when no worker is left."""
        self._leaving = True
        if self._reception is not None:
            self._reception.close()
        self._crew.turn_away()
        for timer in self._restarts.values():
            timer.cancel()
        self._restarts.clear()
        for worker in list(self._crew.members.values()):
            worker.leave(how)
        empty: Deferred[None] = Deferred()
        self._empty.append(empty)
        self._check_empty()
        return empty

    def _check_empty(self) -> None:
        if not self._crew.members:
            empty, self._empty = self._empty, []
            for deferred in empty:
                deferred.callback(None)

    def _kill(self) -> None:
        for worker in list(self._crew.members.values()):  # one that is gone at once is a member no more
            log.error("worker {number} does not stop, so it is killed", number=worker.number)
            worker.kill()

    # What workers say.

    def _heard(self, worker: WorkerProcess, what: str, message: Message) -> Any:
        if what == "log":
            logs.received(message["event"], worker.number)
        elif what == "cancel":
            request = CancelRequest(message["pid"], bytes.fromhex(message["secret"]))
            return self._cancels.elsewhere(self._others(worker), request)
        elif what == "control":
            return self.control.ask(message["request"])
        elif what == "ready":
            if worker.settings is not self.settings:  # they have changed since it was started
                self._tell_settings(worker)
            self._let_in()
        elif what == "leaving":
            self._let_in()
        elif what == "news":
            for other in self._others(worker):
                other.link.tell("news", name=message["name"], value=message["value"])
            if self._neighbours is not None:
                self._neighbours.publish(message["name"], message["value"])
        return None

    def overlap(self, on: bool) -> None:
        """There are other processes with clients of their own all the time: nobody here thinks that he is alone."""

    def heard(self, name: str, value: Any) -> None:
        """What was published by a PgBeam whose place this one takes, or that takes the place of this one."""
        for worker in self._crew.ready:
            worker.link.tell("heard", name=name, value=value)

    def _others(self, worker: WorkerProcess) -> list[WorkerProcess]:
        return [other for other in self._crew.ready if other is not worker]

    def cancel(self, request: CancelRequest) -> Deferred[bool]:
        """Cancel what a client of some worker does; False if the key is nobody's here."""
        return self._cancels.at(self._crew.ready, request)

    def _tell_settings(self, worker: WorkerProcess) -> Deferred[Any]:
        worker.settings = self.settings
        told = worker.link.ask("reload", settings=as_tree(self.settings))
        return told.addErrback(
            lambda failure: log.error(
                "worker {number} did not take the new settings: {reason}",
                number=worker.number,
                reason=failure.getErrorMessage(),
            )
        )
