"""`python -m pgbeam_core.workers NUMBER DESCRIPTOR`: a worker process, as its supervisor starts it."""

from __future__ import annotations

import signal
import socket
import sys
from typing import Any

from pgbeam_core import plugins
from pgbeam_core.cli.reactor import install_reactor
from pgbeam_core.errors import PgBeamError
from pgbeam_core.telemetry import logs
from pgbeam_core.workers.link import Message, connect, first_message, line


def main(descriptor: int) -> int:
    """Serve until told to leave."""
    for ours in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR2):
        signal.signal(ours, signal.SIG_IGN)  # a terminal, or who signals a group, sends them to everybody
    end = socket.socket(fileno=descriptor)
    try:
        orders, rest = first_message(end)
    except (EOFError, OSError):
        return 1
    reactor = install_reactor(uvloop=orders["settings"]["uvloop"])
    try:
        manager = plugins.load_plugins(orders["settings"]["plugins"]["order"])
        return _serve(reactor, manager, orders, end, rest)
    except PgBeamError as error:
        end.setblocking(True)
        end.sendall(line({"what": "failed", "message": error.message}))
        return 1


def _serve(reactor: Any, manager: Any, orders: Message, end: socket.socket, rest: bytes) -> int:
    # Here, because these import Twisted's networking, which must find our reactor installed.
    from pgbeam_core.service import PgBeamService
    from pgbeam_core.workers.worker import Worker

    worker = Worker(orders, plugins.specs(manager), frozenset(plugins.installed()))
    current = worker.settings
    to_link = (lambda event: worker.link.tell("log", event=event)) if orders["logs"] else None
    log = logs.start(current.log_level, current.log_format, worker=worker.number, send=to_link)

    def begin() -> None:
        signal.signal(signal.SIGTERM, lambda *_: reactor.callFromThread(worker.drain))
        connect(reactor, end, worker.link)
        service = PgBeamService(current, manager, reactor)
        service.beam.authority.keep_secret()
        worker.begin(service, log)
        worker.link.dataReceived(rest)  # type: ignore[no-untyped-call]

    worker.finished.addBoth(lambda _: reactor.stop())
    reactor.callWhenRunning(begin)
    reactor.run(installSignalHandlers=False)
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[2])))
